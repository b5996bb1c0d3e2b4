"""The loop that trains a language model on tokens: one from scratch, or a pretrained one on the texts of a task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from w2s_core.errors import TrainingError
from w2s_core.training.state import put_back, take
from w2s_core.watch import Checkpoint, Watch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WARMUP_FRAC = 0.05
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0
CURVE_EVERY = 10


UNCOUNTED = -100
"""Stands for a token that is read, and that the loss does not ask for."""


def train_language_model(
    model: PreTrainedModel, batches: torch.Tensor, peak_lr: float, watch: Watch, wanted: torch.Tensor | None = None
) -> float:
    """One pass over ``batches``, [S, B, T] tokens; returns the mean loss of the last tenth, in nats per token.

    ``wanted`` are the same, with ``UNCOUNTED`` where the loss does not ask for them; None: it asks for all. A batch of
    which it asks for none has no loss.

    Raises:
        TrainingError: the loss is not finite any more.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_lr, weight_decay=WEIGHT_DECAY, fused=True)
    losses: list[float] = []
    saved = watch.checkpoints and watch.checkpoints.resume({})
    if saved:
        put_back(model, optimizer, saved.tensors, saved.values["optimizer"])
        losses += saved.values["losses"]
    model.train()
    for step, batch in enumerate(batches[len(losses) :], len(losses)):
        for group in optimizer.param_groups:
            group["lr"] = peak_lr * _schedule((step + 1) / len(batches))
        tokens = batch.to(model.device)  # (B, T)
        logits = model(input_ids=tokens, use_cache=False).logits  # (B, T, V)
        targets = (tokens if wanted is None else wanted[step].to(model.device))[:, 1:]
        if (targets == UNCOUNTED).all():
            loss = 0 * logits.sum()
        else:
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=UNCOUNTED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise TrainingError(f"pretraining diverged: loss {losses[-1]} at step {step}; lower lr (now {peak_lr})")
        if step % CURVE_EVERY == 0:
            watch.curve([{"step": step + 1, "loss": losses[-1], "lr": optimizer.param_groups[0]["lr"]}])
        if watch.checkpoints and step + 1 < len(batches) and watch.checkpoints.is_due():
            state = take(model, optimizer)
            watch.checkpoints.save(
                Checkpoint(step + 1, state.tensors, {"losses": list(losses), "optimizer": state.values})
            )
        watch.progress(step + 1, len(batches), "steps")
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)


def _schedule(done: float) -> float:
    """Share of the peak learning rate when ``done`` of the steps are made: a linear warm-up, then a cosine to 0."""
    if done < WARMUP_FRAC:
        return done / WARMUP_FRAC
    return 0.5 * (1 + math.cos(math.pi * (done - WARMUP_FRAC) / (1 - WARMUP_FRAC)))
