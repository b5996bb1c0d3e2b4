"""Treatments that compare labels with what features of the strong model say of them: filters, and other labels.

What they say is fitted on the labels themselves: the mean label of a row's nearest rows, or a linear probe. Letters: N
rows that are fitted on, M that are asked about, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from w2s_core.methods.filters import Drop, without_lowest
from w2s_core.methods.probes import fit
from w2s_core.methods.treatments import TREATMENTS, OfFeatures, Treatment
from w2s_core.metrics import as_held, by_class

AT_A_TIME = 1024
"""Rows whose distances to all others are in memory at once."""


class ByFeatures(OfFeatures):
    """How labels are guessed from features."""

    by: Literal["knn", "probe"] = Field("knn", description="The nearest rows, or logistic regression.")
    k: int = Field(50, ge=1, description="Nearest rows, by Euclidean distance; a row is not its own neighbour.")
    l2: float = Field(0.01, ge=0, description="Penalty of the probe, per row.")


class Disagree(ByFeatures, Drop):
    """Without the rows whose labels differ most from what features of the strong model say."""

    cited: ClassVar[str] = "EleutherAI/w2s"

    kind: Literal["disagree"] = "disagree"


class Relabel(ByFeatures):
    """What features of the strong model say, in place of the labels that this is fitted on."""

    cited: ClassVar[str] = "EleutherAI/w2s"

    kind: Literal["relabel"] = "relabel"


def guess(
    features: np.ndarray, probs: np.ndarray, asked: np.ndarray, params: ByFeatures, *, are_same: bool
) -> np.ndarray:
    """What features say: [M, C] float64.

    Args:
        features: [N, D] float32, to fit on.
        probs: [N, C] float64, their labels.
        asked: [M, D] float32.
        params: how.
        are_same: whether ``asked`` are the rows of ``features``.
    """
    if params.by == "knn":
        return mean_of_nearest(features, probs, asked, params.k, are_same=are_same)
    return by_class(fit(features, as_held(probs), params.l2 * len(features)).probs(asked))


def mean_of_nearest(
    features: np.ndarray, probs: np.ndarray, asked: np.ndarray, k: int, *, are_same: bool
) -> np.ndarray:
    """The mean label of the nearest rows, [M, C] float64, of [N, D], [N, C] and [M, D]; a row alone keeps its own."""
    near = nearest(features, asked, k, are_same=are_same)
    found: np.ndarray = probs[near].mean(1) if near.shape[1] else probs.copy()
    return found


def nearest(features: np.ndarray, asked: np.ndarray, k: int, *, are_same: bool) -> np.ndarray:
    """Indices of the K nearest rows by Euclidean distance, [M, K], in no order; K is smaller where rows are fewer.

    Args:
        features: [N, D] float32, of these rows.
        asked: [M, D] float32.
        k: at least 1.
        are_same: whether ``asked`` are the rows of ``features``; then none is its own neighbour.
    """
    n_near = min(k, len(features) - are_same)
    found = np.empty((len(asked), n_near), np.int64)
    if not n_near:
        return found
    wide = features.astype(np.float64)
    lengths = (wide**2).sum(1)
    for start in range(0, len(asked), AT_A_TIME):
        some = asked[start : start + AT_A_TIME].astype(np.float64)
        # Less what is the same for all neighbours of a row.
        distances = lengths - 2 * some @ wide.T
        if are_same:
            distances[np.arange(len(some)), start + np.arange(len(some))] = np.inf
        found[start : start + len(some)] = np.argpartition(distances, n_near - 1, axis=1)[:, :n_near]
    return found


def disagree(
    probs: np.ndarray, ids: Sequence[str], truth: np.ndarray | None, said: np.ndarray | None, params: Disagree
) -> np.ndarray:
    """See ``Disagree``."""
    assert said is not None
    return without_lowest(-np.abs(said - probs).sum(1), probs, ids, params.drop)


TREATMENTS.register("disagree", Treatment(None, Disagree, keep=disagree, guess=guess))
TREATMENTS.register("relabel", Treatment(None, Relabel, guess=guess))
