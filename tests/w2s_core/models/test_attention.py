"""Our attention kernel: that it computes what transformers' own does, and when it is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from tests.tiny_models import SIZES, SPECIALS, WORDS, model_params, tiny_base, tiny_tokenizer
from w2s_core.models import attention
from w2s_core.models.attention import PACKED, PLAIN, plain_attention, plain_mask, register_kernels, use_attention
from w2s_core.models.classifier import Classifier, build, load, save

IDS = torch.tensor([[3, 1, 5, 0, 0, 0, 0], [3, 2, 5, 9, 4, 1, 6]])
MASK = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]])
FULL = torch.ones_like(MASK)

MORE_SIZES: dict[str, dict[str, Any]] = {
    "opt": {"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "word_embed_proj_dim": 16, "max_position_embeddings": 32},
    # Every token sees only the few before it.
    "mistral": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                "num_key_value_heads": 2, "sliding_window": 2},
    # An encoder whose layers take turns in seeing all of the text and a part of it.
    "modernbert": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2,
                   "local_attention": 4, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1,
                   "eos_token_id": 2},
}  # fmt: skip

families = pytest.mark.parametrize("family", [*SIZES, *MORE_SIZES])


def classifier_of(family: str, tmp_path: Path, **changes: Any) -> Classifier:
    if family in SIZES:
        base = tiny_base(tmp_path / "base", family)
    else:
        base = tmp_path / "base"
        config = AutoConfig.for_model(family, vocab_size=len(WORDS) + len(SPECIALS), **MORE_SIZES[family])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            AutoModel.from_config(config).save_pretrained(base)
        tiny_tokenizer().save_pretrained(base)
    return build(model_params(head="small", **changes), base, seed=0).eval()


def use_plain(classifier: Classifier) -> None:
    register_kernels()
    classifier.backbone.set_attn_implementation(PLAIN)


def results(classifier: Classifier, mask: torch.Tensor) -> list[torch.Tensor]:
    """Logits, and the gradients of something that is made of them."""
    classifier.zero_grad()
    logits = classifier(IDS, mask)
    logits.square().sum().backward()
    return [logits, *(p.grad for p in classifier.parameters() if p.grad is not None)]


@families
@pytest.mark.parametrize("mask", [MASK, FULL], ids=["padded", "full"])
def test_results_are_those_of_transformers(family: str, mask: torch.Tensor, tmp_path: Path) -> None:
    classifier = classifier_of(family, tmp_path)
    expected = results(classifier, mask)
    use_plain(classifier)
    torch.testing.assert_close(results(classifier, mask), expected, rtol=1e-4, atol=1e-7)


@families
def test_results_in_bf16_are_close(family: str, tmp_path: Path) -> None:
    classifier = classifier_of(family, tmp_path, precision="bf16")
    expected = classifier(IDS, MASK)
    classifier.use_attention_for(8)
    torch.testing.assert_close(classifier(IDS, MASK), expected, rtol=0.05, atol=2e-3)


@families
def test_text_of_full_length_gives_the_same_beside_padded_ones_or_not(family: str, tmp_path: Path) -> None:
    classifier = classifier_of(family, tmp_path)
    use_plain(classifier)
    alone, beside = classifier(IDS[1:], FULL[1:]), classifier(IDS, MASK)[1:]
    torch.testing.assert_close(alone, beside, rtol=0, atol=1e-7)


def test_mask_is_in_the_precision_of_the_scores() -> None:
    arguments = {"batch_size": 2, "q_length": 7, "kv_length": 7, "attention_mask": MASK.bool()}
    assert plain_mask(**arguments).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert plain_mask(**arguments).dtype == torch.bfloat16


def test_bias_of_positions_is_not_left_out() -> None:
    query, key, value = torch.randn(3, 2, 4, 7, 8)
    bias = torch.randn(1, 4, 7, 7)
    mask = torch.zeros(2, 1, 7, 7).masked_fill(MASK[:, None, None] == 0, torch.finfo(torch.float32).min)
    weights = (query @ key.transpose(2, 3) / 8**0.5 + bias + mask).softmax(-1)
    found, _ = plain_attention(torch.nn.Identity(), query, key, value, mask, position_bias=bias)
    torch.testing.assert_close(found, (weights @ value).transpose(1, 2))


@pytest.mark.parametrize(
    ("precision", "n_tokens", "chosen"),
    [("fp32", 8, "sdpa"), ("bf16", 512, PLAIN), ("bf16", 513, "sdpa")],
)
def test_choice_follows_precision_and_length(precision: str, n_tokens: int, chosen: str, tmp_path: Path) -> None:
    classifier = classifier_of("mistral", tmp_path, precision=precision)
    classifier.use_attention_for(n_tokens)
    assert classifier.attention == chosen


@pytest.mark.parametrize(
    ("device", "precision", "has_varlen", "has_dropout", "chosen"),
    [
        ("cpu", "fp32", False, True, PACKED),
        ("cuda", "bf16", True, False, PACKED),
        ("cuda", "bf16", False, False, "sdpa"),
        ("cuda", "bf16", True, True, "sdpa"),
        ("cuda", "fp32", True, False, "sdpa"),
    ],
)
def test_texts_lie_end_to_end_wherever_they_may(
    device: str,
    precision: str,
    has_varlen: bool,
    has_dropout: bool,
    chosen: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "_has_varlen", lambda: has_varlen)
    classifier = classifier_of("gpt2", tmp_path)
    classifier.use_dropout(has_dropout)
    for is_packable in (True, False):
        use_attention(classifier.backbone, "sdpa", device, precision, 513, is_packable=is_packable)
        assert classifier.attention == (chosen if is_packable else "sdpa")


def test_model_with_attention_of_its_own_keeps_it(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "gemma2", vocab_size=14, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    classifier = build(model_params(precision="bf16"), tmp_path, seed=0)
    classifier.use_attention_for(8)
    assert classifier.attention == "eager"


def test_choice_is_not_saved(tmp_path: Path) -> None:
    classifier = classifier_of("gpt2", tmp_path, precision="bf16")
    classifier.use_attention_for(8)
    save(classifier, tmp_path / "model")
    assert '"packed"' not in (tmp_path / "model" / "config.json").read_text()
    assert load(tmp_path / "model").attention == "sdpa"
