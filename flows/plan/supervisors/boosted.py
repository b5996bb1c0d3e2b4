"""Finetunings of one model in turn, each of which sees more of what the one before has wrong: AdaBoost."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from flows.plan.cell import Cell
from flows.plan.graph import FromNode
from flows.plan.learners import finetune, train
from flows.plan.supervisors.ensemble import APART, said_by
from flows.plan.supervisors.supervisor import SUPERVISORS, Spec, Supervision, Supervisor
from w2s_core.config import Name
from w2s_core.methods.classes import two


class BoostedSpec(Spec):
    """Finetunings of one model in turn, on rows that the one before has wrong more often, by weighted votes."""

    cited: ClassVar[str] = "AdaBoost, Freund and Schapire 1997; of supervisors, EnsemW2S 2024"

    kind: Literal["boosted"] = "boosted"
    model: Name = Field(description="Of the ladder.")
    n_rounds: int = Field(3, ge=2, le=100, description="Finetunings.")

    @property
    def members(self) -> tuple[str, ...]:
        """Its model."""
        return (self.model,)


def build(cell: Cell, spec: BoostedSpec) -> Supervision:
    """Measured against the first of them, which is the model finetuned as usual."""
    truth, rows = cell.truth("weak_train"), cell.rows("weak_train")
    here, members = cell, []
    votes: list[FromNode] = []
    for position in range(spec.n_rounds):
        method = f"{spec.name}-{position + 1}"
        # The first is the model finetuned as usual, and is called as that.
        named = method if position else None
        members.append(finetune(here, spec.model, truth, method=named))
        trained = train(here, spec.model, truth, method=named)
        inputs = {"model": trained, "weak_train": rows, **({"weights": votes[-1]} if votes else {})}
        params = {**cell.asked, "seed": cell.seed + APART * position}
        node = cell.add("boost", params, inputs, model=spec.model, half=rows.output, method=method)
        votes.append(FromNode(node, "weights"))
        here = replace(cell, drawn=FromNode(node, "weak_train"))
    given = {f"votes.{position}": each for position, each in enumerate(votes)}
    voted = cell.add("vote", {**cell.asked}, {**said_by(cell, members), **given}, supervisor=spec.name)
    labels = cell.labels_of(voted, spec.name)
    return Supervision(labels, cell.judge(labels), reference=members[0].score)


SUPERVISORS.register("boosted", Supervisor(BoostedSpec, build, most_classes=two))
