"""What can be done to a supervisor's labels before a student learns from them: labels in, labels out, no model.

Each is one node of a grid's graph, from labels to labels. Letters: N examples, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import Field

from w2s_core.config import LAST_LAYER, Frozen, Layer
from w2s_core.methods.classes import any_number
from w2s_core.registry import Registry


class Treatment(NamedTuple):
    """A treatment that a method may name."""

    of: Callable[[np.ndarray, Any], np.ndarray] | None
    """``(probs, params) -> probs``, both [N, C] float64, the rows of one split; None: they stay as they are."""
    params: type[Frozen]
    """Its parameters, with its name as ``kind``."""
    fit: Callable[[np.ndarray, np.ndarray, Any], Frozen] | None = None
    """``(probs, truth, params)`` of the supervisor's validation rows, [V, C] float64 and [V] classes, to the ``params``
    that ``of`` takes, where those are not its parameters themselves."""
    keep: Callable[[np.ndarray, Sequence[str], np.ndarray | None, np.ndarray | None, Any], np.ndarray] | None = None
    """``(probs, ids, truth, said, params)`` of the rows that are trained on, [N, C] float64, N ids, [N] classes and
    what ``guess`` says, to which of them stay, [N] bool; None: all."""
    guess: Guess | None = None
    """What features of the strong model, as it is before any finetuning, say of rows. Without ``keep`` it takes the
    place of the labels."""
    most_classes: Callable[[Any], int | None] = any_number
    """Of labels for which it is defined, of its parameters; None: any number. A plan refuses it for more."""
    truth_of: Literal["validation", "transfer_train"] | None = None
    """The split whose truth it sees. That of the supervisor's validation rows is the supervisor's to use; what sees
    that of the rows that are trained on is an oracle, and its method's name says so."""

    @property
    def is_oracle(self) -> bool:
        """Whether it sees the truth, which nobody has."""
        return self.truth_of == "transfer_train"


class Guess(Protocol):
    """Fits on [N, D] features and [N, C] labels what is said of [M, D] others; see ``neighbours``."""

    def __call__(
        self, features: np.ndarray, probs: np.ndarray, asked: np.ndarray, params: Any, *, are_same: bool
    ) -> np.ndarray:
        """[M, C]."""


TREATMENTS: Registry[Treatment] = Registry("label treatment", param="treatment.kind", modules=("w2s_core.methods.*",))


class OfFeatures(Frozen):
    """What all take that look at features of the strong model."""

    layer: Layer = Field(LAST_LAYER, description="Whose hidden states are the features.")


class Harden(Frozen):
    """One class, with certainty: the likeliest, or the one that exceeds its median over the split by most."""

    kind: Literal["harden"] = "harden"
    at: Literal["half", "median"] = Field(
        "half",
        description="Of two classes: where they are equal, or at the median, where half of the rows are of each.",
    )


def harden(probs: np.ndarray, params: Harden) -> np.ndarray:
    """See ``Harden``; the first of those classes that are equal."""
    # Of two classes, what one exceeds its median by the other falls short of: rounding is not to decide a tie.
    excess = (probs - np.median(probs, axis=0)).round(12) if params.at == "median" else probs
    hardened: np.ndarray = np.eye(probs.shape[1])[excess.argmax(1)]
    return hardened


TREATMENTS.register("harden", Treatment(harden, Harden))


class Temper(Frozen):
    """Log-probabilities divided by a temperature: below 1 labels get more certain, above 1 less."""

    kind: Literal["temper"] = "temper"
    temperature: float = Field(0.5, gt=0, description="1 leaves the labels as they are.")


def temper(probs: np.ndarray, params: Temper) -> np.ndarray:
    """See ``Temper``; what is certain stays certain."""
    powers = (probs / probs.max(1, keepdims=True)) ** (1 / params.temperature)
    tempered: np.ndarray = powers / powers.sum(1, keepdims=True)
    return tempered


TREATMENTS.register("temper", Treatment(temper, Temper))


class Calibrate(Frozen):
    """Tempered as fits best what the supervisor's validation rows are in truth."""

    cited: ClassVar[str] = "Guo et al. 2017, section 4.2"

    kind: Literal["calibrate"] = "calibrate"


COLDEST, HOTTEST = 0.01, 100.0
"""Temperatures between which the best is looked for: labels that are all right would have it at 0."""

ROUNDING = 1e-12
"""Of those means, in nats: the labels of a low temperature are as certain as those of a lower one."""

N_HALVINGS = 60
"""After so many, what is left of those bounds is rounding."""


def best_temperature(probs: np.ndarray, truth: np.ndarray, params: Calibrate) -> Temper:
    """The temperature with the greatest likelihood (Guo et al. 2017, section 4.2).

    The likelihood is concave in its inverse: where the mean log-probability of the truth exceeds what the tempered
    labels expect it to be, they should be more certain.
    """
    logs = np.log(probs.clip(np.finfo(float).tiny))
    of_truth = logs[np.arange(len(truth)), truth].mean()
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        expected = (temper(probs, Temper(temperature=float(np.exp(middle)))) * logs).sum(1).mean()
        low, high = (low, middle) if of_truth > expected - ROUNDING else (middle, high)
    return Temper(temperature=float(np.exp((low + high) / 2)))


TREATMENTS.register("calibrate", Treatment(temper, Calibrate, fit=best_temperature, truth_of="validation"))


class Clip(Frozen):
    """No class less likely than a bound, so that no label is certain."""

    kind: Literal["clip"] = "clip"
    least: float = Field(0.05, ge=0, le=0.5, description="The bound.")


def clip(probs: np.ndarray, params: Clip) -> np.ndarray:
    """See ``Clip``; other labels of two classes stay what they are, and of more keep their ratios."""
    if probs.shape[1] > 2:
        is_low = probs < params.least
        while True:
            left = 1 - params.least * is_low.sum(1, keepdims=True)
            others = np.where(is_low, 0.0, probs)
            scaled: np.ndarray = others * left / others.sum(1, keepdims=True).clip(np.finfo(float).tiny)
            lower = ~is_low & (scaled < params.least)
            if not lower.any():
                return np.where(is_low, params.least, scaled)
            is_low |= lower
    raised = probs.clip(params.least)
    clipped: np.ndarray = raised - (raised.sum(1, keepdims=True) - 1) * np.eye(probs.shape[1])[probs.argmax(1)]
    return clipped


def room_for(params: Clip) -> int | None:
    """So many that the least probabilities of all leave something to be sure of."""
    return math.floor(1 / params.least + 1e-9) if params.least else None


TREATMENTS.register("clip", Treatment(clip, Clip, most_classes=room_for))
