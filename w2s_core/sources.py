"""Where raw rows come from: a folder of files, the Hugging Face Hub, or the generated world.

Also what planning asks of the first two: which files a folder holds, and which commit a Hub revision is. Nothing here
knows a dataset but by the columns that are wanted of it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from w2s_core.config import WorldConfig
from w2s_core.datasets import RawRow
from w2s_core.errors import DataError
from w2s_core.registry import Registry

SPLITS = ("train", "test")
SUFFIXES = (".parquet", ".jsonl")

Columns = Mapping[str, type]
Source = Callable[[Mapping[str, Any], Mapping[str, Path], Columns], dict[str, list[RawRow]]]
"""``source(params, inputs, columns)``: the parameters and inputs of ``prepare`` and the columns that are wanted
to the raw rows of ``"train"`` and ``"test"``."""

SOURCES: Registry[Source] = Registry("source", param="source.kind", modules=("w2s_core.sources",))


@SOURCES.register("folder")
def read_folder(params: Mapping[str, Any], inputs: Mapping[str, Path], columns: Columns) -> dict[str, list[RawRow]]:
    """The rows of one Parquet or JSON Lines file per split.

    Raises:
        DataError: a file that cannot be read, a column that is missing, a value of another type.
    """
    return {split: _read_file(inputs[split], columns) for split in SPLITS}


def _read_file(path: Path, columns: Columns) -> list[RawRow]:
    rows = _read_parquet(path, columns) if path.suffix == ".parquet" else _read_jsonl(path, columns)
    return _typed(rows, columns, str(path))


def _read_parquet(path: Path, columns: Columns) -> list[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        there = pq.read_schema(path).names
        _require_columns(there, columns, str(path))
        return pq.read_table(path, columns=list(columns)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({_first_line(error)})") from None


def _read_jsonl(path: Path, columns: Columns) -> list[RawRow]:
    rows = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{path}, line {number}: not a JSON object")
                _require_columns(list(row), columns, f"{path}, line {number}")
                rows.append({name: row[name] for name in columns})
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: not valid JSON ({error.msg})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable JSON Lines file ({_first_line(error)})") from None
    return rows


def _require_columns(there: list[str], columns: Columns, where: str) -> None:
    for name in columns:
        if name not in there:
            raise DataError(f"{where}: no column {name!r}; there are {', '.join(there) or 'none'}")


def _typed(rows: Iterable[RawRow], columns: Columns, where: str) -> list[RawRow]:
    """``rows`` as a list, each value checked."""
    checked = list(rows)
    for number, row in enumerate(checked, start=1):
        for name, kind in columns.items():
            # Not isinstance: True is an int, and is no class label.
            if type(row[name]) is not kind or (kind is str and not _is_text(row[name])):
                raise DataError(
                    f"{where}: column {name!r} must hold {kind.__name__} values, "
                    f"but row {number} has {_shortened(row[name])}"
                )
    return checked


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8; JSON can hold half a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


@SOURCES.register("hub")
def load_hub(params: Mapping[str, Any], inputs: Mapping[str, Path], columns: Columns) -> dict[str, list[RawRow]]:
    """The rows of a Hub dataset at one commit.

    Raises:
        DataError: the dataset cannot be had, or lacks a column.
    """
    import datasets

    source = params["source"]
    rows = {}
    for split in SPLITS:
        where = f"{source['id']} on the Hub, split {source['splits'][split]}"
        try:
            table = datasets.load_dataset(
                source["id"],
                source["config"],
                revision=source["revision"],
                split=source["splits"][split],
            )
        except Exception as error:  # whatever it is, a folder is the way out
            _refuse_hub(source["id"], "dataset", error)
        _require_columns(table.column_names, columns, where)
        rows[split] = _typed(table.select_columns(list(columns)).to_list(), columns, where)
    return rows


@SOURCES.register("offline")
def generate(params: Mapping[str, Any], inputs: Mapping[str, Path], columns: Columns) -> dict[str, list[RawRow]]:
    """Rows of the generated world, somewhat more than the grid asks for."""
    from w2s_core.offline import raw_rows

    data = params["data"]
    wanted = {"train": data["n_train"] + data["n_validation"], "test": data["n_test"]}
    world = WorldConfig(**params["source"]["world"])
    return {split: raw_rows(world, params["dataset"], split, n + n // 4 + 50) for split, n in wanted.items()}


def folder_files(folder: Path, dataset: str) -> dict[str, Path]:
    """The files of one dataset in a folder that holds ``<dataset>/{train,test}.{parquet,jsonl}``.

    Raises:
        DataError: the folder, the dataset or a split is missing, or a split is there twice.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; give one that holds {dataset}/train.parquet")
    place = folder / dataset
    if not place.is_dir():
        there = sorted(path.name for path in folder.iterdir() if path.is_dir())
        near = difflib.get_close_matches(dataset, there, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {_listed(there)}"
        raise DataError(f"{folder} has no folder {dataset!r}; {hint}")
    files = {}
    for split in SPLITS:
        found = [place / f"{split}{suffix}" for suffix in SUFFIXES]
        found = [path for path in found if path.is_file()]
        if len(found) != 1:
            there = _listed(sorted(path.name for path in place.iterdir()))
            raise DataError(
                f"{place} must hold one of {split}.parquet and {split}.jsonl, not "
                f"{'both' if found else 'neither'}; there are {there}"
            )
        files[split] = found[0].absolute()
    return files


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12]) or "none"
    return f"{shown}, and {len(names) - 12} more" if len(names) > 12 else shown


COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve_hub(id: str, revision: str, kind: str) -> str:
    """The commit that a revision of a Hub repository stands for now.

    Args:
        id: the repository.
        revision: a branch, tag or commit; a whole commit is returned as it is.
        kind: ``"dataset"`` or ``"model"``.

    Raises:
        DataError: the Hub cannot be reached, or has no such revision.
    """
    if COMMIT.fullmatch(revision):
        return revision
    import huggingface_hub

    try:
        return huggingface_hub.HfApi().repo_info(id, revision=revision, repo_type=kind).sha
    except Exception as error:  # whatever it is, a folder is the way out
        _refuse_hub(id, kind, error)


def _refuse_hub(id: str, kind: str, error: Exception) -> NoReturn:
    instead = {
        "dataset": "set source to a folder that holds <dataset>/train.parquet and test.parquet",
        "model": "give the path of a local folder instead of a Hub id",
    }[kind]
    raise DataError(
        f"cannot get {kind} {id} from the Hub ({type(error).__name__}: {_first_line(error)}); {instead}"
    ) from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
