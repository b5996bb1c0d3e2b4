"""Reads files of rows: Parquet, Arrow, JSON Lines and CSV, some of them compressed, a few rows at a time.

What the rows must hold is checked in ``sources``; which files belong to a dataset is found in ``layouts``.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from w2s_core.errors import DataError

COMPRESSIONS: Mapping[str, Callable[[Path], Any]] = {
    "": lambda path: path.open("rb"),
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path: _zstd(path),
}
"""Suffix to what opens such a file."""

KINDS = {
    ".parquet": "Parquet",
    ".arrow": "Arrow",
    ".jsonl": "JSON Lines",
    ".json": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".csv": "CSV",
    ".tsv": "TSV",
}
"""Suffix to the kind of file."""

ROWS_AT_A_TIME = 1_000
READ_BYTES = 1 << 20
LONGEST_FIELD = 1 << 24
"""Characters of one field of a CSV file."""


class FileName(NamedTuple):
    """The parts of the name of a file of rows."""

    stem: str
    suffix: str
    compression: str


class Opened(NamedTuple):
    """The rows of a file, and what its schema says."""

    names: list[str] | None
    """Columns; None where every row says for itself."""
    metadata: Mapping[bytes, bytes] | None
    rows: Iterator[Mapping[str, Any]]


def file_name(path: Path) -> FileName | None:
    """The parts of a name; None if no such file is read."""
    compression = path.suffix if path.suffix in COMPRESSIONS else ""
    inner = Path(path.name.removesuffix(compression))
    if inner.suffix not in KINDS or (compression and KINDS[inner.suffix] in ("Parquet", "Arrow")):
        return None
    return FileName(inner.stem, inner.suffix, compression)


def kind_of(path: Path) -> str:
    """What kind of file it is, in words."""
    name = file_name(path)
    return "Parquet" if name is None else KINDS[name.suffix]


def open_rows(path: Path, columns: list[str]) -> Opened:
    """A file's rows, to be read once; only ``columns`` where the format can leave others out."""
    kind = kind_of(path)
    if kind == "Parquet":
        return _parquet(path, columns)
    if kind == "Arrow":
        return _arrow(path, columns)
    if kind == "JSON Lines":
        return Opened(None, None, _json_lines(path))
    return _csv(path, "\t" if kind == "TSV" else ",")


def metadata_of(path: Path) -> Mapping[bytes, bytes] | None:
    """What the schema of a file says besides its columns, without a look at its rows; None if it has none."""
    kind = kind_of(path)
    if kind == "Arrow":
        return _arrow(path, []).metadata
    if kind != "Parquet":
        return None
    import pyarrow.parquet as pq

    return pq.read_schema(path).metadata


def _parquet(path: Path, columns: list[str]) -> Opened:
    import pyarrow.parquet as pq

    # Without such limits a whole group of rows, or what comes after it, would be in memory.
    file = pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False)

    def rows() -> Iterator[Mapping[str, Any]]:
        with file:
            for batch in file.iter_batches(ROWS_AT_A_TIME, columns=columns, use_threads=False):
                yield from batch.to_pylist()

    return Opened(file.schema_arrow.names, file.schema_arrow.metadata, rows())


def _arrow(path: Path, columns: list[str]) -> Opened:
    import pyarrow as pa

    source = pa.memory_map(str(path))
    try:
        reader: Any = pa.ipc.open_stream(source)
        batches = iter(reader)
    except pa.ArrowInvalid:
        reader = pa.ipc.open_file(source)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))

    def rows() -> Iterator[Mapping[str, Any]]:
        for batch in batches:
            wanted = batch.select(columns)
            for start in range(0, len(wanted), ROWS_AT_A_TIME):
                yield from wanted.slice(start, ROWS_AT_A_TIME).to_pylist()

    return Opened(reader.schema.names, reader.schema.metadata, rows())


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with _text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", None) or str(error).partition(";")[0]
                more = "; write one object per line" if number == 1 and line.lstrip().startswith("[") else ""
                raise DataError(f"{where}: not valid JSON ({reason}{more})") from None
            if not isinstance(row, dict):
                raise DataError(f"{where}: not a JSON object")
            yield row


def _csv(path: Path, delimiter: str) -> Opened:
    file = _text(path)
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    names = list(reader.fieldnames or [])

    def rows() -> Iterator[Mapping[str, Any]]:
        with file:
            yield from reader

    return Opened(names, None, rows())


def _text(path: Path) -> TextIO:
    name = file_name(path)
    return io.TextIOWrapper(COMPRESSIONS[name.compression if name else ""](path), "utf-8-sig", newline="")


def _zstd(path: Path) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
