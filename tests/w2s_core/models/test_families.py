"""Families of transformers: what each can do here, or the one line that says what it cannot."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from artifacts.errors import UsageError
from artifacts.identity.keys import JSON
from flows.plan.grid import GridConfig
from flows.plan.resolve import resolve
from tests.families import FAMILIES, Q, base_of, examine, logits
from tests.tiny_models import model_params, tiny_base
from w2s_core.errors import DataError
from w2s_core.models.classifier import build, load, save
from w2s_core.models.families import UNABLE

PACKED = {
    "albert", "bert", "biogpt", "bitnet", "camembert", "cohere", "ctrl", "data2vec-text", "distilbert", "electra",
    "ernie", "esm", "gemma", "gpt2", "gpt_bigcode", "gpt_neox", "granite", "helium", "llama", "mixtral", "olmo",
    "olmo2", "opt", "persimmon", "phi", "phi3", "qwen2", "qwen3", "roberta", "roberta-prelayernorm", "smollm3",
    "starcoder2", "xlm-roberta",
}  # fmt: skip
"""Whose rows may lie end to end; the others have a mask, positions or attention of a kind of their own."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of transformers, about families of their own
@pytest.mark.parametrize("family", FAMILIES)
def test_family_does_all_or_says_what_it_does_not(family: str, tmp_path: Path) -> None:
    row, lines = examine(family, tmp_path)
    assert "refused" not in (row["padded"], row["positions"], row["trains"]), lines
    assert all("; " in line for line in lines), lines
    assert row["packed"] == ("yes" if family in PACKED else "no")
    of_field = {
        "lora": "lora", "n_layers": "n_layers = 1", "init": "init = random", "precision": "bf16",
        "head": "unembed_rows",
    }  # fmt: skip
    refused = {field for field, check in of_field.items() if row[check] == "refused"}
    known = {field for field, families in UNABLE.items() if family in families}
    # A size that a family does not work at says nothing about others; Cohere's head depends on its scale.
    assert refused - known <= {"init"} | ({"head"} if family == "cohere" else set()), (refused, known)
    assert row["lm_head_tokens"] == row["unembed_rows"]
    assert known <= refused, "a plan refuses what works"


@pytest.mark.parametrize(
    ("config", "fields", "line"),
    [
        ({"model_type": "mamba"}, {"lora": {"rank": 2}}, "lora: a mamba takes no adapters; leave lora out"),
        (
            {"model_type": "rwkv", "num_hidden_layers": 4},
            {"n_layers": 2},
            "n_layers: a rwkv cannot be cut; leave n_layers",
        ),
        ({"model_type": "gpt2", "n_layer": 4}, {"n_layers": 5}, "n_layers = 5, but the model has 4 layers"),
        (
            {"text_config": {"model_type": "deberta"}},
            {"precision": "bf16"},
            "precision: a deberta cannot compute in bf16",
        ),
        (
            {"model_type": "bert"},
            {"head": "lm_head_tokens"},
            "head: a bert has no LM head that is one linear layer; set",
        ),
        ({"model_type": "t5", "is_encoder_decoder": True}, {}, "a t5 is an encoder-decoder; use a causal LM"),
        ([], {}, "config.json is no configuration of a model"),
    ],
)
def test_plan_says_what_a_family_cannot_do(config: JSON, fields: JSON, line: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    models = [{"name": name, "path": str(tmp_path), **fields} for name in ("a", "b")]
    with pytest.raises(UsageError, match=f"^models: a: .*{re.escape(line)}") as refused:
        resolve(GridConfig.model_validate({"datasets": ["sst2"], "models": models}), {})
    assert "\n" not in str(refused.value)


def test_text_is_the_same_alone_and_beside_longer_ones_where_padding_would_change_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        classifier = build(model_params(head="small"), base_of("fnet", tmp_path / "base"), 0)
    assert len(caplog.messages) == 1
    save(classifier, tmp_path / "model")
    again = load(tmp_path / "model")
    texts = [Q[:4], Q, Q[:6], Q[1:5]]
    together = logits(again, texts)
    for i, text in enumerate(texts):
        torch.testing.assert_close(together[i : i + 1], logits(again, [text]))


def test_limit_of_positions_that_start_after_the_padding_is_known(tmp_path: Path) -> None:
    classifier = build(model_params(max_length=512), base_of("roberta", tmp_path), 0)
    assert classifier.max_length == 62
    assert logits(classifier, [(Q * 9)[:62]]).isfinite().all()


def test_words_without_embeddings_are_refused_before_the_first_step(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    weights["wte.weight"] = weights["wte.weight"][:9].clone()
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    config = base / "config.json"
    config.write_text(config.read_text().replace('"vocab_size": 14', '"vocab_size": 9'))
    with pytest.raises(DataError, match=r"words without an embedding, such as '\[SEP\]' \(id 13, of 9\)"):
        build(model_params(), base, 0)


def test_padding_needs_no_row_among_the_embeddings(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(base)
    classifier = build(model_params(head="small"), base, 0)
    assert classifier.tokenizer.pad_token_id == 14
    torch.testing.assert_close(logits(classifier, [Q[:4], Q])[:1], logits(classifier, [Q[:4]]))
