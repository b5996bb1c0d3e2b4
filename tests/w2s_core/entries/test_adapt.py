"""Generative finetuning: what it learns from, and what it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny_models import VIEW, model_params, rows_of, tiny_base, toy_rows, write_rows
from w2s_core.config import AdaptConfig
from w2s_core.entries.adapt import adapt, text_batches
from w2s_core.errors import DataError
from w2s_core.models.classifier import build
from w2s_core.training.language import UNCOUNTED, train_language_model
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
    settings = {"epochs": 2, "batch_size": 1, "sequence_length": 1, "loss_on": "all"}

    laid, wanted = text_batches(ROWS, VIEW, tokenizer, settings, seed=0)

    assert torch.equal(laid, wanted)
    tokens = laid.flatten().tolist()

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


@pytest.mark.parametrize(
    ("passage", "prompt", "answer"),
    [
        ("the bad", "Q: is a\nA: good one", ["good", "one"]),
        ("", "Q: is a\nA: good", ["good"]),
        ("the bad", "is it good ?", ["is", "[UNK]", "good", "?"]),
        ("", "is it", ["is", "[UNK]"]),
    ],
)
def test_loss_on_answers_asks_for_what_stands_after_the_question(
    inputs: dict[str, Path], passage: str, prompt: str, answer: list[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(inputs["base"])
    settings = {"epochs": 1, "batch_size": 1, "sequence_length": 1, "loss_on": "answer"}

    laid, wanted = text_batches(rows_of(["r"], [passage], [prompt]), VIEW, tokenizer, settings, seed=0)

    asked = wanted.flatten()[wanted.flatten() != UNCOUNTED].tolist()
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    assert asked == [*tokenizer.convert_tokens_to_ids(answer), *end]
    text = f"{passage}\n{prompt}" if passage else prompt
    assert laid.flatten().tolist() == tokenizer(text)["input_ids"] + end


def test_batches_without_an_answer_change_nothing_by_their_loss(inputs: dict[str, Path], tmp_path: Path) -> None:
    no_dropout = {"attn_pdrop": 0, "resid_pdrop": 0, "embd_pdrop": 0}
    model = AutoModelForCausalLM.from_pretrained(inputs["base"], **no_dropout)
    tokens = torch.randint(0, 8, (2, 1, 6))
    wanted = torch.full_like(tokens, UNCOUNTED)
    wanted[1, 0, 3] = tokens[1, 0, 3]
    with torch.no_grad():
        expected = -model(input_ids=tokens[1]).logits.log_softmax(-1)[0, 2, tokens[1, 0, 3]].item()

    # A learning rate that moves nothing.
    assert train_language_model(model, tokens[:1], 0.0, Silent(), wanted[:1]) == 0
    assert train_language_model(model, tokens[1:], 0.0, Silent(), wanted[1:]) == pytest.approx(expected, rel=1e-5)


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
