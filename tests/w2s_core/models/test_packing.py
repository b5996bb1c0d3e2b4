"""Rows laid end to end: logits and gradients are those of each row alone, in every mix of lengths."""

from __future__ import annotations

import copy
import inspect
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig

from tests.families import Q, base_of, results
from tests.tiny_models import SIZES, model_params, tiny_base
from w2s_core.models.attention import PACKED, PLAIN, Layout, _varlen, packed_attention, packed_mask
from w2s_core.models.classifier import Classifier, build, load, save
from w2s_core.models.packing import counted_positions, packed_states
from w2s_core.training.recompute import recomputed_layers

LONGEST = 32
ROWS = {
    "one row": (9,),
    "one token": (1,),
    "one token each": (1, 1, 1),
    "one length": (7, 7, 7, 7),
    "longest first": (LONGEST, 20, 20, 6, 5, 5, 1),
    "in no order": (3, LONGEST, 3, 1, 12, 1, LONGEST),
}

families = pytest.mark.parametrize("family", SIZES)
mixes = pytest.mark.parametrize("lengths", ROWS.values(), ids=ROWS)


def classifier_of(family: str, **changes: Any) -> Classifier:
    return copy.deepcopy(_built(family, json.dumps(changes)))


@cache
def _built(family: str, changes: str) -> Classifier:
    with tempfile.TemporaryDirectory() as folder:
        base = tiny_base(Path(folder) / "base", family)
        classifier = build(model_params(head="small", **json.loads(changes)), base, seed=0)
    assert classifier.is_packable
    return classifier.eval()


def texts(lengths: tuple[int, ...]) -> list[list[int]]:
    return [(Q * 5)[i : i + length] for i, length in enumerate(lengths)]


@families
@mixes
def test_rows_are_those_alone(family: str, lengths: tuple[int, ...]) -> None:
    classifier = classifier_of(family)
    alone, packed = (results(classifier, texts(lengths), together=together) for together in (False, True))
    for one, other in zip(alone, packed, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5 * float(one.abs().max()) + 1e-9)


