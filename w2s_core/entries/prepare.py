"""The stage ``prepare``: raw rows to the tables of examples that every model of a grid shares.

How a row becomes examples is in ``datasets`` and ``nlp``, where rows come from in ``sources``, and which of them go
into which split in ``sampling``.
"""

from __future__ import annotations

import functools
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from w2s_core.data.datasets import DATASETS, Dataset, RawRow
from w2s_core.data.labels import mapping_notes
from w2s_core.data.sampling import Pool, Row, Split, balanced, joined, sample_any, sample_balanced
from w2s_core.data.sources import SOURCES
from w2s_core.errors import DataError
from w2s_core.hashes import stable_hash, stable_int
from w2s_core.settings.setting import VIEWS, View
from w2s_core.stages import part_names
from w2s_core.watch import Watch

MAX_MAJORITY = 0.55
"""Share of the larger of two classes among training rows above which they are balanced (Burns et al. 2023). More
classes stay as frequent as they are there."""

LEAST_ROWS = 2
"""Of every split, one of either class, or of two of many."""
LEAST_KEPT = 100_000
KEPT_PER_ROW_ASKED = 4
"""Of a larger raw split this many examples are kept to choose from; the rest would only take memory."""

REASONS = ("unasked", "too_long", "in_test", "surplus", "duplicate", "unbalanced")
"""Why a raw row gives nothing (``unasked``: no question of it can be asked), or an example is dropped: over the limit,
like a test row, of too many, there already, of the larger class."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A dataset's rows after sampling, with what became of the others. Splits are the outputs of ``prepare``."""

    splits: dict[str, list[Row]]
    usable: dict[str, list[Row]]
    """Raw split to the rows that were left to choose from."""
    n_raw: dict[str, int]
    """Raw split to its number of rows."""
    dropped: dict[str, Counter[str]]
    """Raw split to how many examples were dropped for which reason, each for the first of ``REASONS`` that holds."""
    notes: list[str]
    """What is to be said of the labels: classes that the source numbers otherwise."""
    n_classes: int = 2


