"""Language models that go on after prompts, against the library's own way, and against each prompt alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_models import WORDS, tiny_base
from w2s_core.models.pretrained import read_language_model
from w2s_core.offline.world import stream
from w2s_core.training import speaking
from w2s_core.training.speaking import Continuation, Sampling, speak

PROMPTS = [list(np.random.default_rng(n).integers(0, len(WORDS), n)) for n in (3, 1, 9, 5, 12, 2)]


def said(model: torch.nn.Module, prompts: list[list[int]], sampling: Sampling, ends: tuple[int, ...] = (0,)):
    streams = [stream("turn", tuple(map(int, prompt)).__repr__()) for prompt in prompts]
    found = dict(speak(model, frozenset(ends), prompts, streams, sampling))
    return [found[i] for i in range(len(prompts))]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_greedy_words_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    model = read_language_model(str(tiny_base(tmp_path / "base", family, tie_word_embeddings=True)), None, None).eval()

    found = said(model, PROMPTS, Sampling(0.0, 1.0, 6), ends=(-1,))

    for prompt, continuation in zip(PROMPTS, found, strict=True):
        expected = model.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=6, eos_token_id=None, pad_token_id=0,
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        )  # fmt: skip
        assert continuation == Continuation(expected[0, len(prompt) :].tolist(), True)


def test_words_of_a_row_do_not_depend_on_the_rows_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = read_language_model(str(tiny_base(tmp_path / "base")), None, None).eval()
    sampling = Sampling(1.0, 0.9, 8)

    together = said(model, PROMPTS, sampling)
    monkeypatch.setattr(speaking, "MOST_ROWS", 1)
    alone = said(model, PROMPTS, sampling)

    assert together == alone
    # Some end by themselves, with a token that is no part of them.
    assert {continuation.is_cut for continuation in together} == {True, False}
    assert all(0 not in continuation.ids for continuation in together)


def test_words_are_drawn_as_often_as_their_probabilities_and_the_tail_never() -> None:
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    logits = probs.log().expand(4_000, 4)[:, [2, 0, 3, 1]]
    streams = [stream("draw", i) for i in range(4_000)]

    drawn = np.bincount(speaking._chosen(logits, streams, Sampling(1.0, 0.75, 1)), minlength=4) / 4_000

    np.testing.assert_allclose(drawn, [0.0, 0.625, 0.0, 0.375], atol=0.03)
    cold = np.bincount(speaking._chosen(logits, streams, Sampling(0.5, 1.0, 1)), minlength=4) / 4_000
    np.testing.assert_allclose(cold, (probs**2 / (probs**2).sum())[[2, 0, 3, 1]], atol=0.03)
