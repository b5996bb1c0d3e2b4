"""Reads ``results.duckdb``: SQL that cannot write or leave the file, the PGR tables, and csv, json and parquet.

Tables for a terminal are in ``flows.report.tables``; what the columns mean is in ``schema.sql`` and ``views.sql``.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import io
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import UsageError

PGR_TABLES: Mapping[str, str] = {
    "pair": """
        SELECT
            grid, dataset, weak, strong, method, weak_acc, transfer_acc, ceiling_acc, gap, pgr, pgr_low, pgr_high,
            interval_of, flag, near_chance, n_items, n_seeds, position
        FROM pgr_by_pair
        JOIN (SELECT grid, dataset, weak, strong, method, min(position) AS position FROM pairs GROUP BY ALL)
        USING (grid, dataset, weak, strong, method)
    """,
    "seed": """
        SELECT
            grid, dataset, weak, strong, method, seed, weak_acc, transfer_acc, ceiling_acc, gap, pgr, pgr.pgr_low,
            pgr.pgr_high, flag, near_chance, n_items, position
        FROM pgr
        JOIN (SELECT grid, dataset, weak, strong, method, seed, position FROM pairs)
        USING (grid, dataset, weak, strong, method, seed)
        LEFT JOIN uncertainty USING (grid, dataset, weak, strong, method)
    """,
    "dataset": """
        SELECT
            grid, dataset, method, weak_acc, transfer_acc, ceiling_acc, median_pgr, median_pgr_low, median_pgr_high,
            mean_pgr, mean_pgr_low, mean_pgr_high, interval_of, n_items, n_seeds, n_pairs, n_flagged, position
        FROM pgr_by_dataset
        JOIN (SELECT grid, dataset, method, min(position) AS position FROM pairs GROUP BY ALL)
        USING (grid, dataset, method)
    """,
    "method": """
        SELECT
            grid, method, weak_acc, transfer_acc, ceiling_acc, median_pgr, median_pgr_low, median_pgr_high, mean_pgr,
            mean_pgr_low, mean_pgr_high, interval_of, n_datasets, n_seeds, n_pairs, n_flagged, position
        FROM pgr_by_method
        JOIN (SELECT grid, method, min(position) AS position FROM pairs GROUP BY ALL)
        USING (grid, method)
    """,
}
"""The PGR at each level, in the order of the grid file."""

COPY = ".results-copy-"
"""Prefix of a folder with a reader's copy; one is left behind only by a process that was killed."""

COPY_ATTEMPTS = 5


Parameters = Sequence[object] | Mapping[str, object]
"""Of ``?``, or of ``$name``."""


def run_query(path: Path, sql: str, parameters: Parameters = ()) -> pa.Table:
    """The rows of ``sql``, run on the results at ``path``; of several statements, the rows of the last.

    Raises:
        UsageError: no results yet, an error in the SQL, or SQL that would write or read anything else.
    """
    with _connect(path) as connection, _one_line(path):
        return _rows(connection, sql, parameters)


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Parameters = ()) -> pa.Table:
    relation = connection.sql(sql, params=parameters or None)
    if relation is None:
        raise UsageError("this SQL returns no rows; ask with SELECT, or SHOW TABLES for what there is")
    return relation.to_arrow_table()


def pgr_table(path: Path, grid: str | None, by: str) -> pa.Table:
    """PGR with what it is made of, in the order of the grid file.

    Args:
        path: the results.
        grid: name of one grid; None for all of them, with a column that says which.
        by: one row for each ``pair`` over its seeds, ``seed`` of a pair, ``dataset`` and method, or ``method``.

    Raises:
        UsageError: no results yet, no such grid in them, or nothing to be had by ``by``.
    """
    if by not in PGR_TABLES:
        raise UsageError(f"PGR by {by!r}; it is by one of {', '.join(PGR_TABLES)}")
    with reading(path) as connection:
        if grid is None:
            return _rows(connection, f"SELECT * EXCLUDE position FROM ({PGR_TABLES[by]}) ORDER BY position")
        names = _rows(connection, "SELECT DISTINCT grid FROM pairs ORDER BY grid")["grid"].to_pylist()
        if grid in names:
            return _rows(
                connection,
                f"SELECT * EXCLUDE (grid, position) FROM ({PGR_TABLES[by]}) WHERE grid = ? ORDER BY position",
                [grid],
            )
    raise no_such("grid", grid, names, path)


def no_such(what: str, name: str, names: Sequence[str], where: object) -> UsageError:
    """That there is no ``name`` among ``names``, with the nearest of them."""
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names) or 'none'}"
    return UsageError(f"no {what} {name!r} in {where}; {hint}")


