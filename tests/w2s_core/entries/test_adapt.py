"""Generative finetuning: what it learns from, and what it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny_models import VIEW, model_params, tiny_base, toy_rows, write_rows
from w2s_core.config import AdaptConfig
from w2s_core.data.rows import each
from w2s_core.entries.adapt import adapt, text_batches
from w2s_core.errors import DataError
from w2s_core.models.classifier import build
from w2s_core.watch import Silent

ROWS = toy_rows(60)


def params(n_layers: int | None = None, seed: int = 0, **settings: Any) -> dict[str, Any]:
    config = AdaptConfig(batch_size=4, sequence_length=16, **settings)
    about = {"setting": "classify", "lr": 1e-2, "seed": seed}
    return {**about, "model": {"n_layers": n_layers, "hub": None}, "adapt": config.model_dump()}


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    return {"base": tiny_base(tmp_path / "base"), "train": write_rows(tmp_path / "train.parquet", ROWS)}


def made(inputs: dict[str, Path], out: Path, **about: Any) -> dict[str, Any]:
    out.mkdir()
    return adapt(params(**about), inputs, out, Silent())


def test_texts_are_laid_end_to_end_each_once_an_epoch(inputs: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(inputs["base"])
    settings = {"epochs": 2, "batch_size": 1, "sequence_length": 1}

    tokens = text_batches(each(ROWS, VIEW.text), tokenizer, settings, seed=0).flatten().tolist()

    [shown] = ROWS.shown()
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    documents = [
        tokenizer(f"{passage}\n{prompt}")["input_ids"] + end for passage, prompt in zip(*shown.values(), strict=True)
    ]
    assert len(tokens) == 2 * sum(map(len, documents))
    half = len(tokens) // 2
    assert (
        sorted(tokens[:half]) == sorted(tokens[half:]) == sorted(token for document in documents for token in document)
    )
    assert tokens[:half] != tokens[half:]


def test_it_learns_the_texts_and_stays_a_language_model_that_can_be_finetuned(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    little, much = made(inputs, tmp_path / "1"), made(inputs, tmp_path / "20", epochs=20)

    assert much["loss"] < little["loss"] - 0.3
    assert much["n_steps"] > 15 * little["n_steps"]
    folder = tmp_path / "20" / "model"
    assert AutoModelForCausalLM.from_pretrained(folder).lm_head is not None
    before, after = (build(model_params(), base, 0) for base in (inputs["base"], folder))
    weights = (model.backbone.get_input_embeddings().weight for model in (before, after))
    assert not torch.equal(*weights)


def test_same_seed_makes_the_same_bits(inputs: dict[str, Path], tmp_path: Path) -> None:
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        made(inputs, tmp_path / name, seed=seed)

    a, b, c = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_model_that_is_cut_learns_with_its_first_layers(inputs: dict[str, Path], tmp_path: Path) -> None:
    made(inputs, tmp_path / "cut", n_layers=1)

    assert AutoModelForCausalLM.from_pretrained(tmp_path / "cut" / "model").config.num_hidden_layers == 1


def test_too_few_texts_for_a_batch_are_repeated(tmp_path: Path) -> None:
    few = {"base": tiny_base(tmp_path / "base"), "train": write_rows(tmp_path / "few.parquet", toy_rows(2))}

    assert made(few, tmp_path / "out")["n_steps"] == 1


def test_encoder_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    encoder = inputs | {"base": tiny_base(tmp_path / "bert", "bert")}

    with pytest.raises(DataError, match="a bert is no causal language model"):
        made(encoder, tmp_path / "out")
