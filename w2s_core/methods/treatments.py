"""What can be done to a supervisor's labels before a student learns from them: labels in, labels out, no model.

Each is one node of a grid's graph, from labels to labels. Letters: N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

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
    """The likeliest class, with certainty; the first of those that are equally likely."""

    kind: Literal["harden"] = "harden"


def harden(probs: np.ndarray, params: Harden) -> np.ndarray:
    """See ``Harden``."""
    hardened: np.ndarray = np.eye(probs.shape[1])[probs.argmax(1)]
    return hardened


TREATMENTS.register("harden", Treatment(harden, Harden))
