"""Where raw rows come from: a folder of files or the generated world; the Hugging Face Hub is in ``hub``.

Also what planning asks of a folder: which files it holds. Nothing here knows a dataset but by the columns that are
wanted of it, and rows come one by one, so that a large file is never in memory whole.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import GenericAlias
from typing import Any, get_args

from w2s_core.config import WorldConfig
from w2s_core.datasets import Kind, RawRow
from w2s_core.errors import DataError
from w2s_core.registry import Registry

SPLITS = ("train", "test")
SUFFIXES = (".parquet", ".jsonl")

Columns = Mapping[str, Kind]
Source = Callable[[Mapping[str, Any], Mapping[str, Path], Columns], dict[str, Iterator[RawRow]]]
"""``source(params, inputs, columns)``: the parameters and inputs of ``prepare`` and the columns that are wanted
to the raw rows of ``"train"`` and ``"test"``, to be read once."""

SOURCES: Registry[Source] = Registry("source", param="source.kind", modules=("w2s_core.sources", "w2s_core.hub"))


@SOURCES.register("folder")
def read_folder(params: Mapping[str, Any], inputs: Mapping[str, Path], columns: Columns) -> dict[str, Iterator[RawRow]]:
    """The rows of Parquet or JSON Lines files, one or several for each split, named as ``folder_files`` does.

    Raises:
        DataError: on reading, a file that cannot be read, a column that is missing, a value of another kind.
    """
    return {
        split: _read_files([path for name, path in sorted(inputs.items()) if _is_of(name, split)], columns)
        for split in SPLITS
    }


def _is_of(name: str, split: str) -> bool:
    return name == split or name.startswith(f"{split}-")


def _read_files(paths: Sequence[Path], columns: Columns) -> Iterator[RawRow]:
    for path in paths:
        rows = _read_parquet(path, columns) if path.suffix == ".parquet" else _read_jsonl(path, columns)
        yield from checked(rows, columns, str(path))


def _read_parquet(path: Path, columns: Columns) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            require_columns(file.schema_arrow.names, columns, str(path))
            for batch in file.iter_batches(batch_size=10_000, columns=list(columns)):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({first_line(error)})") from None


def _read_jsonl(path: Path, columns: Columns) -> Iterator[RawRow]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{path}, line {number}: not a JSON object")
                require_columns(list(row), columns, f"{path}, line {number}")
                yield {name: row[name] for name in columns}
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: not valid JSON ({error.msg})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable JSON Lines file ({first_line(error)})") from None


def require_columns(there: Sequence[str], columns: Columns, where: str) -> None:
    """Refuse rows that lack a column.

    Raises:
        DataError: one of ``columns`` is not ``there``.
    """
    for name in columns:
        if name not in there:
            raise DataError(f"{where}: no column {name!r}; there are {', '.join(there) or 'none'}")


def checked(rows: Iterable[RawRow], columns: Columns, where: str) -> Iterator[RawRow]:
    """``rows``, each checked as it comes.

    Raises:
        DataError: a value has not the kind of its column.
    """
    for number, row in enumerate(rows, start=1):
        for name, kind in columns.items():
            if not fits(row[name], kind):
                raise DataError(
                    f"{where}: column {name!r} must hold {_in_words(kind)}, "
                    f"but row {number} has {_shortened(row[name])}"
                )
        yield row


def fits(value: Any, kind: Kind) -> bool:
    """Whether a value has the kind of its column, down to the items of a list and the fields of a struct."""
    if isinstance(kind, Mapping):
        return (
            isinstance(value, Mapping)
            and value.keys() == kind.keys()
            and all(fits(value[name], of_field) for name, of_field in kind.items())
        )
    if isinstance(kind, GenericAlias):
        (of_items,) = get_args(kind)
        return type(value) is list and all(fits(item, of_items) for item in value)
    # Not isinstance: True is an int, and is no class label.
    return type(value) is kind and (kind is not str or _is_text(value))


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8; JSON can hold half a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_words(kind: Kind) -> str:
    if isinstance(kind, Mapping):
        return "{" + ", ".join(f"{name}: {_in_words(of_field)}" for name, of_field in kind.items()) + "}"
    if isinstance(kind, GenericAlias):
        return f"list of {_in_words(get_args(kind)[0])}"
    return {str: "text", int: "whole numbers", bool: "true or false"}[kind]


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def first_line(error: Exception) -> str:
    """What an error says, short enough for a line of ours."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@SOURCES.register("offline")
