"""What can be done to a supervisor's labels before a student learns from them: labels in, labels out, no model.

Each is one node of a grid's graph, from labels to labels. Letters: N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from w2s_core.config import Frozen
from w2s_core.registry import Registry


class Treatment(NamedTuple):
    """A treatment that a method may name."""

    of: Callable[[np.ndarray, Any], np.ndarray]
    """``(probs, params) -> probs``, both [N, C] float64, the rows of one split."""
    params: type[Frozen]
    """Its parameters, with its name as ``kind``."""


TREATMENTS: Registry[Treatment] = Registry("label treatment", param="treatment.kind", modules=("w2s_core.methods.*",))


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


class Clip(Frozen):
    """No class less likely than a bound, so that no label is certain."""

    kind: Literal["clip"] = "clip"
    least: float = Field(0.05, ge=0, le=0.5, description="The bound.")


def clip(probs: np.ndarray, params: Clip) -> np.ndarray:
    """See ``Clip``; other labels of two classes stay what they are."""
    raised = probs.clip(params.least)
    clipped: np.ndarray = raised - (raised.sum(1, keepdims=True) - 1) * np.eye(probs.shape[1])[probs.argmax(1)]
    return clipped


TREATMENTS.register("clip", Treatment(clip, Clip))
