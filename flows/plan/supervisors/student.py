"""A chain of models that learn from each other, on disjoint rows: bootstrapping (Burns et al. 2023, section 4.3.1).

Rounds of one model on its own labels (strong to strong) are a chain that repeats it.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from artifacts.errors import UsageError
from flows.plan.cell import Cell
from flows.plan.choices import LossChoice
from flows.plan.learners import finetune
from flows.plan.supervisors.supervisor import SUPERVISORS, Spec, Supervision, Supervisor, supervise
from w2s_core.config import Name
from w2s_core.methods.losses import Xent
from w2s_core.stages import part_names


class StudentSpec(Spec):
    """The last of several models, each of which learned from the one before on rows of its own."""

    cited: ClassVar[str] = "Burns et al. 2023, section 4.3.1"

    kind: Literal["student"] = "student"
    of: Name = Field(description="Whom the first of them learns from: a model of the ladder, or another supervisor.")
    models: tuple[Name, ...] = Field(min_length=1, description="Of the ladder, in turn; one may stand there again.")
    loss: LossChoice = Xent()

    @property
    def members(self) -> tuple[str, ...]:
        """Its models, each once."""
        return tuple(dict.fromkeys(self.models))

    @property
    def follows(self) -> str:
        """The first supervisor."""
        return self.of

    @property
    def teaches_equals(self) -> bool:
        """The student of rounds of one model is that model."""
        return True


def build(cell: Cell, spec: StudentSpec) -> Supervision:
    """Measured against the first supervisor, as that one's own students are."""
    n_before = _n_parts(cell, spec.of)
    n_taken = n_before + len(spec.models)
    n_parts = cell.prepared.params["data"]["n_parts"]
    if n_parts <= n_taken:
        raise UsageError(
            f"supervisors: {spec.name}: data.n_parts has to be {n_taken + 1} or more, not {n_parts}: a part for each "
            f"of {n_taken} models in turn, and the last for the students"
        )
    cells = [cell.on(part) for part in part_names(n_taken + 1)[n_before:]]
    first = supervise(cells[0], spec.of)
    labels, score = first.labels, first.score
    for name, here, there in zip(spec.models, cells, [*cells[1:], cell], strict=True):
        model = finetune(here, name, labels, spec.loss, method=spec.name)
        labels, score = model.labels(there), model.score
    return Supervision(labels, score, reference=first.reference or first.score)


def _n_parts(cell: Cell, name: str) -> int:
    """On how many parts the models of a supervisor learn: a chain that follows another takes those after them."""
    spec = cell.supervisors.get(name)
    return _n_parts(cell, spec.of) + len(spec.models) if isinstance(spec, StudentSpec) else 0


SUPERVISORS.register("student", Supervisor(StudentSpec, build, needs_classes=False))
