"""How the members of an ensemble are combined: several supervisors' labels of the same rows in, one label of each out.

Who the members are is not here but in ``flows.plan.supervisors.ensemble``. Letters: M members, N examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from w2s_core.config import Frozen
from w2s_core.registry import Registry


class Way(NamedTuple):
    """A way to combine that an ensemble may name."""

    of: Callable[[np.ndarray, np.ndarray, Any], np.ndarray]
    """``(probs, accuracies, params) -> probs``: from P(class 1) by each member, [M, N] float64, the rows of one split,
    and the accuracy of each on the validation rows, [M] float64, to P(class 1) by the ensemble, [N] float64."""
    params: type[Frozen]
    """Its parameters, with its name as ``by``."""


WAYS: Registry[Way] = Registry("way to combine", param="combine.by", modules=("w2s_core.methods.*",))


class Mean(Frozen):
    """The mean of the members' probabilities."""

    by: Literal["mean"] = "mean"


def mean(probs: np.ndarray, accuracies: np.ndarray, params: Mean) -> np.ndarray:
    """See ``Mean``."""
    combined: np.ndarray = probs.mean(0)
    return combined


WAYS.register("mean", Way(mean, Mean))


class Logits(Frozen):
    """The mean of the members' log-odds, as a probability: who is surer counts for more."""

    by: Literal["logits"] = "logits"


def logits(probs: np.ndarray, accuracies: np.ndarray, params: Logits) -> np.ndarray:
    """See ``Logits``; who is certain has the log-odds of one float64 epsilon, ±36, so that two such cancel out."""
    epsilon = np.finfo(np.float64).eps
    inside = probs.clip(epsilon, 1 - epsilon)
    # Rounding is not to decide between members that cancel out.
    log_odds = (np.log(inside) - np.log1p(-inside)).mean(0).round(12)
    combined: np.ndarray = 1 / (1 + np.exp(-log_odds))
    return combined


WAYS.register("logits", Way(logits, Logits))


class Majority(Frozen):
    """The share of members that vote for class 1, each by the class that it gives more than one half."""

    by: Literal["majority"] = "majority"


def majority(probs: np.ndarray, accuracies: np.ndarray, params: Majority) -> np.ndarray:
    """See ``Majority``; a member at exactly one half has half a vote for each class."""
    combined: np.ndarray = (np.sign(probs - 0.5) / 2 + 0.5).mean(0)
    return combined


WAYS.register("majority", Way(majority, Majority))


class ByAccuracy(Frozen):
    """The mean of probabilities, where a member weighs what its accuracy on validation's truth exceeds one half by."""

    by: Literal["accuracy"] = "accuracy"


def by_accuracy(probs: np.ndarray, accuracies: np.ndarray, params: ByAccuracy) -> np.ndarray:
    """See ``ByAccuracy``; members at chance or below weigh nothing, unless all do: then they are equal."""
    weights = (accuracies - 0.5).clip(0)
    if not weights.any():
        weights = np.ones_like(weights)
    # Rounding could take certain members past 1.
    combined: np.ndarray = np.average(probs, axis=0, weights=weights).clip(0, 1)
    return combined


WAYS.register("accuracy", Way(by_accuracy, ByAccuracy))
