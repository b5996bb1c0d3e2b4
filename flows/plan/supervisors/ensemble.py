"""Several models of the ladder, whose probabilities are averaged."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flows.plan.cell import Cell
from flows.plan.graph import FromNode
from flows.plan.learners import finetune
from flows.plan.supervisors.supervisor import SUPERVISORS, Spec, Supervision, Supervisor
from w2s_core.config import Name


class EnsembleSpec(Spec):
    """The mean of what several finetuned models say."""

    kind: Literal["ensemble"] = "ensemble"
    models: tuple[Name, ...] = Field(min_length=2, description="Of the ladder, in any order.")

    @property
    def members(self) -> tuple[str, ...]:
        """Its models."""
        return self.models


def build(cell: Cell, spec: EnsembleSpec) -> Supervision:
    """Measured against its strongest member."""
    members = {name: finetune(cell, name, cell.truth("weak_train")) for name in cell.models if name in spec.models}
    inputs: dict[str, FromNode] = {}
    for position, member in enumerate(members.values()):
        given = member.labels().given or {}
        inputs |= {f"{split}.{position}": source for split, source in given.items()}
    labels = cell.labels_of(cell.add("combine", {}, inputs, supervisor=spec.name), spec.name)
    return Supervision(labels, cell.judge(labels), reference=list(members.values())[-1].score)


SUPERVISORS.register("ensemble", Supervisor(EnsembleSpec, build))
