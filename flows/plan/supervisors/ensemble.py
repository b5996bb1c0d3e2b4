"""Several models of the ladder, or several finetunings of one, whose labels are combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from flows.plan.cell import Answers, Cell
from flows.plan.choices import any_of
from flows.plan.graph import FromNode
from flows.plan.learners import finetune
from flows.plan.supervisors.supervisor import SUPERVISORS, Spec, Supervision, Supervisor
from w2s_core.config import Frozen, Name
from w2s_core.methods.ensembles import WAYS, Mean
from w2s_core.stages import LABELLED

APART = 1000
"""Between the seeds of a model's members, so that those of neighbouring seeds of a grid differ."""


if TYPE_CHECKING:
    WayChoice = Frozen
else:
    WayChoice = any_of(WAYS, "params", "by")


class EnsembleSpec(Spec):
    """What several finetuned models, or several finetunings of one, say together."""

    cited: ClassVar[str] = "Sang et al. 2024; Lang et al. 2025"

    kind: Literal["ensemble"] = "ensemble"
    models: tuple[Name, ...] = Field(min_length=1, description="Of the ladder, in any order.")
    by: WayChoice = Field(Mean(), description="How they are combined: a name, or a table with `by` and its settings.")
    n_seeds: int = Field(
        1, ge=1, le=100, description="Finetunings of each model: with the cell's seed, and with 1000, 2000, ... more."
    )
    bag: bool = Field(
        False, description="Each member learns from rows of its own, drawn with replacement from the supervisor's half."
    )

    @model_validator(mode="after")
    def _several(self) -> EnsembleSpec:
        if len(self.models) * self.n_seeds < 2:
            raise ValueError("an ensemble needs at least two members: more models, or n_seeds above 1")
        return self

    @property
    def members(self) -> tuple[str, ...]:
        """Its models."""
        return self.models


def build(cell: Cell, spec: EnsembleSpec) -> Supervision:
    """Measured against its strongest model, finetuned once with the cell's seed.

    That has a part of the ensemble's compute; a single supervisor with all of it is one of kind ``longer``.
    """
    cells = [replace(cell, seed=cell.seed + APART * k) for k in range(spec.n_seeds)]
    names = [name for name in cell.models if name in spec.models]
    truth, members = cell.truth("weak_train"), []
    for position, (name, each) in enumerate(product(names, cells)):
        if spec.bag:
            seed = cell.seed + APART * position
            bag = cell.add("bag", {"seed": seed}, {"weak_train": cell.rows("weak_train")}, seed=seed)
            on_bag = replace(each, drawn=FromNode(bag, "weak_train"))
            members.append(finetune(on_bag, name, truth, method=spec.name))
        else:
            members.append(finetune(each, name, truth))
    combined = cell.add("combine", {"combine": spec.by.model_dump()}, said_by(cell, members), supervisor=spec.name)
    labels = cell.labels_of(combined, spec.name)
    return Supervision(labels, cell.judge(labels), reference=finetune(cell, names[-1], truth).score)


def said_by(cell: Cell, members: Sequence[Answers]) -> dict[str, FromNode]:
    """The inputs of a stage that combines the labels of members: rows, and labels by split and position."""
    inputs: dict[str, FromNode] = {f"rows_{split}": cell.rows(split) for split in LABELLED}
    for position, member in enumerate(members):
        given = member.labels().given or {}
        inputs |= {f"{split}.{position}": source for split, source in given.items()}
    return inputs


SUPERVISORS.register("ensemble", Supervisor(EnsembleSpec, build))
