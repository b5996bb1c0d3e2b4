"""Asking a language model for the next word, against asking it row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_models import WORDS, tiny_base
from w2s_core.errors import DataError
from w2s_core.models.pretrained import read_language_model, read_tokenizer
from w2s_core.training import asking
from w2s_core.training.asking import answer_tokens, ask
from w2s_core.watch import Silent


@pytest.mark.parametrize("has_choice", [True, False])
def test_rows_are_asked_as_each_alone_and_long_ones_lose_their_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_choice: bool
) -> None:
    """Of models that choose which logits they compute, and of those that do not."""
    monkeypatch.setattr(asking, "MOST_TOKENS", 20)
    base = str(tiny_base(tmp_path / "base"))
    model, tokenizer = read_language_model(base, None, None), read_tokenizer(base, None)
    rng = np.random.default_rng(0)
    prompts = [" ".join(rng.choice(WORDS, size=n)) for n in (3, 1, 9, 5, 12, 2)]
    tokens = answer_tokens(tokenizer, (WORDS[0], WORDS[1]))

    shapes = []
    model.register_forward_hook(lambda module, args, output: shapes.append(output.logits.shape[1]))
    forward = model.forward
    if not has_choice:

        def without(input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool) -> Any:
            return forward(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

        monkeypatch.setattr(model, "forward", without)

    found, n_cut = ask(model, tokenizer, prompts, tokens, 8, Silent())

    monkeypatch.setattr(model, "forward", forward)
    assert (max(shapes) < 8) == has_choice
    expected = []
    for prompt in prompts:
        ids = torch.tensor([tokenizer(prompt)["input_ids"][-8:]])
        logits = model(ids).logits[0, -1].double()
        expected.append((logits[tokens[1]] - logits[tokens[0]]).item())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert n_cut == 2


def test_answers_that_begin_alike_are_refused(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(str(tiny_base(tmp_path / "base")), None)

    with pytest.raises(DataError, match="begin with one token"):
        answer_tokens(tokenizer, (WORDS[0], f"{WORDS[0]} {WORDS[1]}"))