def generate(params: Mapping[str, Any], inputs: Mapping[str, Path], columns: Columns) -> dict[str, Iterator[RawRow]]:
    """Rows of the generated world, somewhat more than the grid asks for."""
    from w2s_core.offline.rows import raw_rows

    data = params["data"]
    wanted = {"train": data["n_train"] + data["n_validation"], "test": data["n_test"]}
    world = WorldConfig(**params["source"]["world"])
    return {split: iter(raw_rows(world, params["dataset"], split, n + n // 4 + 50)) for split, n in wanted.items()}


def folder_files(folder: Path, dataset: str) -> dict[str, Path]:
    """The files of one dataset in a folder, by the names that they have as inputs of ``prepare``.

    A split is one file, ``<dataset>/train.parquet`` or ``train.jsonl``, or shards of one kind, such as
    ``train-00000-of-00002.parquet``; the name of an input is that of its file without the suffix.

    Raises:
        DataError: the folder, the dataset, a split or a numbered shard is missing, or a split is there twice.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; give one that holds {dataset}/train.parquet")
    place = folder / dataset
    if not place.is_dir():
        if any(_is_of(path.stem, "train") and path.suffix in SUFFIXES for path in folder.iterdir()):
            instead = "give the folder above it" if folder.resolve().name == dataset else f"move them to {place}"
            raise DataError(f"{folder} holds files, where it must hold a folder {dataset!r} with them; {instead}")
        there = sorted(path.name for path in folder.iterdir() if path.is_dir())
        near = difflib.get_close_matches(dataset, there, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {_listed(there)}"
        raise DataError(f"{folder} has no folder {dataset!r}; {hint}")
    there = sorted(path for path in place.iterdir() if path.is_file())
    files = {}
    for split in SPLITS:
        found = [path for path in there if path.suffix in SUFFIXES and _is_of(path.stem, split)]
        if not found:
            raise DataError(
                f"{place} must hold one of {split}.parquet and {split}.jsonl, or shards such as "
                f"{split}-00000-of-00002.parquet; there are {_listed([path.name for path in there])}"
            )
        is_sharded = all(path.stem != split for path in found)
        if len(found) > 1 and not (is_sharded and len({path.suffix for path in found}) == 1):
            raise DataError(
                f"{place} must hold one {split} file or shards of one kind, not both or a mixture; "
                f"there are {_listed([path.name for path in found])}"
            )
        _require_all_shards(place, split, found)
        files |= {path.stem: path.absolute() for path in found}
    return files


def _require_all_shards(place: Path, split: str, found: list[Path]) -> None:
    """Refuse files that say that there must be more of them."""
    numbered = [match for path in found if (match := re.match(rf"{split}-(\d+)-of-(\d+)", path.stem))]
    numbers = sorted(int(match[1]) for match in numbered)
    totals = {int(match[2]) for match in numbered}
    if numbered and (len(totals) > 1 or numbers != list(range(max(totals)))):
        missing = set(range(max(totals))) - set(numbers)
        raise DataError(
            f"{place} must hold each numbered {split} shard once, "
            + (f"but of {max(totals)} number {min(missing)} is missing" if missing else "but some are there twice")
            + f"; there are {_listed([path.name for path in found])}"
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12]) or "none"
    return f"{shown}, and {len(names) - 12} more" if len(names) > 12 else shown
