"""Losses of a whole effective batch: functions of the classifier's logits and of the labels it learns from.

What a loss is, what several share, and naive finetuning; the others are beside this file, by theme. Micro-batches are
no concern of a loss: ``w2s_core.training.fit`` hands it every logit of the batch at once. Letters, here and there: N
examples of a training, B of one effective batch, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from w2s_core.config import Frozen
from w2s_core.hashes import stable_int
from w2s_core.methods.classes import any_number
from w2s_core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

NO_STATE: Mapping[str, Tensor] = MappingProxyType({})
"""Of a loss that knows nothing but the batch before it."""


class Batch(NamedTuple):
    """What a loss knows of an effective batch besides the logits."""

    targets: Tensor
    """[B, C] float64, the probabilities of the labels to learn from."""
    ties: Tensor
    """[B] int64, decides between equal logits; see ``tie_ranks``."""
    progress: float
    """Share of the optimizer steps that are done, in [0, 1)."""
    state: Mapping[str, Tensor] = NO_STATE
    """What ``Loss.start`` gave, with all that the steps before have put in its place."""


class Value(NamedTuple):
    """A loss of a batch, and what the training curve shows of it."""

    value: Tensor
    """Scalar float64."""
    log: dict[str, Tensor | float]
    state: Mapping[str, Tensor] = NO_STATE
    """What takes the place of the ``Batch.state`` of the same names once the step is made; new tensors, no gradient."""


def stateless(targets: Tensor, params: Frozen) -> Mapping[str, Tensor]:
    """The start of a loss that has no state."""
    return NO_STATE


class Loss(NamedTuple):
    """A loss that a grid may name."""

    of: Callable[[Tensor, Batch, Any], Value]
    """``(logits, batch, params) -> Value``. Logits are [B, C], or more under the head ``lm_head_tokens``: those after
    the classes stand for all that is no label. A pure function, which may be called twice for one step."""
    params: type[Frozen]
    """Its parameters, with its name as ``loss``."""
    start: Callable[[Tensor, Any], Mapping[str, Tensor]] = stateless
    """``(targets, params) -> state`` before the first step of every training, from its labels [N, C] float64; tensors
    on their device, which checkpoints keep by name. Raises ``TrainingError`` where the loss is not defined."""
    most_classes: Callable[[Any], int | None] = any_number
    """Of labels for which it is defined, of its parameters; None: any number. A plan refuses it for more."""
    needs: Literal["probabilities", "likelihood"] = "probabilities"
    """What logits have to say: the probability of every class, or no more than that of the label's own answer, which
    models of texts say, too."""


LOSSES: Registry[Loss] = Registry("loss", param="loss.loss", modules=("w2s_core.methods.*",))


class OnLabels(Frozen):
    """Base of a loss's parameters: what is done first to the labels of each batch, which is all that the loss sees."""

    loss: str
    """Its name, which is fixed where there is one."""
    smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of every label that is spread over all classes alike (label smoothing)."
    )
    balance_batch: bool = Field(
        False, description="Shift the labels' log-odds by their mean in the batch, so that none prefers a class."
    )

    @property
    def changes_labels(self) -> bool:
        """Whether the loss sees others than it is given, for which they have to be probabilities."""
        return bool(self.smoothing) or self.balance_batch


BALANCE_EPSILON = 1e-7
"""Added to probabilities before their logarithm is taken, as in EleutherAI/w2s, ``w2s/loss.py`` at 08cb994."""


def learned(targets: Tensor, params: Frozen) -> Tensor:
    """[B, C] labels as ``OnLabels`` has them; ``targets`` themselves where it asks for nothing.

    Smoothing is (1 - s) w + s / C (Szegedy et al. 2016, section 7). Balancing is σ(logit(w) - mean logit) over the
    whole effective batch (published code of EleutherAI/w2s, which then takes a half for the prior of ``logconf``), of
    more classes the same of every logarithm. A batch of one keeps its label, which is its own mean: it would become a
    coin. Balanced first, then smoothed.
    """
    if not isinstance(params, OnLabels):
        return targets
    if params.balance_batch and len(targets) > 1:
        log_odds = (targets + BALANCE_EPSILON).log()
        targets = (log_odds - log_odds.mean(0)).softmax(-1)
    if params.smoothing:
        targets = (1 - params.smoothing) * targets + params.smoothing / targets.shape[1]
    return targets


def tie_ranks(ids: list[str]) -> np.ndarray:
    """[N] int64 that order examples by a hash of their id, whatever batch or row they are in."""
    return np.fromiter((stable_int(id_) >> 17 for id_ in ids), np.int64, len(ids))  # 63 of its 80 bits


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """[B] float64, the cross-entropy of [B, C] logits, or more, against [B, C] probabilities."""
    log_p = logits.double().log_softmax(-1)[:, : targets.shape[1]]  # [B, C]
    return -(targets * log_p).sum(-1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Their mean."""
    return cross_entropies(logits, targets).mean()


class Xent(OnLabels):
    """Naive finetuning: cross-entropy against the labels."""

    cited: ClassVar[str] = "Burns et al. 2023, section 3"

    loss: Literal["xent"] = "xent"


def xent(logits: Tensor, batch: Batch, params: Xent) -> Value:
    """See ``Xent``."""
    return Value(cross_entropy(logits, batch.targets), {})


LOSSES.register("xent", Loss(xent, Xent, needs="likelihood"))
