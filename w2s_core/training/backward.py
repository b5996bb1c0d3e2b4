"""The exact gradient of a loss that sees the whole of a batch, whatever part of it fits through the model at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from w2s_core.errors import TrainingError
from w2s_core.methods.losses import Value
from w2s_core.settings.setting import Forward
from w2s_core.training.distributed import ALONE, Group
from w2s_core.training.portions import costs, micro_batches, split_by_length

CPU_PASS_TOKENS = 512
"""Tokens of padding that are worth one more pass of a training on a CPU, which adds to the gradient of every weight."""


def set_gradient(
    forward: Forward,
    batch: np.ndarray,
    micro_tokens: int,
    objective: Objective,
    group: Group = ALONE,
) -> tuple[Value, int]:
    """Set the gradient of the loss of one effective batch.

    Where memory runs out, tries again with half as many tokens at a time; returns what was enough, for the next batch.
    """
    while True:
        cut = partial(micro_batches, micro_tokens=micro_tokens, is_packed=forward.classifier.is_packed)
        dealt = _deal(forward.tokens.lengths, batch, cut, group.size)
        forward.classifier.zero_grad()
        try:
            return _backward(forward, dealt, objective, group), micro_tokens
        except torch.OutOfMemoryError as error:
            micro_tokens = fewer_tokens(forward, dealt[group.rank], error, group)


def _deal(lengths: np.ndarray, batch: np.ndarray, cut: Cut, size: int) -> list[list[np.ndarray]]:
    """The portions of a batch for each of ``size`` processes, which get rows of about the same lengths."""
    if size == 1:
        return [cut(lengths, batch)]
    batch = batch[np.argsort(-lengths[batch], kind="stable")]
    return [cut(lengths, batch[rank::size]) for rank in range(size)]


def fewer_tokens(forward: Forward, portions: list[np.ndarray], error: torch.OutOfMemoryError, group: Group) -> int:
    """How many tokens at a time to try where ``portions`` were too large."""
    lengths, is_packed = forward.tokens.lengths, forward.classifier.is_packed
    largest = max((int(costs(lengths, portion, is_packed=is_packed)[-1]) for portion in portions), default=0)
    if group.size > 1:
        # The others wait in the middle of the model for a layer that will not come.
        raise TrainingError(
            f"memory ran out on one of {group.size} devices, with up to {largest} tokens at a time; "
            "lower runtime.micro_tokens, or give the model more devices"
        ) from error
    if all(len(portion) == 1 for portion in portions):
        raise TrainingError(
            f"one example of {largest} tokens does not fit into memory; lower the model's max_length"
        ) from error
    return largest // 2


def _backward(forward: Forward, dealt: list[list[np.ndarray]], objective: Objective, group: Group) -> Value:
    """Add the gradient of the loss of all portions together, with the graph of only one in memory.

    Where a process has several, each is run twice: first for the logits that the loss needs, then, from the same random
    state, for its share of the gradient. A process with fewer portions than another computes a row whose gradient is 0.

    Args:
        dealt: portions of each process.
    """
    own, n_turns = dealt[group.rank], max(len(portions) for portions in dealt)
    turns = own + [dealt[0][-1][-1:]] * (n_turns - len(own))
    is_whole = n_turns == 1
    device = forward.classifier.device
    states: list[Tensor] = []
    logits: list[Tensor] = []
    with torch.set_grad_enabled(is_whole):
        for portion in turns:
            states.append(_random_state(device))
            logits.append(_trained_logits(forward, portion, group))
    sizes = [sum(len(portion) for portion in portions) for portions in dealt]
    place = slice(sum(sizes[: group.rank]), sum(sizes[: group.rank + 1]))  # of this process's rows among all
    computed = torch.cat(logits).detach()
    leaf = computed.new_zeros(sum(sizes), computed.shape[1])  # [B, C]
    leaf[place] = computed[: sizes[group.rank]]
    group.sum(leaf).requires_grad_()
    loss = objective(leaf, np.concatenate([portion for portions in dealt for portion in portions]))
    loss.value.backward()
    gradient = torch.zeros_like(computed)
    gradient[: sizes[group.rank]] = group.times_size(leaf.grad[place])
    shares = gradient.split([len(portion) for portion in turns])
    if is_whole:
        logits[0].backward(shares[0])
        return loss
    for portion, state, share in zip(turns, states, shares, strict=True):
        _set_random_state(device, state)
        _trained_logits(forward, portion, group).backward(share)
    return loss


def _trained_logits(forward: Forward, portion: np.ndarray, group: Group) -> Tensor:
    """Its logits, with the graphs of several passes in memory where one alone would compute much padding."""
    # Processes that share a model have to take the same number of passes.
    if forward.classifier.is_packed or forward.classifier.device.type != "cpu" or group.size > 1:
        return forward(portion)
    return torch.cat([forward(rows) for rows in split_by_length(forward.tokens.lengths, portion, CPU_PASS_TOKENS)])


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


Objective = Callable[[Tensor, np.ndarray], Value]
"""Loss of the logits of the examples with the indices [B]."""
Cut = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]
"""Portions of the examples with the indices [B], given the lengths of all."""
