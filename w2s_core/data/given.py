"""Labels that people, rules, an engine or an API gave: a file of ids and probabilities, or answers, CSV or Parquet.

Which rows there are to label is told by ``w2s show DATASET --ids --grid GRID``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from w2s_core.errors import DataError

T = TypeVar("T")

SHOWN = 3


def read_given(path: Path, ids: Mapping[str, list[str]]) -> dict[str, np.ndarray]:
    """P(class 1) of the rows of each split, [N] float64 in the order of ``ids[split]``, from the column ``prob``.

    Raises:
        DataError: not such a file; a probability is none; a row is labelled twice, is unknown, or has no label.
    """
    table = _read(path, "prob")
    try:
        given = table["id"].cast(pa.string()).to_pylist()
        probs = np.array(table["prob"].cast(pa.float64()).to_pylist(), np.float64)  # an empty cell is NaN
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: {error}; id is text, and prob a number from 0 to 1") from None
    wrong = [f"{id!r} has {prob}" for id, prob in zip(given, probs, strict=True) if not 0 <= prob <= 1]
    _refuse(path, wrong, "probabilities that are none", "prob is P(class 1), from 0 to 1")
    by_id = _by_id(path, given, probs.tolist(), ids)
    return {split: np.array([by_id[id] for id in of], np.float64) for split, of in ids.items()}


def read_given_classes(path: Path, ids: Mapping[str, list[str]], n_classes: int) -> dict[str, np.ndarray]:
    """The probabilities of the rows of each split, [N, C] float64 in the order of ``ids[split]``, of more than two
    classes: from the column ``probs``, a list (Parquet alone), or all sure from ``class``, a number from 0.

    Raises:
        DataError: see ``read_given``.
    """
    table = _read(path, "probs", "class")
    given = table["id"].cast(pa.string()).to_pylist()
    try:
        probs = _of_classes(path, table, given, n_classes)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:  # the latter of text, where a list is wanted
        wanted = f"class is a number from 0 to {n_classes - 1}, and probs a list, which Parquet alone has"
        raise DataError(f"{path}: {error}; {wanted}") from None
    by_id = _by_id(path, given, list(probs), ids)
    return {split: np.array([by_id[id] for id in of], np.float64) for split, of in ids.items()}


def _of_classes(path: Path, table: pa.Table, given: list[str], n_classes: int) -> np.ndarray:
    """[N, C] of the column ``probs``, or, all sure, of ``class``."""
    if "probs" in table.column_names:
        found = table["probs"].cast(pa.list_(pa.float64())).to_pylist()
        wrong = [
            repr(id)
            for id, of_row in zip(given, found, strict=True)
            if of_row is None or len(of_row) != n_classes or not _are_probabilities(np.array(of_row, np.float64))
        ]
        what = "rows whose probs are no probabilities"
        _refuse(path, wrong, what, f"give each the {n_classes} of its classes, which add up to 1")
        return np.array(found, np.float64)
    classes = table["class"].cast(pa.int64()).to_pylist()
    wrong = [
        f"{id!r} has {number}"
        for id, number in zip(given, classes, strict=True)
        if number is None or not 0 <= number < n_classes
    ]
    _refuse(path, wrong, "classes that are none", f"class is a number from 0 to {n_classes - 1}")
    return np.eye(n_classes)[np.array(classes, np.int64)]


def _are_probabilities(probs: np.ndarray) -> bool:
    return bool((probs >= 0).all() and abs(probs.sum() - 1) < 1e-6)


def read_given_answers(path: Path, ids: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The texts that answer the rows of each split, in the order of ``ids[split]``, from the column ``answer``.

    Raises:
        DataError: not such a file; a row is labelled twice, is unknown, or has no label.
    """
    table = _read(path, "answer")
    given, answers = (table[name].cast(pa.string()).to_pylist() for name in ("id", "answer"))
    empty = [repr(id) for id, answer in zip(given, answers, strict=True) if answer is None]
    _refuse(path, empty, "rows without an answer", "answer is a text")
    by_id = _by_id(path, given, answers, ids)
    return {split: [by_id[id] for id in of] for split, of in ids.items()}


def _by_id(path: Path, given: list[str], labels: list[T], ids: Mapping[str, list[str]]) -> dict[str, T]:
    """The label of each row, of which there has to be one of each of ``ids`` and no other."""
    by_id = dict(zip(given, labels, strict=True))
    if len(by_id) < len(given):
        repeated = (value["values"] for value in pc.value_counts(pa.array(given)).to_pylist() if value["counts"] > 1)
        _refuse(path, map(repr, repeated), "rows labelled twice", "give each row one label")
    known = [id for split in ids.values() for id in split]
    ask = "`w2s show DATASET --ids --grid GRID` lists the rows to label"
    _refuse(path, map(repr, sorted(by_id.keys() - set(known), key=given.index)), "ids that no prepared row has", ask)
    _refuse(path, (repr(id) for id in known if id not in by_id), "prepared rows without a label", ask)
    return by_id


def _read(path: Path, *labels: str) -> pa.Table:
    """The ids of a file whose name tells its format, and the first column of ``labels`` that there is.

    Raises:
        DataError: another format, a file that cannot be read, or one that lacks a column.
    """
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        elif path.suffix == ".csv":
            # An id or an answer of digits only is text all the same.
            table = csv.read_csv(
                path, convert_options=csv.ConvertOptions(column_types={"id": pa.string(), "answer": pa.string()})
            )
        else:
            raise DataError(f"{path}: labels are read from .csv and .parquet files")
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    label = next((name for name in labels if name in table.column_names), labels[-1])
    for name in ("id", label):
        if name not in table.column_names:
            raise DataError(f"{path}: no column {name!r}; it needs id and {label}")
    return table


def _refuse(path: Path, found: Iterable[str], what: str, instead: str) -> None:
    listed = list(found)
    if listed:
        also = ", …" if len(listed) > SHOWN else ""
        raise DataError(f"{path}: {len(listed)} {what}: {', '.join(listed[:SHOWN])}{also}; {instead}")