def prepare(params: Mapping[str, Any], inputs: Mapping[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Format, filter, balance and split one dataset.

    Args:
        params: ``setting``, ``n_classes``, ``dataset``, ``source``, ``data_seed`` and ``data`` (a
            ``DataConfig`` with ``max_chars`` set).
        inputs: for a folder, the raw files of each split: ``train`` and ``test``, or shards such as ``train-0``.
        out: gets ``weak_train``, ``transfer_train``, ``validation`` and ``test``, as Parquet; for ``n_parts`` above 1
            also ``part.1`` and so on, the parts of the student's half before its last.
        watch: hears of every table written.

    Returns:
        Per raw split its rows, how many examples were dropped for which reason, and how many were left to choose
        from; per output its rows, positive ones (or how many classes) and groups.

    Raises:
        DataError: rows that do not fit the dataset, one class only, or too few rows.
    """
    collected = collect(params, inputs)
    for note in collected.notes:
        logging.getLogger(__name__).warning("%s: %s", params["dataset"], note)
    metrics: dict[str, Any] = {}
    for split, usable in collected.usable.items():
        metrics[f"{split}_raw"] = collected.n_raw[split]
        metrics |= {f"{split}_dropped_{reason}": n for reason, n in collected.dropped[split].items()}
        metrics[f"{split}_usable"] = len(usable)
    for done, (split, rows) in enumerate(collected.splits.items(), start=1):
        _write(rows, VIEWS.get(params["setting"]), out / f"{split}.parquet", collected.n_classes)
        metrics[f"{split}_rows"] = len(rows)
        metrics |= {f"{split}_{name}": n for name, n in of_classes(rows, collected.n_classes).items()}
        metrics[f"{split}_groups"] = len({row.group for row in rows})
        watch.progress(done, len(collected.splits), "tables")
    return metrics


def collect(params: Mapping[str, Any], inputs: Mapping[str, Path]) -> Collected:
    """Everything of ``prepare`` but writing; same arguments, same errors."""
    name, seed, data = params["dataset"], params["data_seed"], params["data"]
    dataset, view = DATASETS.get(name), VIEWS.get(params["setting"])
    n_classes = params.get("n_classes", view.n_classes)
    told: list[tuple[str, str, str]] = []
    raw = SOURCES.get(params["source"]["kind"])(params, inputs, dataset.columns, lambda *mapped: told.append(mapped))
    asked = {"train": data["n_train"] + data["n_validation"], "test": data["n_test"]}
    dropped = {split: Counter(dict.fromkeys(REASONS, 0)) for split in asked}
    pools = {split: Pool(seed, max(LEAST_KEPT, KEPT_PER_ROW_ASKED * n), dropped[split]) for split, n in asked.items()}
    n_raw = dict.fromkeys(asked, 0)

    def rows_of(split: str) -> Iterator[Row]:
        for position, raw_row in enumerate(raw[split], start=1):
            n_raw[split] = position
            yield from _examples(params, dataset, view, raw_row, split, position, dropped[split])

    # Whatever the test file holds, kept or not, sampled or not: n_test must not decide what is trained on.
    test_groups = set()
    for row in rows_of("test"):
        test_groups.update((row.group, row.also))
        pools["test"].add(row)
    test = joined(pools["test"].close())
    _require_usable(name, "test", test, n_raw["test"], dropped["test"], n_classes)
    for row in rows_of("train"):
        if row.group in test_groups or (row.also and row.also in test_groups):
            dropped["train"]["in_test"] += 1
        else:
            pools["train"].add(row)
    train = joined(pools["train"].close())
    _require_usable(name, "train", train, n_raw["train"], dropped["train"], n_classes)

    if n_classes == 2:
        train = _balanced(train, MAX_MAJORITY, dropped["train"])
    if n_classes > 1 and data["balance_test"]:
        test = _balanced(test, 1 / n_classes, dropped["test"])
    splits = {
        **_split_train(name, train, data, seed, n_classes),
        "test": _sample_test(name, test, data, seed, n_classes),
    }
    return Collected(
        splits={split: table.rows for split, table in splits.items()},
        usable={"train": train, "test": test},
        n_raw=n_raw,
        dropped=dropped,
        notes=mapping_notes(told),
        n_classes=n_classes,
    )


def _examples(
    params: Mapping[str, Any],
    dataset: Dataset,
    view: View,
    raw_row: RawRow,
    split: str,
    position: int,
    dropped: Counter[str],
) -> Iterator[Row]:
    """The examples of one raw row, with their identity; none if one of them is too long."""
    name, seed, max_chars = params["dataset"], params["data_seed"], params["data"]["max_chars"]
    content = stable_hash(name, raw_row)
    where = f"{name}: row {position} of the {split} rows"
    try:
        examples = dataset.format(raw_row, functools.partial(_draw, seed, content))
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    dropped["unasked"] += not examples
    # All or none: a question keeps as many right answers as wrong ones.
    shown = shown_by_column(view, [example.shown for example in examples])
    if any(length > max_chars for length in view.lengths(shown)):
        dropped["too_long"] += len(examples)
        return
    for example in examples:
        n_classes = params.get("n_classes", view.n_classes)
        if not 0 <= example.gt_label < n_classes:
            raise DataError(
                f"{where} has the label {example.gt_label}; "
                f"labels are {_named(n_classes)} (a split with hidden labels cannot be used)"
            )
        id = stable_hash(content, example.candidate)
        yield Row(
            id=id,
            group=_group(name, example.group),
            shown=example.shown,
            gt_label=example.gt_label,
            rank=stable_hash("row", seed, id),
            position=position,
            candidate=example.candidate,
            also=example.also and _group(name, example.also),
        )


def _group(name: str, text: str) -> str:
    """Case, space and punctuation make no difference."""
    return stable_hash(name, re.sub(r"[\W_]+", " ", text.casefold()).strip() or text)


def _draw(seed: int, content: str, n: int) -> int:
    return stable_int("draw", seed, content) % n


def _named(n_classes: int) -> str:
    return "0 and 1" if n_classes <= 2 else f"0 to {n_classes - 1}"


def of_classes(rows: Sequence[Row], n_classes: int) -> dict[str, int]:
    """How many rows are of class 1; of more than two classes, how many classes there are among them."""
    if n_classes <= 2:
        return {"positive": sum(row.gt_label for row in rows)}
    return {"classes": len({row.gt_label for row in rows})}


def _wanted(n_classes: int) -> str:
    """The labels of which there have to be rows, where there are classes."""
    return "both labels, 0 and 1" if n_classes == 2 else f"several labels of {_named(n_classes)}"


def _require_usable(
    name: str, split: str, rows: list[Row], n_raw: int, dropped: Mapping[str, int], n_classes: int
) -> None:
    if not rows:
        why = ", ".join(f"{reason.replace('_', ' ')} {n}" for reason, n in dropped.items() if n)
        found = f"all were dropped ({why})" if n_raw else "there is no row"
        of_both = f" of {_wanted(n_classes)}" if n_classes > 1 else ""
        raise DataError(f"{name}: there must be {split} rows{of_both}, but {found}")
    _require_classes(name, split, rows, n_classes)


def _require_classes(name: str, split: str, rows: Iterable[Row], n_classes: int) -> None:
    counts = Counter(row.gt_label for row in rows)
    if len(counts) < min(n_classes, 2):
        found = f"all {counts.total()} have the label {min(counts)}" if counts else "there is none"
        raise DataError(f"{name}: usable {split} rows must have {_wanted(n_classes)}, but {found}")


def _balanced(rows: list[Row], max_majority: float, dropped: Counter[str]) -> list[Row]:
    kept = balanced(rows, max_majority)
    dropped["unbalanced"] = len(rows) - len(kept)
    return kept


def _split_train(name: str, rows: list[Row], data: Mapping[str, Any], seed: int, n_classes: int) -> dict[str, Split]:
    n_weak, n_parts = round(data["n_train"] * data["weak_fraction"]), data["n_parts"]
    n_student = data["n_train"] - n_weak
    # Of equal size: what a division leaves is used nowhere.
    n_part = n_student // n_parts
    if n_parts > 1 and n_part < LEAST_ROWS:
        raise DataError(
            f"data.n_parts: the student's half has {n_student} rows, and {n_parts} parts need at least {LEAST_ROWS} "
            "each; ask for fewer parts, or raise data.n_train"
        )
    sizes = {
        "weak_train": n_weak,
        **dict.fromkeys(part_names(n_parts), n_part),
        "transfer_train": n_part,
        "validation": data["n_validation"],
    }
    asked = sum(sizes.values())
    if len(rows) < LEAST_ROWS * len(sizes):
        raise DataError(
            f"{name}: {len(rows)} usable train rows are left; {', '.join(sizes)} need at least {LEAST_ROWS} each"
        )
    if data["allow_fewer"] and len(rows) < asked:
        sizes = _shrunk(sizes, len(rows))
    splits = sample_balanced(rows, sizes, seed, n_classes)
    available = sum(len(split.rows) for split in splits.values())
    if available < asked and not data["allow_fewer"]:
        raise DataError(
            f"data.n_train: {data['n_train']} rows and {data['n_validation']} for validation asked of {name}, "
            f"which has {available} usable ones in all; ask for fewer or set data.allow_fewer = true"
        )
    for split, table in splits.items():
        if data["allow_fewer"] and n_classes == 2:
            # Where large groups are all that is left, classes could not be chosen.
            table.rows = balanced(table.rows, MAX_MAJORITY)
        _require_classes(name, split, table.rows, n_classes)
    return splits


def _shrunk(sizes: Mapping[str, int], n_rows: int) -> dict[str, int]:
    """Sizes in the same proportion for which ``n_rows`` suffice, none so small that it cannot have both classes."""
    shrunk = {split: n * n_rows // sum(sizes.values()) for split, n in sizes.items()}
    for split, n in shrunk.items():
        missing = max(0, LEAST_ROWS - n)
        shrunk[max(shrunk, key=lambda name: shrunk[name])] -= missing
        shrunk[split] += missing
    return shrunk


def _sample_test(name: str, rows: list[Row], data: Mapping[str, Any], seed: int, n_classes: int) -> Split:
    n = data["n_test"]
    if len(rows) < n and not data["allow_fewer"]:
        raise DataError(
            f"data.n_test: {n} rows asked of {name}, which has {len(rows)} usable ones; "
            "ask for fewer or set data.allow_fewer = true"
        )
    if data["balance_test"]:
        return sample_balanced(rows, {"test": min(n, len(rows))}, seed, n_classes)["test"]
    return sample_any(rows, min(n, len(rows)), seed, n_classes)


def shown_by_column(view: View, shown: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """What examples show, by column; the values of each are in the order of ``view.shows``."""
    return {name: [values[i] for values in shown] for i, name in enumerate(view.shows)}


def _write(rows: list[Row], view: View, path: Path, n_classes: int) -> None:
    ordered = sorted(rows, key=lambda row: row.rank)
    columns = {
        "id": pa.array([row.id for row in ordered], pa.string()),
        "group": pa.array([row.group for row in ordered], pa.string()),
        **{
            name: pa.array(values, view.shows[name])
            for name, values in shown_by_column(view, [row.shown for row in ordered]).items()
        },
        "gt_label": pa.array([row.gt_label for row in ordered], pa.int8() if n_classes <= 128 else pa.int16()),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")
