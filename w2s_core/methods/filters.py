"""Treatments that drop rows: those whose labels are least sure, and as many at random or by the truth, to compare with.

Each drops a share of the rows of each class, as the labels have them, so that the classes keep their shares; one row of
each stays. Letters: N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from w2s_core.config import Frozen
from w2s_core.hashes import stable_unit
from w2s_core.methods.treatments import TREATMENTS, Treatment


class Drop(Frozen):
    """What all of them take."""

    drop: float = Field(0.1, gt=0, lt=1, description="Share of the rows of each class that goes.")


class Confident(Drop):
    """Without the rows whose labels are least sure."""

    kind: Literal["confident"] = "confident"


class RandomDrop(Drop):
    """Without as many rows, at random: a control."""

    kind: Literal["random_drop"] = "random_drop"


class OracleDrop(Drop):
    """Without as many rows, the wrong labels first: an oracle, and named so."""

    cited: ClassVar[str] = "EleutherAI/w2s"

    kind: Literal["oracle_drop"] = "oracle_drop"


def without_lowest(worth: np.ndarray, probs: np.ndarray, ids: Sequence[str], share: float) -> np.ndarray:
    """Which rows stay, [N] bool: of each class all but a share of those that are worth least.

    Args:
        worth: [N]; rows of equal worth go in an order that follows from their ids alone.
        probs: [N, C], the labels.
        ids: of the rows.
        share: of each class.
    """
    classes = probs.argmax(1)
    order = np.lexsort((np.array([stable_unit("drop", id) for id in ids]), worth))
    stays = np.ones(len(ids), bool)
    for each in np.unique(classes):
        of_class = order[classes[order] == each]
        stays[of_class[: min(round(share * len(of_class)), len(of_class) - 1)]] = False
    return stays


def confident(
    probs: np.ndarray, ids: Sequence[str], truth: np.ndarray | None, said: np.ndarray | None, params: Confident
) -> np.ndarray:
    """See ``Confident``."""
    return without_lowest(probs.max(1), probs, ids, params.drop)


def random_drop(
    probs: np.ndarray, ids: Sequence[str], truth: np.ndarray | None, said: np.ndarray | None, params: RandomDrop
) -> np.ndarray:
    """See ``RandomDrop``."""
    return without_lowest(np.zeros(len(ids)), probs, ids, params.drop)


def oracle_drop(
    probs: np.ndarray, ids: Sequence[str], truth: np.ndarray | None, said: np.ndarray | None, params: OracleDrop
) -> np.ndarray:
    """See ``OracleDrop``."""
    return without_lowest(probs.argmax(1) == truth, probs, ids, params.drop)


TREATMENTS.register("confident", Treatment(None, Confident, keep=confident))
TREATMENTS.register("random_drop", Treatment(None, RandomDrop, keep=random_drop))
TREATMENTS.register("oracle_drop", Treatment(None, OracleDrop, keep=oracle_drop, truth_of="transfer_train"))
