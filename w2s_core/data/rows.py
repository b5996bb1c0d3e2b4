"""Rows of a prepared dataset and labels by example id, as Parquet files hold them.

Reading, joining and writing only; how rows come about is in ``w2s_core.entries.prepare``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from w2s_core.errors import DataError

T = TypeVar("T")

ROWS_AT_A_TIME = 1_024
READ_BYTES = 1 << 20


Shown = Mapping[str, list[Any]]
"""What some consecutive examples show, by column; which columns there are is up to their setting."""

KNOWN = ("id", "group", "gt_label")
"""Columns that rows of every setting have; all others are shown."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Examples of one split, in the order of their file. What they show stays there: it may be more than the memory."""

    ids: list[str]
    gt_labels: np.ndarray
    """[N] int8 or, of very many classes, int16: their numbers from 0."""
    shown: Callable[[], Iterator[Shown]]
    """Reads all that is shown, some examples at a time."""

    def __len__(self) -> int:
        return len(self.ids)


def only(rows: Rows, kept: np.ndarray) -> Rows:
    """Those of ``rows`` where ``kept``, [N] bool, is true."""

    def shown() -> Iterator[Shown]:
        start = 0
        for some in rows.shown():
            here = kept[start : start + n_shown(some)]
            start += len(here)
            yield {name: list(compress(column, here)) for name, column in some.items()}

    return rows if kept.all() else Rows(list(compress(rows.ids, kept)), rows.gt_labels[kept], shown)


def n_shown(shown: Shown) -> int:
    """How many examples these are."""
    return len(next(iter(shown.values())))


def each(rows: Rows, of: Callable[[Shown], Iterable[T]]) -> Iterator[T]:
    """What ``of`` makes of all that ``rows`` show, one after the other."""
    for shown in rows.shown():
        yield from of(shown)


def read_rows(path: Path) -> Rows:
    """Read a split that ``prepare`` wrote."""
    ids: list[str] = []
    gt_labels: list[np.ndarray] = []
    for batch in _read(path, "id", "gt_label"):
        ids += batch["id"].to_pylist()
        gt_labels.append(batch["gt_label"].to_numpy())
    return Rows(ids, np.concatenate(gt_labels), shown=partial(_read_shown, path))


def _read_shown(path: Path) -> Iterator[Shown]:
    columns = [name for name in pq.read_schema(path).names if name not in KNOWN]
    for batch in _read(path, *columns):
        yield {name: batch[name].to_pylist() for name in columns}


def _read(path: Path, *columns: str) -> Iterator[pa.RecordBatch]:
    """A file, some rows at a time; without such limits a whole column would be in memory."""
    with pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as file:
        yield from file.iter_batches(ROWS_AT_A_TIME, columns=list(columns), use_threads=False)
    # Otherwise it keeps several times what was ever in use at once.
    pa.default_memory_pool().release_unused()


def read_weak_probs(path: Path, ids: list[str]) -> np.ndarray:
    """The probabilities that a supervisor gave to each of ``ids``, joined by id, as ``as_held`` has them.

    Raises:
        DataError: an id has no label.
    """
    known, probs = read_labels(path)
    places = pc.index_in(pa.array(ids, pa.string()), pa.array(known, pa.string()))
    if places.null_count:
        missing = ids[places.is_null().index(True).as_py()]
        raise DataError(
            f"{path}: {places.null_count} of {len(ids)} rows have no weak label, such as {missing!r}; "
            "label the same prepared rows that the student trains on"
        )
    found: np.ndarray = probs[places.to_numpy(zero_copy_only=False)]  # a copy, which can be written to
    return found


def read_weights(path: Path, ids: list[str]) -> np.ndarray:
    """Whether each of ``ids``, which have labels, is to be trained on: 1, or 0, [N] float64."""
    if "weight" not in pq.read_schema(path).names:
        return np.ones(len(ids))
    table = pq.read_table(path, columns=["id", "weight"])
    weights: np.ndarray = table["weight"].take(pc.index_in(pa.array(ids, pa.string()), table["id"])).to_numpy().copy()
    return weights


def read_labels(path: Path) -> tuple[list[str], np.ndarray]:
    """The ids of one split's labels, and the probabilities of each, as ``as_held`` has them."""
    is_of_two = "weak_prob" in pq.read_schema(path).names
    table = pq.read_table(path, columns=["id", "weak_prob" if is_of_two else "probs"])
    ids: list[str] = table["id"].to_pylist()
    if is_of_two:
        return ids, table["weak_prob"].to_numpy()
    return ids, table["probs"].combine_chunks().flatten().to_numpy().reshape(len(ids), -1)