@contextmanager
def reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the results that can write to temporary tables alone.

    Raises:
        UsageError: no results yet, they cannot be read, or are of another version; an error of the SQL.
    """
    with _connect(path) as connection, _one_line(path):
        try:
            yield connection
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            # The SQL is ours, so it is the tables that are not.
            raise UsageError(_damaged(path, error, "of another version of w2s: ")) from error


@contextmanager
def _connect(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the results, or a copy where the file itself cannot be opened.

    A program that writes to the file locks everyone out, and one that was killed may leave a log that fits no file any
    more. Neither touches what was landed, which a copy without the log has.
    """
    if not path.exists():
        raise UsageError(f"no results at {path}: run a grid first")
    try:
        connection = _open(path)
    except duckdb.Error as error:
        with _copied(path, error) as copy:
            try:
                connection = _open(copy)
            except duckdb.Error as cause:
                raise UsageError(_damaged(path, cause)) from cause
            with connection:
                yield connection
        return
    with connection:
        yield connection


def obstacle(path: Path) -> str | None:
    """Why the results, which are there, cannot be opened but through a copy: who holds them, or what is beside them."""
    try:
        _open(path).close()
    except duckdb.Error as error:
        return _line(error)
    return None


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        path, read_only=True, config={"enable_external_access": "false", "lock_configuration": "true"}
    )


@contextmanager
def _copied(path: Path, why: duckdb.Error) -> Iterator[Path]:
    """A copy of the results for one reader: beside them, where there is surely a disk, or among temporary files.

    Raises:
        UsageError: the file cannot be read, or there is no room for a copy.
    """
    with contextlib.ExitStack() as stack:
        try:
            try:
                copy = _copy(path, stack, path.parent)
            except OSError:
                copy = _copy(path, stack, Path(tempfile.gettempdir()))
        except OSError as error:
            raise UsageError(
                f"cannot read {path} ({_line(why)}), nor a copy of it ({error.strerror or error}); "
                "end the program that holds it, or open it there with read_only=True; or mend what keeps it from "
                "being copied"
            ) from error
        yield copy


def _copy(path: Path, stack: contextlib.ExitStack, folder: Path) -> Path:
    own = stack.enter_context(tempfile.TemporaryDirectory(prefix=COPY, dir=folder, ignore_cleanup_errors=True))
    copy = Path(own) / path.name
    for _ in range(COPY_ATTEMPTS):
        before = path.stat()
        shutil.copyfile(path, copy)
        after = path.stat()
        if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
            break  # else it was written to, or replaced, meanwhile; parts that do not fit have wrong checksums
    return copy


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        duckdb.IOException,
        duckdb.FatalException,
        duckdb.InternalException,
        duckdb.SerializationException,
    ) as error:
        raise UsageError(_damaged(path, error)) from error
    except duckdb.Error as error:
        raise UsageError(_line(error)) from error


def _damaged(path: Path, error: duckdb.Error, what: str = "") -> str:
    return f"cannot read {path} ({what}{_line(error)}); `w2s results rebuild` builds it anew"


def _line(error: duckdb.Error) -> str:
    """What is wrong and DuckDB's hint, without the excerpt of the SQL."""
    return " ".join(str(error).split("\n\nLINE ", 1)[0].split())


def write(table: pa.Table, format: str, stream: IO[bytes]) -> None:
    """Write ``table`` as ``csv`` with a header, ``json`` that is a list of objects, or ``parquet``.

    In csv NULL is an empty field; in json it is null, and so are NaN and the infinities, which json does not have.
    """
    WRITERS[format](table, stream)


def _write_csv(table: pa.Table, stream: IO[bytes]) -> None:
    text = io.TextIOWrapper(stream, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    for batch in table.to_batches():
        columns = (map(_csv_value, column.to_pylist()) for column in batch.columns)
        writer.writerows(zip(*columns, strict=True))
    text.detach()


def _csv_value(value: Any) -> Any:
    return json.dumps(value, default=str) if isinstance(value, dict | list) else value


def _write_json(table: pa.Table, stream: IO[bytes]) -> None:
    lines = (json.dumps(_json_value(row), default=str, ensure_ascii=False) for row in table.to_pylist())
    stream.write(f"[{','.join(f'{chr(10)}  {line}' for line in lines)}\n]\n".encode())


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, Decimal):  # what DuckDB makes of the sum of integers
        return int(value) if value == value.to_integral_value() else float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_parquet(table: pa.Table, stream: IO[bytes]) -> None:
    pq.write_table(table, stream)


WRITERS: dict[str, Callable[[pa.Table, IO[bytes]], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}
