"""Labels of any accuracy, made from the truth by errors of a chosen structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from artifacts.errors import UsageError
from flows.plan.cell import Cell
from flows.plan.choices import any_of
from flows.plan.graph import FromNode
from flows.plan.learners import finetune
from flows.plan.supervisors.supervisor import SUPERVISORS, Spec, Supervision, Supervisor
from w2s_core.methods.classes import two
from w2s_core.methods.mistakes import STRUCTURES, Errors, ErrorsOfModel
from w2s_core.registry import unknown_name
from w2s_core.stages import LABELLED

if TYPE_CHECKING:
    ErrorsChoice = Errors
else:
    ErrorsChoice = any_of(STRUCTURES, "params", "kind")


class SimulatedSpec(Spec):
    """The truth with a chosen share of errors, exactly, of a chosen structure."""

    cited: ClassVar[str] = "Burns et al. 2023, appendix E"

    kind: Literal["simulated"] = "simulated"
    accuracy: float = Field(gt=0, le=1, description="Of each split that it labels, but for rounding to whole rows.")
    errors: ErrorsChoice = Field(description="A structure by name, or a table of its kind and settings.")
    confidence: float = Field(1.0, gt=0.5, le=1, description="Probability of the class that it names.")
    balanced: bool = Field(True, description="As many errors in either true class, as far as its rows go.")


def build(cell: Cell, spec: SimulatedSpec) -> Supervision:
    """Measured against itself."""
    inputs = {split: cell.rows(split) for split in LABELLED} | _answers(cell, spec)
    params = {
        "accuracy": spec.accuracy,
        # Which model it was is in the inputs, whatever its name.
        "errors": spec.errors.model_dump(exclude={"model"}),
        "confidence": spec.confidence,
        "balanced": spec.balanced,
        "seed": cell.seed,
    }
    labels = cell.labels_of(cell.add("simulate", params, inputs, supervisor=spec.name), spec.name)
    return Supervision(labels, cell.judge(labels))


def _answers(cell: Cell, spec: SimulatedSpec) -> dict[str, FromNode]:
    """The labels of the model that the errors follow; nothing where they follow none."""
    if not isinstance(spec.errors, ErrorsOfModel):
        return {}
    ladder = list(cell.models)
    default = STRUCTURES.get(spec.errors.kind).default_model
    name = spec.errors.model or ladder[0 if default == "weakest" else -1]
    if name not in ladder:
        raise UsageError(f"supervisors: {spec.name}: {unknown_name('model of the ladder', name, ladder)}")
    given = finetune(cell, name, cell.truth("weak_train")).labels().given or {}
    return {f"answers.{split}": given[split] for split in LABELLED}


SUPERVISORS.register("simulated", Supervisor(SimulatedSpec, build, most_classes=two, reads_text=True))
