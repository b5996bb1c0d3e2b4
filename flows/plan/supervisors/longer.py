"""One model with the compute of several: what an ensemble's is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from artifacts.identity.keys import JSON
from flows.plan.cell import Cell, Model
from flows.plan.learners import finetune
from flows.plan.supervisors.supervisor import SUPERVISORS, Spec, Supervision, Supervisor
from w2s_core.config import Frozen, Name


class LongerSpec(Spec):
    """One model finetuned for several times as many epochs: a control for ensembles of as many members."""

    kind: Literal["longer"] = "longer"
    model: Name = Field(description="Of the ladder.")
    times: int = Field(ge=2, le=100, description="Epochs of the grid's training, times this.")

    @property
    def members(self) -> tuple[str, ...]:
        """Its model."""
        return (self.model,)


def build(cell: Cell, spec: LongerSpec) -> Supervision:
    """Measured against the model finetuned as usual, as an ensemble of it is."""
    plain = finetune(cell, spec.model, cell.truth("weak_train"))

    def recipe(
        asked: Mapping[str, JSON], seed: int, model: Model, loss: Frozen, stops: Sequence[Frozen]
    ) -> Mapping[str, JSON]:
        usual = cell.recipe(asked, seed, model, loss, stops)
        return {**usual, "training": {**usual["training"], "epochs": usual["training"]["epochs"] * spec.times}}

    longer = finetune(replace(cell, recipe=recipe), spec.model, cell.truth("weak_train"), method=spec.name)
    # Its labels are a model's, by the model's name; what tables say is who supervises.
    return Supervision(longer.labels()._replace(by=spec.name), longer.score, reference=plain.score)


SUPERVISORS.register("longer", Supervisor(LongerSpec, build, needs_classes=False))
