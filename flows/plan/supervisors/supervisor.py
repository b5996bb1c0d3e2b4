"""Who gives the weak labels, besides finetuned models of the ladder: the kinds that a grid's ``supervisors`` may have.

A kind is what it takes in a grid's file, and one builder over a ``Cell``; each has a file of its own here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from flows.plan.cell import Cell, Labels
from flows.plan.graph import Node
from flows.plan.learners import finetune
from w2s_core.config import Frozen, Name
from w2s_core.methods.classes import any_number
from w2s_core.registry import Registry


class Spec(Frozen):
    """What a grid says of a supervisor; each kind adds its own fields, of which ``kind`` tells it from the others."""

    name: Name
    kind: str

    @property
    def members(self) -> tuple[str, ...]:
        """Models of the ladder that it needs; it supervises those that are stronger than all of them."""
        return ()

    @property
    def follows(self) -> str | None:
        """The supervisor that its first model learns from, of the ladder or another."""
        return None

    @property
    def teaches_equals(self) -> bool:
        """Whether a pair may also name the strongest of its members as its student."""
        return False


class Supervision(NamedTuple):
    """A supervisor in one cell."""

    labels: Labels
    score: Node
    """Of these labels."""
    reference: Node | None = None
    """The score that counts as ``weak`` in a PGR; None: that of the labels."""


class Supervisor(NamedTuple):
    """A kind of supervisor."""

    spec: type[Spec]
    build: Callable[[Cell, Any], Supervision]
    """Adds what it needs to a cell's graph."""
    most_classes: Callable[[Any], int | None] = any_number
    """Of datasets for which it is defined, of its specification; None: any number."""
    reads_text: bool = False
    """Whether examples have to be texts."""
    needs_classes: bool = True
    """Whether its labels are probabilities of classes; else they may be texts."""


SUPERVISORS: Registry[Supervisor] = Registry(
    "kind of supervisor", param="supervisors.kind", modules=("flows.plan.supervisors.*",)
)


def supervise(cell: Cell, name: str) -> Supervision:
    """What the supervisor of this name gives: a model of the ladder that is finetuned on truth, or another."""
    spec = cell.supervisors.get(name)
    if isinstance(spec, Spec):
        return SUPERVISORS.get(spec.kind).build(cell, spec)
    model = finetune(cell, name, cell.truth("weak_train"))
    return Supervision(model.labels(), model.score)
