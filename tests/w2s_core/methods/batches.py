"""Batches of random logits and labels, and the value of a loss at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from w2s_core.methods.losses import LOSSES, Batch, Value, learned, tie_ranks


def both(probs: torch.Tensor) -> torch.Tensor:
    """[B, 2] from [B] P(class 1)."""
    return torch.stack([1 - probs, probs], -1)


def some_batch(
    n: int = 9, seed: int = 0, progress: float = 0.9, labels: list[float] | None = None
) -> tuple[torch.Tensor, Batch]:
    """Logits with a gradient, and random labels, or ``labels`` of class 1."""
    generator = torch.Generator().manual_seed(seed)
    n = n if labels is None else len(labels)
    logits = torch.randn(n, 2, generator=generator).requires_grad_()
    targets = torch.rand(n, generator=generator, dtype=torch.float64)
    if labels is not None:
        targets = torch.tensor(labels, dtype=torch.float64)
    ties = torch.from_numpy(tie_ranks([f"id{i}" for i in range(n)]))
    return logits, Batch(both(targets), ties, progress)


def value(name: str, logits: torch.Tensor, batch: Batch, **fields: Any) -> Value:
    """What a training gives whose first batch, and all of it, this is."""
    loss = LOSSES.get(name)
    params = loss.params(**fields)
    state = batch.state or loss.start(batch.targets, params)
    return loss.of(logits, batch._replace(targets=learned(batch.targets, params), state=state), params)


def gradient(found: Value, logits: torch.Tensor) -> torch.Tensor:
    """With respect to the logits."""
    (gradient,) = torch.autograd.grad(found.value, logits)
    return gradient


def probs(logits: torch.Tensor) -> np.ndarray:
    """[B, C] softmax, by hand."""
    exp = np.exp(logits.detach().double().numpy())
    p: np.ndarray = exp / exp.sum(1, keepdims=True)
    return p
