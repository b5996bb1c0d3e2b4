"""Losses of a whole effective batch: functions of the classifier's logits and of the labels it learns from.

Micro-batches are no concern of a loss: ``w2s_core.training.fit`` hands it every logit of the batch at once. Letters: B
examples of one effective batch, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from w2s_core.config import Frozen
from w2s_core.hashes import stable_int
from w2s_core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


class Batch(NamedTuple):
    """What a loss knows of an effective batch besides the logits."""

    targets: Tensor
    """[B, C] float64, the probabilities of the labels to learn from."""
    ties: Tensor
    """[B] int64, decides between equal logits; see ``tie_ranks``."""
    progress: float
    """Share of the optimizer steps that are done, in [0, 1)."""


class Value(NamedTuple):
    """A loss of a batch, and what the training curve shows of it."""

    value: Tensor
    """Scalar float64."""
    log: dict[str, Tensor | float]


class Loss(NamedTuple):
    """A loss that a grid may name."""

    of: Callable[[Tensor, Batch, Any], Value]
    """``(logits, batch, params) -> Value``. Logits are [B, C], or more under the head ``lm_head_tokens``: those after
    the classes stand for all that is no label."""
    params: type[Frozen]
    """Its parameters, with its name as ``loss``."""


LOSSES: Registry[Loss] = Registry("loss", param="loss.loss", modules=("w2s_core.methods.*",))


def tie_ranks(ids: list[str]) -> np.ndarray:
    """[N] int64 that order examples by a hash of their id, whatever batch or row they are in."""
    return np.fromiter((stable_int(id_) >> 17 for id_ in ids), np.int64, len(ids))  # 63 of its 80 bits


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of [B, C] logits, or more, against [B, C] probabilities, in float64."""
    log_p = logits.double().log_softmax(-1)[:, : targets.shape[1]]  # [B, C]
    return -(targets * log_p).sum(-1).mean()


def mixed(targets: Tensor, own: Tensor, alpha: float) -> Tensor:
    """[B, C] labels of which a share ``alpha`` is ``own``; the first class takes what the others leave."""
    import torch

    others = (1 - alpha) * targets[:, 1:] + alpha * own[:, 1:]
    return torch.cat([1 - others.sum(-1, keepdim=True), others], -1)


class Xent(Frozen):
    """Naive finetuning: cross-entropy against the labels."""

    loss: Literal["xent"] = "xent"


def xent(logits: Tensor, batch: Batch, params: Xent) -> Value:
    """See ``Xent``."""
    return Value(cross_entropy(logits, batch.targets), {})


LOSSES.register("xent", Loss(xent, Xent))


class Logconf(Frozen):
    """The auxiliary confidence loss (Burns et al. 2023, section 4.3 and appendix A.4)."""

    loss: Literal["logconf"] = "logconf"
    alpha_max: float = Field(0.5, ge=0, le=1, description="Final weight of the student's own hardened label.")
    warmup_frac: float = Field(0.2, ge=0, le=1, description="Share of steps over which the weight rises from 0.")
    threshold: Literal["half", "match_prior"] = Field(
        "half", description="Share of a batch hardened to class 1: a half, or the mean weak label."
    )


def logconf(logits: Tensor, batch: Batch, params: Logconf) -> Value:
    """Auxiliary confidence loss (Burns et al. 2023, section 4.3.2 and appendix A.4).

    Cross-entropy against ``(1 - alpha) w + alpha h``: ``w`` the weak label, ``h`` the student's own prediction, without
    gradient, hardened at a threshold that follows the batch; 0.5 where that is one example. ``alpha`` rises linearly
    from 0 to ``alpha_max`` over the first ``warmup_frac`` of the training; where it is 0 the loss is ``xent`` bit for
    bit.
    """
    import torch

    warmup_frac = params.warmup_frac
    alpha = params.alpha_max
    if batch.progress < warmup_frac:
        alpha *= batch.progress / warmup_frac
    n_positive: Tensor | int = math.ceil(len(logits) / 2)
    if params.threshold == "match_prior":
        # A sum such as 3.0000000000000004 is three. It stays on the device, which nothing here waits for.
        n_positive = (batch.targets[:, 1].sum() - 1e-6).ceil()
    hardened = harden_top(logits, batch.ties, n_positive)
    if len(logits) == 1:
        # No share of one example can be positive but none or all: it keeps the class that the student gives it.
        hardened = (logits[:, 1] > logits[:, 0]).double()
    disagree = (hardened != (batch.targets[:, 1] > 0.5)).double().mean()
    log: dict[str, Tensor | float] = {
        "alpha": alpha,
        "hardened_share": hardened.mean(),
        "hardened_disagree": disagree,
    }
    own = torch.stack([1 - hardened, hardened], -1)
    return Value(cross_entropy(logits, mixed(batch.targets, own, alpha)), log)


LOSSES.register("logconf", Loss(logconf, Logconf))


def harden_top(logits: Tensor, ties: Tensor, n_positive: Tensor | int) -> Tensor:
    """[B] float64: 1 for the ``n_positive`` examples with the highest P(class 1), else 0; no gradient."""
    import torch

    margin = (logits[:, 1] - logits[:, 0]).detach()  # [B], rises with P(class 1)
    by_tie = ties.argsort()
    order = by_tie[margin[by_tie].argsort(descending=True, stable=True)]
    hardened = torch.empty(len(margin), dtype=torch.float64, device=margin.device)
    hardened[order] = (torch.arange(len(margin), device=margin.device) < n_positive).double()
    return hardened


class Kl(Frozen):
    """Divergence of the student's answers from the labels: the gradient of ``xent``, and 0 where they are equal."""

    loss: Literal["kl"] = "kl"


def kl(logits: Tensor, batch: Batch, params: Kl) -> Value:
    """Mean KL(labels || student): their cross-entropy less the entropy of the labels."""
    import torch

    entropy = -torch.xlogy(batch.targets, batch.targets).sum(-1).mean()
    return Value(cross_entropy(logits, batch.targets) - entropy, {})


LOSSES.register("kl", Loss(kl, Kl))
