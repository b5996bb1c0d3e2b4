"""Prompts for a language model that is not trained: examples with their answers, then a text whose answer is asked.

Burns et al. 2023, section 5.2.1. Strings and arrays, no model: one is asked in ``w2s_core.training.asking``. Letters: N
examples, K of them shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

APART = "\n\n"
"""Between examples."""

CONTENT_FREE = "N/A"
"""Stands for a text that says nothing (Zhao et al. 2021, "Calibrate Before Use")."""


ANSWERS = (("No", "Yes"), ("0", "1"))
"""Of class 0 and class 1, unless others are wanted; the second where a tokenizer knows none of the first."""


class Phrase(NamedTuple):
    """How the examples of a dataset are asked about, unless a method says so itself."""

    cue: str = "\nYes or No? Answer:"
    answers: tuple[tuple[str, str], ...] = ANSWERS
    """Of class 0 and class 1: the first that a tokenizer tells apart; words of a dataset's own stand before these."""


IS_RIGHT = Phrase("\nIs this answer right, Yes or No? Answer:")

PHRASES = {
    **dict.fromkeys(
        (
            "cosmos_qa", "dream", "hellaswag", "openbookqa", "piqa", "quail", "quartz", "sciq", "social_iqa", "mc_taco",
            "multirc",
        ),
        IS_RIGHT,
    ),
    **dict.fromkeys(
        ("ethics_utilitarianism", "ethics_utilitarianism_hard"), Phrase("\nIs that right, Yes or No? Answer:")
    ),
}  # fmt: skip
"""By dataset; the prompts of all others ask a question that is answered by yes or no."""


class Form(NamedTuple):
    """How examples are written."""

    cue: str
    """After each text."""
    answers: tuple[str, str]
    """Of class 0 and class 1, after the cue and a space."""

    def asked(self, text: str) -> str:
        """An example up to its answer."""
        return f"{text}{self.cue}"

    def shown(self, text: str, label: int) -> str:
        """An example with its answer."""
        return f"{self.asked(text)} {self.answers[label]}{APART}"


def chosen(labels: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of K of N examples that are shown, in the order in which they are: as many of each class, drawn.

    Args:
        labels: [N] 0 or 1, as whoever gives them has them.
        k: even; of a class that has too few examples, all.
        rng: draws them.
    """
    of_classes = [rng.permutation(np.flatnonzero(labels == label))[: k // 2] for label in (0, 1)]
    return rng.permutation(np.concatenate(of_classes))


def shots(texts: Sequence[str], labels: Sequence[int], form: Form) -> str:
    """What stands before the text that is asked about."""
    return "".join(form.shown(text, label) for text, label in zip(texts, labels, strict=True))


def calibrated(log_odds: np.ndarray, content_free: float) -> np.ndarray:
    """P(class 1), [N]: what is said of texts, [N] log-odds, less what is said of none."""
    found: np.ndarray = np.exp(-np.logaddexp(0, -(log_odds - content_free)))
    return found
