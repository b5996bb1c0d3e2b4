"""Answers that are texts, in normal form, as Parquet files hold them: labels by example id, and predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from w2s_core.data.rows import Rows, Shown, n_shown
from w2s_core.errors import DataError


def read_answers(path: Path, ids: list[str]) -> np.ndarray:
    """The answer that a supervisor gave to each of ``ids``, [N] of texts, joined by id.

    Raises:
        DataError: an id has no label.
    """
    table = pq.read_table(path, columns=["id", "answer"])
    places = pc.index_in(pa.array(ids, pa.string()), table["id"])
    if places.null_count:
        missing = ids[places.is_null().index(True).as_py()]
        raise DataError(f"{path}: {places.null_count} of {len(ids)} rows have no weak label, such as {missing!r}")
    return texts(table["answer"].take(places).to_pylist())


def write_answers(path: Path, ids: list[str], answers: np.ndarray) -> None:
    """Write one split's labels: id, answer."""
    columns = {"id": pa.array(ids, pa.string()), "answer": pa.array(answers.tolist(), pa.string())}
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_said(path: Path, rows: Rows, groups: list[str], answers: np.ndarray, is_right: np.ndarray) -> None:
    """Write one split's predictions: id, group, answer, right."""
    columns = {
        "id": pa.array(rows.ids, pa.string()),
        "group": pa.array(groups, pa.string()),
        "answer": pa.array(answers.tolist(), pa.string()),
        "right": pa.array(is_right, pa.bool_()),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def with_answers(rows: Rows, answers: np.ndarray) -> Rows:
    """``rows``, which show other answers, [N] of texts."""

    def shown() -> Iterator[Shown]:
        left = iter(answers.tolist())
        for some in rows.shown():
            yield {**some, "answer": list(islice(left, n_shown(some)))}

    return replace(rows, shown=shown)


def after(rows: Rows, before: str) -> Rows:
    """``rows``, whose prompts follow another text."""

    def shown() -> Iterator[Shown]:
        for some in rows.shown():
            yield {**some, "prompt": [before + prompt for prompt in some["prompt"]]}

    return replace(rows, shown=shown)


def texts(values: list[str]) -> np.ndarray:
    """[N] of texts, of any length."""
    found = np.empty(len(values), object)
    found[:] = values
    return found
