"""Lets a causal language model go on after prompts: many at once, with keys and values kept.

What a row gets does not depend on the rows beside it, but for rounding: its words are drawn by random numbers of its
own. Letters: B prompts of a batch, T tokens, V words.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST_TOKENS = 16_384
"""Of a batch, prompts and answers together: their keys and values are in memory."""

MOST_ROWS = 64


class Sampling(NamedTuple):
    """How words are drawn."""

    temperature: float
    """0: always the likeliest."""
    top_p: float
    max_tokens: int


class Continuation(NamedTuple):
    """What a model says after a prompt."""

    ids: list[int]
    """Without the token that ends it."""
    is_cut: bool
    """Whether it did not end by itself."""


def speak(
    model: PreTrainedModel,
    ends: frozenset[int],
    prompts: Sequence[Sequence[int]],
    streams: Sequence[np.random.Generator],
    sampling: Sampling,
) -> Iterator[tuple[int, Continuation]]:
    """Go on after every prompt, those of similar length together; gives each with its place, a batch at a time.

    Args:
        model: with its head; in evaluation mode.
        ends: tokens that end a text.
        prompts: token ids, none of them empty.
        streams: the random numbers of each.
        sampling: how words are drawn.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    start = 0
    while start < len(order):
        # The last is the longest.
        end = start + 1
        while end < len(order) and end - start < MOST_ROWS:
            if (end + 1 - start) * (len(prompts[order[end]]) + sampling.max_tokens) > MOST_TOKENS:
                break
            end += 1
        batch = order[start:end]
        said = _batch(model, ends, [prompts[i] for i in batch], [streams[i] for i in batch], sampling)
        yield from zip(batch, said, strict=True)
        start = end


@torch.no_grad()
def _batch(
    model: PreTrainedModel,
    ends: frozenset[int],
    prompts: Sequence[Sequence[int]],
    streams: Sequence[np.random.Generator],
    sampling: Sampling,
) -> list[Continuation]:
    lengths = torch.tensor([len(ids) for ids in prompts])
    longest = int(lengths.max())
    # Padded on the left, so that all go on at one place.
    ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
    mask = (torch.arange(longest) >= longest - lengths[:, None]).long()  # [B, T]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    takes = inspect.signature(model.forward).parameters
    said: list[list[int]] = [[] for _ in prompts]
    is_over = [False] * len(prompts)
    cache = None
    for _ in range(sampling.max_tokens):
        # Not every family counts positions, or can leave logits out.
        more = {"position_ids": positions.to(model.device), "logits_to_keep": 1}
        output = model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            past_key_values=cache,
            use_cache=True,
            **{name: value for name, value in more.items() if name in takes},
        )
        cache = output.past_key_values
        chosen = _chosen(output.logits[:, -1].double().cpu(), streams, sampling)
        for row, token in enumerate(chosen):
            if is_over[row]:
                continue
            if token in ends:
                is_over[row] = True
            else:
                said[row].append(token)
        if all(is_over):
            break
        ids = torch.tensor(chosen)[:, None]
        mask = torch.cat([mask, torch.ones(len(prompts), 1, dtype=mask.dtype)], 1)
        positions = positions[:, -1:] + 1
    return [Continuation(ids, not over) for ids, over in zip(said, is_over, strict=True)]


def _chosen(logits: torch.Tensor, streams: Sequence[np.random.Generator], sampling: Sampling) -> list[int]:
    """The next word of each row, from [B, V] float64."""
    if sampling.temperature == 0:
        likeliest: list[int] = logits.argmax(-1).tolist()
        return likeliest
    probs, words = (logits / sampling.temperature).softmax(-1).sort(stable=True, dim=-1, descending=True)
    sums = probs.cumsum(-1)  # [B, V]
    # The word that reaches the share is in.
    n_kept = (sums < sampling.top_p).sum(-1, keepdim=True).clamp(max=logits.shape[1] - 1)
    draws = torch.tensor([stream.random() for stream in streams], dtype=torch.float64)[:, None]
    places = torch.searchsorted(sums, draws * sums.gather(1, n_kept), right=True).minimum(n_kept)
    found: list[int] = words.gather(1, places)[:, 0].tolist()
    return found
