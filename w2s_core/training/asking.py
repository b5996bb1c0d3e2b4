"""Asks a causal language model which of two words comes next, for many texts."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from w2s_core.errors import DataError
from w2s_core.watch import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MOST_TOKENS = 2_048
"""In one pass: logits are as many numbers per token as there are words."""


def answer_tokens(tokenizer: PreTrainedTokenizerBase, answers: tuple[str, str]) -> tuple[int, int]:
    """The first tokens of both answers, which tell them apart.

    Raises:
        DataError: they do not.
    """
    first, second = (tokenizer(f" {answer}", add_special_tokens=False)["input_ids"] for answer in answers)
    if not first or not second or first[0] == second[0]:
        raise DataError(f"answers: {answers[0]!r} and {answers[1]!r} begin with one token; choose other words")
    return first[0], second[0]


def ask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    tokens: tuple[int, int],
    longest: int,
    watch: Watch,
) -> tuple[np.ndarray, int]:
    """Log-odds of the second of two tokens against the first, [N] float64, and how many prompts lost their beginning.

    Args:
        model: with its head.
        tokenizer: of the model.
        prompts: N texts.
        tokens: the answers.
        longest: tokens that the model takes; of a longer prompt the last ones are asked about.
        watch: hears of every pass.
    """
    encoded = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    n_cut = sum(len(ids) > longest for ids in encoded)
    encoded = [ids[-longest:] for ids in encoded]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    found = np.empty(len(encoded))
    is_asked_for_some = "logits_to_keep" in inspect.signature(model.forward).parameters
    model.eval()
    start = 0
    while start < len(order):
        # Rows of similar length; the last is the longest.
        end = start + 1
        while end < len(order) and (end + 1 - start) * len(encoded[order[end]]) <= MOST_TOKENS:
            end += 1
        rows = order[start:end]
        lengths = torch.tensor([len(encoded[i]) for i in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
        for row, i in enumerate(rows):
            ids[row, : len(encoded[i])] = torch.tensor(encoded[i])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        ends, place = (lengths - 1).unique(return_inverse=True)
        # Of most models only those of positions where a text ends are asked for: [B, E, V], else [B, T, V].
        wanted = {"logits_to_keep": ends.to(model.device)} if is_asked_for_some else {}
        with torch.no_grad():
            logits = model(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False, **wanted
            ).logits
        last = logits[torch.arange(len(rows)), place if wanted else lengths - 1].double().cpu()
        found[rows] = (last[:, tokens[1]] - last[:, tokens[0]]).numpy()
        start = end
        watch.progress(start, len(order), "rows")
    return found, n_cut
