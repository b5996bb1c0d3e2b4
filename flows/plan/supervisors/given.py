"""A file of labels that people, rules or an API gave."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from artifacts.errors import UsageError
from flows.plan.cell import Cell
from flows.plan.graph import FromPath
from flows.plan.supervisors.supervisor import SUPERVISORS, Spec, Supervision, Supervisor
from w2s_core.stages import LABELLED


class LabelsSpec(Spec):
    """Labels from a file of id and prob, P(class 1), or answer, for all rows of `w2s show DATASET --ids`."""

    kind: Literal["labels"] = "labels"
    path: str = Field(min_length=1, description="CSV or Parquet; {dataset} in it stands for the dataset's name.")


def build(cell: Cell, spec: LabelsSpec) -> Supervision:
    """Measured against itself."""
    path = Path(spec.path.replace("{dataset}", cell.dataset)).expanduser().absolute()
    if not path.is_file():
        raise UsageError(
            f"supervisors: {spec.name}: no file {path}; it has to hold id and prob, or answer, of the rows that "
            f"`w2s show {cell.dataset} --ids --grid GRID` lists"
        )
    rows = {split: cell.rows(split) for split in LABELLED}
    node = cell.add("import_labels", {}, {"file": FromPath(path), **rows}, supervisor=spec.name, seed=None)
    labels = cell.labels_of(node, spec.name)
    return Supervision(labels, cell.judge(labels))


SUPERVISORS.register("labels", Supervisor(LabelsSpec, build, needs_classes=False))
