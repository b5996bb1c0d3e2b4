"""Which rows a simulated supervisor gets wrong: structures of error, and the choice of an exact number of rows by them.

After Burns et al. 2023, appendix E: what a student makes of weak labels depends on how their errors lie, and not only
on how many there are. No files here and no labels. Letters: N rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from w2s_core.config import Frozen, Name
from w2s_core.metrics import harden
from w2s_core.registry import Registry

if TYPE_CHECKING:
    from w2s_core.data.rows import Rows
    from w2s_core.settings.setting import View


class Errors(Frozen):
    """A structure of errors; ``kind`` tells it from the others."""

    kind: str


class ErrorsOfModel(Errors):
    """One that follows what a model of the ladder says."""

    model: Name | None = Field(None, description="Of the ladder; trained on the truth of the supervisor's half.")


class Seen(NamedTuple):
    """What a structure sees of a split."""

    rows: Rows
    view: View
    anchor: str
    """The text of one drawn row of the training rows, the same for all splits."""
    answers: np.ndarray | None = None
    """P(class 1) that the model gives, [N] float64; None where the structure asks none."""

    def texts(self) -> Iterator[str]:
        """Each row as one text."""
        assert self.view.text is not None  # which a plan sees to
        for shown in self.rows.shown():
            yield from self.view.text(shown)

    def lengths(self) -> np.ndarray:
        """Characters that a model reads at once of each row, [N] float64."""
        return np.array([n for shown in self.rows.shown() for n in self.view.lengths(shown)], np.float64)


class Structure(NamedTuple):
    """A structure of errors that a supervisor may name."""

    scores: Callable[[Seen, Any], np.ndarray]
    """``(seen, params) -> scores``, [N] float64: the lowest are wrong first, equal ones in an order that is drawn."""
    params: type[Errors]
    """Its parameters, with its name as ``kind``."""
    default_model: Literal["weakest", "strongest"] | None = None
    """Of the ladder, where the parameters name none; None: it asks no model."""


STRUCTURES: Registry[Structure] = Registry("structure of errors", param="errors.kind", modules=("w2s_core.methods.*",))


def wrong_rows(
    scores: np.ndarray, gt_labels: np.ndarray, n_wrong: int, draws: np.ndarray, *, balanced: bool
) -> np.ndarray:
    """Which rows are wrong, [N] bool, exactly ``n_wrong`` of them; fewer are a part of more.

    Args:
        scores: the lowest are wrong first, [N].
        gt_labels: the true classes, [N].
        n_wrong: at most N.
        draws: order of those with equal scores, [N].
        balanced: take the classes in turn, so that their numbers differ by one at most; where one class has no rows
            left, the others go on.
    """
    order = np.lexsort((draws, scores))
    if balanced:
        ordered_labels = gt_labels[order]
        turns = np.empty(len(order), np.int64)
        for label in np.unique(gt_labels):
            of_class = ordered_labels == label
            turns[of_class] = np.arange(of_class.sum())
        order = order[np.argsort(turns, kind="stable")]
    wrong = np.zeros(len(order), bool)
    wrong[order[:n_wrong]] = True
    return wrong


class Uniform(Errors):
    """Errors in rows that are drawn, all with equal chances."""

    cited: ClassVar[str] = "Burns et al. 2023, appendix E"

    kind: Literal["uniform"] = "uniform"


def uniform(seen: Seen, params: Uniform) -> np.ndarray:
    """See ``Uniform``."""
    return np.zeros(len(seen.rows))


STRUCTURES.register("uniform", Structure(uniform, Uniform))


class Longest(Errors):
    """Errors in the longest texts: characters that a model reads at once."""

    cited: ClassVar[str] = "Burns et al. 2023, appendix E"

    kind: Literal["longest"] = "longest"


def longest(seen: Seen, params: Longest) -> np.ndarray:
    """See ``Longest``."""
    return -seen.lengths()


STRUCTURES.register("longest", Structure(longest, Longest))


class Shortest(Errors):
    """Errors in the shortest texts: characters that a model reads at once."""

    cited: ClassVar[str] = "Burns et al. 2023, appendix E"

    kind: Literal["shortest"] = "shortest"


def shortest(seen: Seen, params: Shortest) -> np.ndarray:
    """See ``Shortest``."""
    return seen.lengths()


STRUCTURES.register("shortest", Structure(shortest, Shortest))


class Cluster(Errors):
    """Errors in the texts that share most words with one that is drawn, the same for all splits; can be learned."""

    kind: Literal["cluster"] = "cluster"


def cluster(seen: Seen, params: Cluster) -> np.ndarray:
    """See ``Cluster``: cosine of the counts of lower-cased words; 0 where there are none."""
    anchor = _counts(seen.anchor)
    length = _squared_length(anchor)
    scores = []
    for text in seen.texts():
        counts = _counts(text)
        shared = sum(n * counts[word] for word, n in anchor.items())
        # Of integers until here, so that no order of words tells two texts apart.
        scores.append(-shared / float(np.sqrt(length * _squared_length(counts))) if shared else 0.0)
    return np.array(scores, np.float64)


def _counts(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def _squared_length(counts: Counter[str]) -> int:
    return sum(n * n for n in counts.values())


STRUCTURES.register("cluster", Structure(cluster, Cluster))


class Hardness(ErrorsOfModel):
    """Errors where a model that was trained on the truth gives it the least probability; by default the strongest."""

    kind: Literal["hardness"] = "hardness"


def hardness(seen: Seen, params: Hardness) -> np.ndarray:
    """See ``Hardness``: P(true class)."""
    assert seen.answers is not None
    return np.where(seen.rows.gt_labels == 1, seen.answers, 1 - seen.answers)


STRUCTURES.register("hardness", Structure(hardness, Hardness, default_model="strongest"))


class Real(ErrorsOfModel):
    """The errors of a model that was trained on the truth, by default the weakest; a drawn part of too many.

    Too few are completed with rows that it gets right, those first where it is least sure.
    """

    kind: Literal["real"] = "real"


def real(seen: Seen, params: Real) -> np.ndarray:
    """See ``Real``: P(true class) of rows that are right, and less for those that are wrong."""
    assert seen.answers is not None
    is_right = harden(seen.answers) == seen.rows.gt_labels
    return np.where(is_right, np.where(seen.rows.gt_labels == 1, seen.answers, 1 - seen.answers), -1.0)


STRUCTURES.register("real", Structure(real, Real, default_model="weakest"))
