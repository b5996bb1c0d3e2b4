"""Losses of a whole effective batch: functions of the classifier's logits and of the labels it learns from.

Micro-batches are no concern of a loss: ``w2s_core.train`` hands it every logit of the batch at once. Letters: B
examples of one effective batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from w2s_core.hashes import stable_int
from w2s_core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


class Batch(NamedTuple):
    """What a loss knows of an effective batch besides the logits."""

    targets: Tensor
    """[B] float64, P(class 1) of the labels to learn from."""
    ties: Tensor
    """[B] int64, decides between equal logits; see ``tie_ranks``."""
    progress: float
    """Share of the optimizer steps that are done, in [0, 1)."""


class Loss(NamedTuple):
    """A loss and what the training curve shows of it."""

    value: Tensor
    """Scalar float64."""
    log: dict[str, Tensor | float]


LossFunction = Callable[["Tensor", Batch, Mapping[str, Any]], Loss]
"""``(logits, batch, parameters of the loss) -> Loss``.

Logits are [B, 2], or [B, 3] under the head ``lm_head_tokens``: the third stands for all tokens that are no label.
"""

LOSSES: Registry[LossFunction] = Registry("loss", param="loss.loss", modules=("w2s_core.losses",))


def tie_ranks(ids: list[str]) -> np.ndarray:
    """[N] int64 that order examples by a hash of their id, whatever batch or row they are in."""
    return np.fromiter((stable_int(id_) >> 17 for id_ in ids), np.int64, len(ids))  # 63 of its 80 bits


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of [B, 2] logits, or [B, 3], against [B] P(class 1), in float64."""
    log_p = logits.double().log_softmax(-1)  # [B, 2 or 3]
    return -((1 - targets) * log_p[:, 0] + targets * log_p[:, 1]).mean()


@LOSSES.register("xent")
def xent(logits: Tensor, batch: Batch, params: Mapping[str, Any]) -> Loss:
    """Naive finetuning: cross-entropy against the labels."""
    return Loss(cross_entropy(logits, batch.targets), {})


@LOSSES.register("logconf")
def logconf(logits: Tensor, batch: Batch, params: Mapping[str, Any]) -> Loss:
    """Auxiliary confidence loss (Burns et al. 2023, section 4.3.2 and appendix A.4).

    Cross-entropy against ``(1 - alpha) w + alpha h``: ``w`` the weak label, ``h`` the student's own prediction, without
    gradient, hardened at a threshold that follows the batch. ``alpha`` rises linearly from 0 to ``alpha_max`` over the
    first ``warmup_frac`` of the training; where it is 0 the loss is ``xent`` bit for bit.
    """
    warmup_frac = params["warmup_frac"]
    alpha = params["alpha_max"]
    if batch.progress < warmup_frac:
        alpha *= batch.progress / warmup_frac
    n_positive: Tensor | int = math.ceil(len(logits) / 2)
    if params["threshold"] == "match_prior":
        # A sum such as 3.0000000000000004 is three. It stays on the device, which nothing here waits for.
        n_positive = (batch.targets.sum() - 1e-6).ceil()
    hardened = harden_top(logits, batch.ties, n_positive)
    disagree = (hardened != (batch.targets > 0.5)).double().mean()
    log = {
        "alpha": alpha,
        "hardened_share": n_positive / len(logits),
        "hardened_disagree": disagree,
    }
    return Loss(cross_entropy(logits, (1 - alpha) * batch.targets + alpha * hardened), log)


def harden_top(logits: Tensor, ties: Tensor, n_positive: Tensor | int) -> Tensor:
    """[B] float64: 1 for the ``n_positive`` examples with the highest P(class 1), else 0; no gradient."""
    import torch

    margin = (logits[:, 1] - logits[:, 0]).detach()  # [B], rises with P(class 1)
    by_tie = ties.argsort()
    order = by_tie[margin[by_tie].argsort(descending=True, stable=True)]
    hardened = torch.empty(len(margin), dtype=torch.float64, device=margin.device)
    hardened[order] = (torch.arange(len(margin), device=margin.device) < n_positive).double()
    return hardened
