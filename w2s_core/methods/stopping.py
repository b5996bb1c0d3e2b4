"""When the weights of a training are taken: at its end, where a validation was best, or after a share of its steps.

Burns et al. 2023, section 5.1: students overfit to weak labels within an epoch, so that earlier weights can be better.
One training gives all that are asked for; its end is always among them. No rule sees the test split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from w2s_core.config import Frozen
from w2s_core.registry import Registry

PER_EPOCH = 20
"""How often a rule that looks for the best weights looks, in each epoch."""


class Rule(NamedTuple):
    """A rule that a method may name."""

    points: Callable[[int, int, Any], set[int]]
    """``(n_steps, epochs, params)`` to the steps, from 1, after which it looks."""
    merit: Callable[[Mapping[str, float]], float]
    """How good weights are, of their ``gt_accuracy`` and ``label_accuracy`` on the validation rows: against the truth,
    and against the labels that are trained on. The first of the best are taken."""
    params: type[Frozen]
    """Its parameters, with its name as ``rule``."""
    is_oracle: bool = False
    """Whether it sees the truth, which nobody has; then the method's name says so."""


STOPS: Registry[Rule] = Registry("stopping rule", param="stop.rule", modules=("w2s_core.methods.stopping",))


class Final(Frozen):
    """The weights after the last step."""

    rule: Literal["final"] = "final"


FINAL = Final()


class ValWeak(Frozen):
    """The weights that agree most with the supervisor on the validation rows."""

    cited: ClassVar[str] = "Burns et al. 2023, section 5.1"

    rule: Literal["val_weak"] = "val_weak"


class ValGt(Frozen):
    """The weights that are right most often on the validation rows: an oracle, and named so."""

    cited: ClassVar[str] = "Burns et al. 2023, section 5.1"

    rule: Literal["val_gt"] = "val_gt"


class Fraction(Frozen):
    """The weights after a share of the training; its learning rate is that of the whole."""

    rule: Literal["fraction"] = "fraction"
    at: float = Field(0.5, gt=0, lt=1, description="The share of its steps.")


def _last(n_steps: int, epochs: int, params: Final) -> set[int]:
    return {n_steps}


def _often(n_steps: int, epochs: int, params: Frozen) -> set[int]:
    n_points = PER_EPOCH * epochs
    return {math.ceil(point * n_steps / n_points) for point in range(1, n_points + 1)}


def _once(n_steps: int, epochs: int, params: Fraction) -> set[int]:
    return {math.ceil(params.at * n_steps)}


def _any(accuracies: Mapping[str, float]) -> float:
    return 0.0


def _of_labels(accuracies: Mapping[str, float]) -> float:
    return accuracies["label_accuracy"]


def _of_truth(accuracies: Mapping[str, float]) -> float:
    return accuracies["gt_accuracy"]


STOPS.register("final", Rule(_last, _any, Final))
STOPS.register("val_weak", Rule(_often, _of_labels, ValWeak))
STOPS.register("val_gt", Rule(_often, _of_truth, ValGt, is_oracle=True))
STOPS.register("fraction", Rule(_once, _any, Fraction))
