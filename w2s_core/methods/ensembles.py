"""How the members of an ensemble are combined: several supervisors' labels of the same rows in, one label of each out.

Who the members are is not here but in ``flows.plan.supervisors.ensemble``. Letters: M members, N examples, C classes.
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
    """``(probs, accuracies, params) -> probs``: from the probabilities by each member of the rows of one split, [M, N]
    float64 P(class 1) of two classes, or [M, N, C] of more, and the accuracy of each on the validation rows, [M]
    float64, to the same of the ensemble, [N] or [N, C] float64."""
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
    """The mean of the members' log-odds, or log-probabilities, as a probability: who is surer counts for more."""

    by: Literal["logits"] = "logits"


def logits(probs: np.ndarray, accuracies: np.ndarray, params: Logits) -> np.ndarray:
    """See ``Logits``; who is certain has the log-odds of one float64 epsilon, ±36, so that two such cancel out."""
    epsilon = np.finfo(np.float64).eps
    if probs.ndim == 3:
        logs = np.log(probs.clip(epsilon)).mean(0).round(12)
        powers = np.exp(logs - logs.max(1, keepdims=True))
        of_each: np.ndarray = powers / powers.sum(1, keepdims=True)
        return of_each
    inside = probs.clip(epsilon, 1 - epsilon)
    # Rounding is not to decide between members that cancel out.
    log_odds = (np.log(inside) - np.log1p(-inside)).mean(0).round(12)
    combined: np.ndarray = 1 / (1 + np.exp(-log_odds))
    return combined


WAYS.register("logits", Way(logits, Logits))


class Majority(Frozen):
    """The share of members that vote for a class, each for the one that it finds likeliest."""

    by: Literal["majority"] = "majority"


def majority(probs: np.ndarray, accuracies: np.ndarray, params: Majority) -> np.ndarray:
    """See ``Majority``; a member that finds several classes likeliest divides its vote among them."""
    if probs.ndim == 3:
        votes = (probs == probs.max(2, keepdims=True)).astype(np.float64)
        of_each: np.ndarray = (votes / votes.sum(2, keepdims=True)).mean(0)
        return of_each
    combined: np.ndarray = (np.sign(probs - 0.5) / 2 + 0.5).mean(0)
    return combined


WAYS.register("majority", Way(majority, Majority))


class ByAccuracy(Frozen):
    """The mean of probabilities, where a member weighs what its accuracy on validation's truth exceeds chance by."""

    by: Literal["accuracy"] = "accuracy"


def by_accuracy(probs: np.ndarray, accuracies: np.ndarray, params: ByAccuracy) -> np.ndarray:
    """See ``ByAccuracy``; members at chance or below weigh nothing, unless all do: then they are equal."""
    weights = (accuracies - 1 / (probs.shape[2] if probs.ndim == 3 else 2)).clip(0)
    if not weights.any():
        weights = np.ones_like(weights)
    # Rounding could take certain members past 1.
    combined: np.ndarray = np.average(probs, axis=0, weights=weights).clip(0, 1)
    return combined


WAYS.register("accuracy", Way(by_accuracy, ByAccuracy))
