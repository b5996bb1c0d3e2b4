"""The training curves of a store as one table. How they come about is for trainings; they are in no digest."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import MissingArtifact
from artifacts.identity.keys import JSON
from artifacts.store.contract import Reader

CURVE = "side/curve.parquet"
"""Where an artifact has its curve, if it has one."""

KINDS = {"train_gt": "gt", "train_w2s": "w2s"}
"""What the table calls trainings, by stage; others go by the name of their stage."""

LABELS = ("grid", "dataset", "kind", "model", "half", "supervisor", "method")
NUMBERS = (
    "fraction", "loss", "lr", "label_disagree", "alpha", "hardened_disagree", "examples_per_s", "tokens_per_s",
    "gt_accuracy", "label_accuracy",
)  # fmt: skip
SCHEMA = pa.schema(
    [(name, pa.string()) for name in LABELS]
    + [("seed", pa.int64()), ("step", pa.int64())]
    + [(name, pa.float64()) for name in NUMBERS]
    + [("key", pa.string())]
)

log = logging.getLogger("w2s.results")


class Curve(NamedTuple):
    """The curve of one node of a grid."""

    key: str
    grid: str
    stage: str
    labels: Mapping[str, JSON]


def curves_table(store: Reader, curves: Iterable[Curve]) -> pa.Table:
    """All ``curves``, in order; one that is missing or cannot be read is left out.

    Columns that a curve does not have are null, those that ``SCHEMA`` does not have are left out.
    """
    found = (_read(store, curve) for curve in curves)
    return pa.concat_tables([SCHEMA.empty_table(), *(table for table in found if table is not None)])


def _read(store: Reader, curve: Curve) -> pa.Table | None:
    try:
        rows = pq.read_table(store.side_path(curve.stage, curve.key, CURVE))
        kind = KINDS.get(curve.stage, curve.stage)
        labels = {"grid": curve.grid, "key": curve.key, "kind": kind, **curve.labels}
        return pa.table(
            [
                rows[field.name].cast(field.type)
                if field.name in rows.column_names
                else pa.repeat(pa.scalar(labels.get(field.name), field.type), len(rows))
                for field in SCHEMA
            ],
            schema=SCHEMA,
        )
    except (FileNotFoundError, MissingArtifact):
        return None
    except (OSError, pa.ArrowException) as error:
        where, reason = f"{curve.stage} {curve.key[:12]}", str(error).partition("\n")[0]
        log.warning("the curve of %s cannot be read and is left out: %s", where, reason)
        return None
