"""The stage ``prepare``: raw rows to the four tables of examples that every model of a grid shares.

How a row becomes examples is in ``datasets`` and ``nlp``, where rows come from in ``sources``, and which of them go
into which split in ``sampling``.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from w2s_core.datasets import DATASETS, Dataset, RawRow
from w2s_core.errors import DataError
from w2s_core.hashes import stable_hash, stable_int
from w2s_core.sampling import Row, Split, balanced, sample_any, sample_balanced
from w2s_core.sources import SOURCES
from w2s_core.watch import Watch

MAX_MAJORITY = 0.55
"""Share of the larger class among training rows above which they are balanced (Burns et al. 2023)."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("group", pa.string()),
        ("passage", pa.string()),
        ("prompt", pa.string()),
        ("gt_label", pa.int8()),
    ]
)


def prepare(params: Mapping[str, Any], inputs: Mapping[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Format, filter, balance and split one dataset.

    Args:
        params: ``dataset``, ``source``, ``data_seed`` and ``data`` (a ``DataConfig`` with ``max_chars`` set).
        inputs: the raw file of each split, for a folder.
        out: gets ``weak_train``, ``transfer_train``, ``validation`` and ``test``, as Parquet.
        watch: hears of every table written.

    Returns:
        Per raw split its rows, how many examples were dropped for which reason, and how many were left to choose
        from; per output its rows, positive ones and groups.

    Raises:
        DataError: rows that do not fit the dataset, one class only, or too few rows.
    """
    name, seed, data = params["dataset"], params["data_seed"], params["data"]
    dataset = DATASETS.get(name)
    raw = SOURCES.get(params["source"]["kind"])(params, inputs, dataset.columns)
    dropped = {split: Counter(too_long=0, duplicate=0, in_test=0, unbalanced=0) for split in raw}

    test = _examples(params, dataset, raw["test"], "test", dropped["test"])
    # Whatever the test file holds, sampled or not: n_test must not decide what is trained on.
    test_groups = {row.group for row in test}
    if data["balance_test"]:
        test = _balanced(test, 0.5, dropped["test"])
    train = _examples(params, dataset, raw["train"], "train", dropped["train"])
    outside = [row for row in train if row.group not in test_groups]
    dropped["train"]["in_test"] = len(train) - len(outside)
    _require_both_classes(name, "train", outside)
    train = _balanced(outside, MAX_MAJORITY, dropped["train"])

    splits = {**_split_train(name, train, data, seed), "test": _sample_test(name, test, data, seed)}
    metrics: dict[str, Any] = {}
    for split, usable in (("train", train), ("test", test)):
        metrics[f"{split}_raw"] = len(raw[split])
        metrics |= {f"{split}_dropped_{reason}": n for reason, n in dropped[split].items()}
        metrics[f"{split}_usable"] = len(usable)
    for done, (split, table) in enumerate(splits.items(), start=1):
        _write(table.rows, out / f"{split}.parquet")
        metrics[f"{split}_rows"] = len(table.rows)
        metrics[f"{split}_positive"] = sum(row.gt_label for row in table.rows)
        metrics[f"{split}_groups"] = len({row.group for row in table.rows})
        watch.progress(done, len(splits), "tables")
    return metrics


def _examples(
    params: Mapping[str, Any], dataset: Dataset, raw: Iterable[RawRow], split: str, dropped: Counter[str]
) -> list[Row]:
    """The examples of all raw rows that are short enough, each once; both classes are among them."""
    name, seed, max_chars = params["dataset"], params["data_seed"], params["data"]["max_chars"]
    rows: dict[str, Row] = {}
    for number, raw_row in enumerate(raw, start=1):
        content = stable_hash(name, raw_row)
        examples = dataset.format(raw_row, functools.partial(_draw, seed, content))
        # All or none: a question keeps as many right answers as wrong ones.
        if any(len(example.passage) + len(example.prompt) > max_chars for example in examples):
            dropped["too_long"] += len(examples)
            continue
        for example in examples:
            if example.gt_label not in (0, 1):
                raise DataError(
                    f"{name}: row {number} of the {split} file has the label {example.gt_label}; "
                    "labels are 0 and 1 (a split with hidden labels cannot be used)"
                )
            id = stable_hash(content, example.candidate)
            if id in rows:
                dropped["duplicate"] += 1
                continue
            rows[id] = Row(
                id=id,
                group=stable_hash(name, " ".join(example.group.casefold().split())),
                passage=example.passage,
                prompt=example.prompt,
                gt_label=example.gt_label,
                rank=stable_hash("row", seed, id),
            )
    _require_both_classes(name, split, rows.values())
    return list(rows.values())


def _draw(seed: int, content: str, n: int) -> int:
    return stable_int("draw", seed, content) % n


def _require_both_classes(name: str, split: str, rows: Iterable[Row]) -> None:
    counts = Counter(row.gt_label for row in rows)
    if len(counts) < 2:
        found = f"all {counts.total()} have the label {min(counts)}" if counts else "there is none"
        raise DataError(f"{name}: usable {split} rows must have both labels, 0 and 1, but {found}")


def _balanced(rows: list[Row], max_majority: float, dropped: Counter[str]) -> list[Row]:
    kept = balanced(rows, max_majority)
    dropped["unbalanced"] = len(rows) - len(kept)
    return kept


def _split_train(name: str, rows: list[Row], data: Mapping[str, Any], seed: int) -> dict[str, Split]:
    n_weak = round(data["n_train"] * data["weak_fraction"])
    sizes = {
        "weak_train": n_weak,
        "transfer_train": data["n_train"] - n_weak,
        "validation": data["n_validation"],
    }
    asked = sum(sizes.values())
    if data["allow_fewer"] and len(rows) < asked:
        sizes = {split: n * len(rows) // asked for split, n in sizes.items()}
    splits = sample_balanced(rows, sizes, seed)
    available = sum(len(split.rows) for split in splits.values())
    if available < asked and not data["allow_fewer"]:
        raise DataError(
            f"data.n_train: {data['n_train']} rows and {data['n_validation']} for validation asked of {name}, "
            f"which has {available} usable ones in all; ask for fewer or set data.allow_fewer = true"
        )
    for split, table in splits.items():
        _require_both_classes(name, split, table.rows)
    return splits


def _sample_test(name: str, rows: list[Row], data: Mapping[str, Any], seed: int) -> Split:
    n = data["n_test"]
    if len(rows) < n and not data["allow_fewer"]:
        raise DataError(
            f"data.n_test: {n} rows asked of {name}, which has {len(rows)} usable ones; "
            "ask for fewer or set data.allow_fewer = true"
        )
    if data["balance_test"]:
        return sample_balanced(rows, {"test": min(n, len(rows))}, seed)["test"]
    return sample_any(rows, min(n, len(rows)), seed)


def _write(rows: list[Row], path: Path) -> None:
    ordered = sorted(rows, key=lambda row: row.rank)
    columns = {name: [row[i] for row in ordered] for i, name in enumerate(SCHEMA.names)}
    pq.write_table(pa.table(columns, schema=SCHEMA), path, compression="zstd")
