"""Rows of a prepared dataset and labels by example id, as Parquet files hold them.

Reading, joining and writing only; how rows come about is in ``w2s_core.prepare``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from w2s_core.errors import DataError


@dataclass(frozen=True, slots=True)
class Rows:
    """Examples of one split, in the order of their file."""

    ids: list[str]
    passages: list[str]
    prompts: list[str]
    gt_labels: np.ndarray
    """[N] int8, 0 or 1."""

    def __len__(self) -> int:
        return len(self.ids)


def read_rows(path: Path) -> Rows:
    """Read a split that ``prepare`` wrote."""
    table = pq.read_table(path, columns=["id", "passage", "prompt", "gt_label"])
    return Rows(
        ids=table["id"].to_pylist(),
        passages=table["passage"].to_pylist(),
        prompts=table["prompt"].to_pylist(),
        gt_labels=table["gt_label"].to_numpy().astype(np.int8),
    )


def read_weak_probs(path: Path, ids: list[str]) -> np.ndarray:
    """P(class 1) that a supervisor gave to each of ``ids``, [N] float64, joined by id.

    Raises:
        DataError: an id has no label.
    """
    table = pq.read_table(path, columns=["id", "weak_prob"])
    by_id = dict(zip(table["id"].to_pylist(), table["weak_prob"].to_pylist(), strict=True))
    missing = [id_ for id_ in ids if id_ not in by_id]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(ids)} rows have no weak label, such as {missing[0]!r}; "
            "label the same prepared rows that the student trains on"
        )
    return np.array([by_id[id_] for id_ in ids], dtype=np.float64)


def write_weak_probs(path: Path, ids: list[str], weak_probs: np.ndarray) -> None:
    """Write one split's weak labels: id, weak_prob."""
    columns = {"id": pa.array(ids, pa.string()), "weak_prob": pa.array(weak_probs, pa.float64())}
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_predictions(path: Path, rows: Rows, probs: np.ndarray) -> None:
    """Write one split's predictions: id, prob, gt_label."""
    columns = {
        "id": pa.array(rows.ids, pa.string()),
        "prob": pa.array(probs, pa.float64()),
        "gt_label": pa.array(rows.gt_labels, pa.int8()),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")
