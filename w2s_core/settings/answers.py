"""What models answer and labels hold, for the stages that train, label and score alike: here probabilities of
classes; texts are in ``move``. What is said of them is in ``reports``.

Answers are an array with an item for each of N rows; what an item is, is between a setting and this. Letters: N rows,
C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from w2s_core.data.rows import Rows, read_weak_probs, write_weak_probs
from w2s_core.metrics import as_held, by_class, certainty, harden, of_truth

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Lesson(NamedTuple):
    """What a model is trained on."""

    rows: Rows
    targets: np.ndarray
    """[N, C] float64, what a loss sees of the labels."""


class Answers(Protocol):
    """A kind of answers."""

    def truth(self, rows: Rows) -> np.ndarray:
        """The right answers."""

    def lesson(self, rows: Rows, labels: np.ndarray) -> Lesson:
        """To learn these labels."""

    def said(self, found: np.ndarray, rows: Rows, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
        """The answers of a model, of what ``training.predict`` finds, [N, W]."""

    def is_right(self, answers: np.ndarray, rows: Rows) -> np.ndarray:
        """[N] bool."""

    def are_same(self, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """[N] bool."""

    def about_labels(self, labels: np.ndarray) -> Mapping[str, float]:
        """What a training says of its labels."""

    def read(self, path: Path, ids: list[str]) -> np.ndarray:
        """The labels of these rows from what ``write`` wrote."""

    def write(self, path: Path, ids: list[str], labels: np.ndarray) -> None:
        """Write one split's labels."""


class Classes(NamedTuple):
    """Probabilities, float64: [N] P(class 1) of two classes, [N, C] of more."""

    n_classes: int

    def truth(self, rows: Rows) -> np.ndarray:
        """See ``Answers``."""
        return of_truth(rows.gt_labels, self.n_classes)

    def lesson(self, rows: Rows, labels: np.ndarray) -> Lesson:
        """See ``Answers``."""
        return Lesson(rows, by_class(labels))

    def said(self, found: np.ndarray, rows: Rows, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
        """See ``Answers``; W = C."""
        return as_held(found)

    def is_right(self, answers: np.ndarray, rows: Rows) -> np.ndarray:
        """See ``Answers``."""
        same: np.ndarray = harden(answers) == rows.gt_labels
        return same

    def are_same(self, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Whether they stand for one class."""
        same: np.ndarray = harden(answers) == harden(labels)
        return same

    def about_labels(self, labels: np.ndarray) -> Mapping[str, float]:
        """See ``Answers``."""
        return {"label_certainty": certainty(labels)}

    def read(self, path: Path, ids: list[str]) -> np.ndarray:
        """See ``Answers``."""
        return read_weak_probs(path, ids)

    def write(self, path: Path, ids: list[str], labels: np.ndarray) -> None:
        """See ``Answers``."""
        write_weak_probs(path, ids, labels)


def classes(params: Mapping[str, Any]) -> Answers:
    """Of every setting of classes; those of before there were more than two have no such parameter."""
    return Classes(params.get("n_classes", 2))


def share(found: Sequence[bool] | np.ndarray) -> float:
    """How often it is so."""
    return float(np.mean(found))