@families
@mixes
def test_rows_in_bf16_are_close(family: str, lengths: tuple[int, ...]) -> None:
    classifier = classifier_of(family, precision="bf16")
    alone, packed = (results(classifier, texts(lengths), together=together) for together in (False, True))
    for one, other in zip(alone, packed, strict=True):
        assert torch.linalg.norm(other - one) <= 0.05 * torch.linalg.norm(one) + 1e-6


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_pooling_keeps_to_a_row(family: str, pooling: str) -> None:
    classifier = classifier_of(family, pooling=pooling)
    alone, packed = (results(classifier, texts((9, 4, 4, 1)), together=together)[0] for together in (False, True))
    torch.testing.assert_close(packed, alone, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_attention_is_dropped_out_alike_from_one_random_state(precision: str, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base", attn_pdrop=0.5, resid_pdrop=0.0, embd_pdrop=0.0)
    classifier = build(model_params(head="small", precision=precision), base, seed=0).train()
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(results(classifier, texts((9, 9, 4)), together=True)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("family", ["bert", "llama"])
@pytest.mark.parametrize("lora", [None, {"rank": 2, "alpha": 4.0, "dropout": 0.0}])
def test_layers_computed_again_give_the_same_gradient(family: str, lora: Any) -> None:
    classifier = classifier_of(family, lora=lora)
    kept = results(classifier, texts((9, 4, 4, 1)), together=True)
    with recomputed_layers(classifier.backbone, enabled=True):
        again = results(classifier, texts((9, 4, 4, 1)), together=True)
    assert all(torch.equal(one, other) for one, other in zip(kept, again, strict=True))


def test_pass_has_no_padding_and_may_be_longer_than_the_model_reads() -> None:
    classifier = classifier_of("gpt2")
    ids, mask = torch.ones(5, LONGEST, dtype=torch.long), torch.ones(5, LONGEST, dtype=torch.long)
    mask[1:, 30:] = 0
    classifier.use_attention_for(LONGEST)
    states, layout = packed_states(classifier.backbone, ids, mask, classifier.device)
    assert len(states) == LONGEST + 4 * 30
    assert layout.runs == [(1, LONGEST), (4, 30)]
    assert layout.starts.tolist() == [0, 32, 62, 92, 122, 152]


def test_padding_inside_a_text_moves_no_position(tmp_path: Path) -> None:
    classifier = build(model_params(head="small"), base_of("roberta", tmp_path), 0).eval()
    (positions,) = counted_positions(classifier.backbone)
    assert positions.padding_idx == 1
    rows = [[3, 1, 1, 5], [1, 4, 6, 1, 7]]
    alone, packed = (results(classifier, rows, together=together) for together in (False, True))
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of transformers, about families of their own
@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("mistral", {"sliding_window": 4_096}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4_096, "max_window_layers": 1}),
        ("modernbert", {}),
        ("gemma2", {}),
        ("bloom", {}),
        ("mobilebert", {}),
    ],
)
def test_window_longer_than_any_probe_softcap_bias_or_convolution_is_padded(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    base = base_of(family, tmp_path)
    config = AutoConfig.from_pretrained(base)
    config = type(config)(**{**config.to_dict(), **changes, "layer_types": None}) if changes else config
    config.save_pretrained(base)
    classifier = build(model_params(head="small"), base, 0)
    assert not classifier.is_packable
    classifier.use_attention_for(9)
    assert not classifier.is_packed


def test_whatever_a_model_wants_besides_is_refused() -> None:
    states = torch.randn(3, 1, 2, 4, 8)
    layout = Layout.of([4], torch.tensor([0, 4]))
    packed_attention(torch.nn.Identity(), *states, None, layout=layout, sliding_window=None)
    for unknown in ("sliding_window", "softcap", "position_bias"):
        with pytest.raises(NotImplementedError, match=unknown):
            packed_attention(torch.nn.Identity(), *states, None, layout=layout, **{unknown: 3})
    with pytest.raises(NotImplementedError):
        packed_mask(mask_function=lambda *_: True)


@pytest.mark.parametrize("is_causal", [True, False])
def test_kernel_of_a_gpu_is_called_as_it_wants_to_be(is_causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for it that has its signature."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    layout = Layout.of([4, 4, 3], torch.tensor([0, 4, 8, 11], dtype=torch.int32))
    query, (key, value) = torch.randn(1, 4, 11, 8), torch.randn(2, 1, 2, 11, 8)

    def stand_in(*given: Any, **named: Any) -> torch.Tensor:
        bound = inspect.signature(varlen_attn).bind(*given, **named).arguments
        assert (bound["max_q"], bound["max_k"], bound["enable_gqa"]) == (4, 4, True)
        cut = bound["cu_seq_q"][1:-1].tolist()
        parts = zip(*(bound[name].tensor_split(cut) for name in ("query", "key", "value")), strict=True)
        causal = bound["window_size"] == (-1, 0)
        attended = [
            scaled_dot_product_attention(
                *(x.transpose(0, 1) for x in part), is_causal=causal, scale=bound["scale"], enable_gqa=True
            ).transpose(0, 1)
            for part in parts
        ]
        return torch.cat(attended)

    varlen_attn = varlen.varlen_attn
    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    module = torch.nn.Identity()
    module.num_key_value_groups = 2
    expected, _ = packed_attention(module, query, key, value, None, 0.3, is_causal=is_causal, layout=layout)
    torch.testing.assert_close(_varlen(query, key, value, 0.3, is_causal, layout), expected)


@pytest.mark.gpu
@families
@mixes
def test_rows_on_a_gpu_are_close_to_those_alone(family: str, lengths: tuple[int, ...]) -> None:
    classifier = classifier_of(family, precision="bf16").to("cuda")
    alone, packed = (results(classifier, texts(lengths), together=together) for together in (False, True))
    for one, other in zip(alone, packed, strict=True):
        assert torch.linalg.norm(other - one) <= 0.05 * torch.linalg.norm(one) + 1e-6


def test_saved_model_is_packed_too_and_one_from_before_is_padded(tmp_path: Path) -> None:
    classifier = classifier_of("bert")
    expected = results(classifier, texts((9, 4)), together=True)[0]
    save(copy.deepcopy(classifier), tmp_path / "model")
    again = load(tmp_path / "model")
    torch.testing.assert_close(results(again, texts((9, 4)), together=True)[0], expected)
    assert again.attention == PACKED
    about = tmp_path / "model" / "classifier.json"
    about.write_text(about.read_text().replace('"is_packable": true', '"is_padded": true'))
    assert not load(tmp_path / "model").is_packable


def test_padded_rows_of_the_same_model_agree() -> None:
    classifier = classifier_of("llama", precision="bf16")
    rows = texts((9, 4, 1))
    packed = results(classifier, rows, together=True)[0]
    classifier.is_packable = False
    classifier.use_attention_for(9)
    assert classifier.attention == PLAIN
    torch.testing.assert_close(results(classifier, rows, together=False)[0], packed, rtol=0.05, atol=2e-3)