def read_features(path: Path, ids: list[str]) -> np.ndarray:
    """The vectors of ``ids``, [N, D] float32, joined by id; D is that of the file.

    Raises:
        DataError: an id has no vector.
    """
    table = pq.read_table(path, columns=["id", "vector"])
    places = pc.index_in(pa.array(ids, pa.string()), table["id"])
    if places.null_count:
        missing = ids[places.is_null().index(True).as_py()]
        raise DataError(f"{path}: {places.null_count} of {len(ids)} rows have no features, such as {missing!r}")
    vectors = table["vector"].combine_chunks()
    found: np.ndarray = vectors.flatten().to_numpy().reshape(len(vectors), -1)
    order = places.to_numpy()
    # Mostly they are in the order of the rows, and are not copied then.
    return found if np.array_equal(order, np.arange(len(found))) else found[order]


def read_ids(path: Path) -> list[str]:
    """The ids of a file that has something of each row."""
    ids: list[str] = pq.read_table(path, columns=["id"])["id"].to_pylist()
    return ids


def write_features(path: Path, ids: list[str], vectors: np.ndarray) -> None:
    """Write one split's features: id, vector, from [N, D] float32."""
    flat = pa.array(vectors.reshape(-1), pa.float32())
    starts = pa.array(np.arange(len(vectors) + 1) * vectors.shape[1], pa.int64())
    columns = {"id": pa.array(ids, pa.string()), "vector": pa.LargeListArray.from_arrays(starts, flat)}
    # Such numbers hardly repeat: a dictionary or compression would cost time and save little.
    pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False)


def write_weak_probs(path: Path, ids: list[str], weak_probs: np.ndarray, weights: np.ndarray | None = None) -> None:
    """Write one split's weak labels, as ``as_held`` has them: id, and weak_prob, or of more classes the list probs; and
    weight, where a row is dropped, which is 0."""
    columns = {"id": pa.array(ids, pa.string())}
    if weak_probs.ndim == 1:
        columns["weak_prob"] = pa.array(weak_probs, pa.float64())
    else:
        flat = pa.FixedSizeListArray.from_arrays(pa.array(weak_probs.reshape(-1), pa.float64()), weak_probs.shape[1])
        columns["probs"] = flat.cast(pa.list_(pa.float64()))
    if weights is not None and not weights.all():
        columns["weight"] = pa.array(weights, pa.float64())
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_draws(path: Path, ids: list[str], weights: np.ndarray, vote: float) -> None:
    """Write the chance of each row to be drawn, [N] float64, and the vote of the member that they follow."""
    columns = {"id": pa.array(ids, pa.string()), "weight": weights, "vote": np.full(len(ids), vote)}
    pq.write_table(pa.table(columns), path, compression="zstd")


def read_draws(path: Path, ids: list[str]) -> np.ndarray:
    """The chance of each of ``ids``, which are those of the file, to be drawn, [N] float64."""
    table = pq.read_table(path, columns=["id", "weight"])
    weights: np.ndarray = table["weight"].take(pc.index_in(pa.array(ids, pa.string()), table["id"])).to_numpy()
    return weights


def read_vote(path: Path) -> float:
    """The vote in such a file."""
    return float(pq.read_table(path, columns=["vote"])["vote"][0].as_py())


def write_repeated(path: Path, rows: Path, counts: np.ndarray) -> None:
    """Write each row of a split that ``prepare`` wrote as often as [N] ``counts`` say, in the order of its file."""
    start = 0
    with pq.ParquetWriter(path, pq.read_schema(rows), compression="zstd") as file:
        for batch in _read(rows, *pq.read_schema(rows).names):
            here = counts[start : start + len(batch)]
            start += len(batch)
            file.write_batch(batch.take(pa.array(np.repeat(np.arange(len(batch)), here))))


def read_groups(path: Path) -> list[str]:
    """The group of each row of a split that ``prepare`` wrote."""
    return [group for batch in _read(path, "group") for group in batch["group"].to_pylist()]


def write_predictions(path: Path, rows: Rows, groups: list[str], probs: np.ndarray) -> None:
    """Write one split's predictions: id, group, gt_label, and of two classes prob, which is P(class 1); of more classes
    answer, the number of the likeliest, and whether it is right."""
    columns = {"id": pa.array(rows.ids, pa.string()), "group": pa.array(groups, pa.string())}
    if probs.ndim == 1:
        columns["prob"] = pa.array(probs, pa.float64())
    else:
        answers = probs.argmax(1)
        columns["answer"] = pa.array(answers.astype(str), pa.string())
        columns["right"] = pa.array(answers == rows.gt_labels, pa.bool_())
    columns["gt_label"] = pa.array(rows.gt_labels, pa.int8() if probs.ndim == 1 else pa.int16())
    pq.write_table(pa.table(columns), path, compression="zstd")
