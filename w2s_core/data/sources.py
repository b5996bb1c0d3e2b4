"""Where raw rows come from: a folder of files or the generated world; the Hugging Face Hub is in ``hub``.

Which files a folder holds is in ``layouts``, how one is read in ``formats``. Nothing here knows a dataset but by the
columns that are wanted of it, and rows come one by one, so that a large file is never in memory whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import GenericAlias
from typing import Any, get_args

from w2s_core.config import WorldConfig
from w2s_core.data.class_folders import read_class_folders
from w2s_core.data.datasets import EncodedImage, Kind, Label, RawRow
from w2s_core.data.formats import kind_of, metadata_of, open_rows
from w2s_core.data.labels import Tell, class_names, converters, mapping_notes
from w2s_core.data.layouts import SPLITS
from w2s_core.errors import DataError
from w2s_core.registry import Registry

Columns = Mapping[str, Kind]
Classes = Mapping[str, Sequence[str]]
"""Column to what the source calls its classes, from 0 on."""
TellSplit = Callable[[str, str, str], None]
"""``tell(split, column, how)``: hears, when rows are read, of a label column whose classes are mapped."""
Source = Callable[[Mapping[str, Any], Mapping[str, Path], Columns, TellSplit], dict[str, Iterator[RawRow]]]
"""``source(params, inputs, columns, tell)``: the parameters and inputs of ``prepare`` and the columns that are wanted
to the raw rows of ``"train"`` and ``"test"``, to be read once."""

SOURCES: Registry[Source] = Registry(
    "source", param="source.kind", modules=("w2s_core.data.sources", "w2s_core.data.hub")
)


def nobody(*told: str) -> None:
    """Hears nothing."""


@SOURCES.register("folder")
def read_folder(
    params: Mapping[str, Any], inputs: Mapping[str, Path], columns: Columns, tell: TellSplit = nobody
) -> dict[str, Iterator[RawRow]]:
    """The rows of files, one or several for each split, named as ``layouts.folder_files`` does.

    Raises:
        DataError: on reading, a file that cannot be read, a column that is missing, a value of another kind.
    """
    classes = params["source"].get("classes", {})
    return {
        split: _read_files(files, columns, classes, partial(tell, split)) for split, files in _by_split(inputs).items()
    }


def mapped_labels(params: Mapping[str, Any], inputs: Mapping[str, Path], columns: Columns) -> list[str]:
    """What will be said of a folder's labels when it is read, from what describes the files alone."""
    told: list[tuple[str, str, str]] = []
    for split, files in _by_split(inputs).items():
        for path in files:
            with contextlib.suppress(Exception):  # whatever it is, reading says it
                classes = {**params["source"].get("classes", {}), **class_names(metadata_of(path), str(path))}
                converters(columns, classes, str(path), lambda column, how, of=split: told.append((of, column, how)))
    return mapping_notes(told)


def _by_split(inputs: Mapping[str, Path]) -> dict[str, list[Path]]:
    """The files of each split, in order; an input that is none of them is left out."""
    return {
        split: [path for name, path in sorted(inputs.items()) if name == split or name.startswith(f"{split}-")]
        for split in SPLITS
    }


def _read_files(paths: Sequence[Path], columns: Columns, classes: Classes, tell: Tell) -> Iterator[RawRow]:
    for path in paths:
        try:
            yield from _read_file(path, columns, classes, tell)
        except DataError:
            raise
        except Exception as error:  # whatever a parser makes of damaged bytes, of which there are many kinds
            raise DataError(f"{path}: not a readable {kind_of(path)} file ({first_line(error)})") from None


def _read_file(path: Path, columns: Columns, classes: Classes, tell: Tell) -> Iterator[RawRow]:
    if path.is_dir():
        return checked(read_class_folders(path, columns), columns, str(path), classes, tell)
    opened = open_rows(path, list(columns))
    if opened.names is not None:
        require_columns(opened.names, columns, str(path))
    return checked(opened.rows, columns, str(path), {**classes, **class_names(opened.metadata, str(path))}, tell)


def require_columns(there: Sequence[str], columns: Columns, where: str) -> None:
    """Refuse rows that lack a column.

    Raises:
        DataError: one of ``columns`` is not ``there``.
    """
    for name in columns:
        if name not in there:
            raise DataError(f"{where}: no column {name!r}; there are {', '.join(there) or 'none'}")


def checked(
    rows: Iterable[RawRow], columns: Columns, where: str, names: Classes, tell: Tell = nobody
) -> Iterator[RawRow]:
    """The wanted columns of ``rows``, labels converted, each row checked as it comes.

    Args:
        rows: of one file or split.
        columns: those that are wanted.
        where: what they are of, for messages.
        names: what the source itself calls the classes of a column, from 0 on.
        tell: hears of classes that are mapped.

    Raises:
        DataError: a column is missing, a value has not the kind of its column, or classes have other names.
    """
    convert = converters(columns, names, where, tell)
    convert |= {name: _file_of for name, kind in columns.items() if isinstance(kind, EncodedImage)}
    for number, row in enumerate(rows, start=1):
        if not row.keys() >= columns.keys():
            require_columns(list(row), columns, where if number == 1 else f"{where}, row {number}")
        values = {name: convert[name](row[name]) if name in convert else row[name] for name in columns}
        for name, kind in columns.items():
            if not fits(values[name], kind):
                raise DataError(
                    f"{where}: column {name!r} must hold {_in_words(kind)}, "
                    f"but row {number} has {_shortened(row[name])}"
                )
        yield values


def _file_of(value: Any) -> Any:
    """The bytes of an image, where a struct has them."""
    return value.get("bytes") if isinstance(value, Mapping) else value


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
    if isinstance(kind, EncodedImage):
        return type(value) is bytes
    if isinstance(kind, Label):
        kind = kind.kind
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
    if isinstance(kind, EncodedImage):
        return "files of images, as bytes"
    if isinstance(kind, Label):
        names = ", ".join(f"{i} = {names[0]}" for i, names in enumerate(kind.names))
        return _in_words(kind.kind) + (f" ({names})" if names else "")
    return {str: "text", int: "whole numbers", bool: "true or false"}[kind]


def _shortened(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits, or deeper, than Python prints
        return "one that cannot be printed"
    return text if len(text) <= 40 else text[:37] + "..."


def first_line(error: Exception) -> str:
    """What an error says, short enough for a line of ours."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@SOURCES.register("offline")
def generate(
    params: Mapping[str, Any], inputs: Mapping[str, Path], columns: Columns, tell: TellSplit = nobody
) -> dict[str, Iterator[RawRow]]:
    """Rows of the generated world, somewhat more than the grid asks for."""
    from w2s_core.offline.rows import raw_rows

    data = params["data"]
    wanted = {"train": data["n_train"] + data["n_validation"], "test": data["n_test"]}
    world = WorldConfig(**params["source"]["world"])
    return {split: iter(raw_rows(world, params["dataset"], split, n + n // 4 + 50)) for split, n in wanted.items()}
