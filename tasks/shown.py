"""What a task run shows of what it made: a number in its state, and the curve of a training as an artifact."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow.parquet as pq
from prefect.artifacts import create_table_artifact

from artifacts.identity.keys import JSON
from artifacts.results.curves import CURVE
from artifacts.store.contract import Store
from artifacts.store.manifest import Manifest

N_POINTS = 10
"""Of a curve; all of it is in the store and in the results."""

METRICS = {"validation_accuracy": "accuracy {:.3f} on validation", "accuracy": "accuracy {:.3f}"}
"""What a state says of the metrics of a stage: the first that it has."""

COLUMNS = {"step": "step", "fraction": "trained", "loss": "loss", "gt_accuracy": "validation acc",
           "label_accuracy": "acc against labels"}  # fmt: skip
"""Of a curve, and what the table calls them."""


def artifact_key(name: str) -> str:
    """A name in the letters that Prefect allows for artifacts."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def in_words(metrics: Mapping[str, JSON]) -> str:
    """What a state says of a stage; empty where that has no accuracy."""
    found = (text.format(metrics[name]) for name, text in METRICS.items() if metrics.get(name) is not None)
    return next(found, "")


def show_curve(store: Store, made: Manifest, name: str, grid: str) -> str:
    """A table of how a training went, as an artifact of this task run under one key for all of its grid.

    Returns:
        Why there is none; empty where there is one, or the stage has no curve.
    """
    if CURVE not in made.side:
        return ""
    try:
        rows = points(pq.read_table(store.side_path(made.stage, made.key, CURVE)).to_pylist())
        create_table_artifact(
            table=rows,
            key=artifact_key(f"{grid} curves"),
            description=", ".join(word for word in (name, in_words(made.metrics)) if word),
        )
    except Exception as error:  # of many types: what Prefect's client says of a server that is away
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return ""


def points(curve: list[dict[str, Any]]) -> list[dict[str, JSON]]:
    """A few rows of a curve, evenly spread, and all with an accuracy, rounded."""
    n = len(curve)
    kept = {round(i * (n - 1) / max(1, N_POINTS - 1)) for i in range(min(n, N_POINTS))}
    return [
        {heading: _rounded(row.get(column)) for column, heading in COLUMNS.items() if column in row}
        for place, row in enumerate(curve)
        if place in kept or row.get("gt_accuracy") is not None
    ]


def _rounded(value: JSON) -> JSON:
    return "" if value is None else round(value, 4)
