"""Comments of the tables, views, columns and macros of ``results.duckdb``, for whoever opens the file.

Nothing is written twice: they are those of the SQL files here, above a statement and beside a column. Columns of views,
and those whose name says the same in several tables, are in ``columns.toml``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import duckdb

COLUMNS = Path(__file__).with_name("columns.toml")

CREATED = re.compile(
    r"(?P<above>(?:^--.*\n)*)^CREATE (?P<kind>TABLE|VIEW|MACRO) (?P<name>[\w.]+)(?P<rest>.*(?:\n(?! *\n|--).*)*)", re.M
)
"""A statement with the lines of comment directly above it; its text goes on up to an empty line."""

COLUMN = re.compile(r"^    \"?(?P<name>\w+)\"? [A-Z].*?-- (?P<beside>.*(?:\n {8,}-- .*)*)$", re.M)
"""A column of a table with the comment beside it, which may go on below."""

TABLE_MACRO = re.compile(r".*?\bAS TABLE\b")

ANY = "*"
"""Whatever table or view has the column."""

SCHEMA = "main"
"""What users read; the tables of others have no comments on columns."""


def comment(connection: duckdb.DuckDBPyConnection, texts: list[str]) -> None:
    """Comment on all that the statements of ``texts`` have created in the database."""
    said: dict[str, dict[str, str]] = tomllib.loads(COLUMNS.read_text(encoding="utf-8"))
    comments = []
    for text in texts:
        for found in CREATED.finditer(text):
            kind = "MACRO TABLE" if TABLE_MACRO.match(found["rest"]) else found["kind"]
            if found["above"]:
                comments.append(f"{kind} {found['name']} IS {_quoted(_joined(found['above']))}")
            if kind == "TABLE":
                said.setdefault(found["name"], {}).update(_beside(found["rest"]))
    columns = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND schema_name = ?", [SCHEMA]
    ).fetchall()
    for table, column in columns:
        about = said.get(table, {}).get(column) or said[ANY].get(column)
        if about is not None:
            comments.append(f'COLUMN {table}."{column}" IS {_quoted(about)}')
    connection.execute("".join(f"COMMENT ON {line};\n" for line in comments))


def _beside(rest: str) -> Iterator[tuple[str, str]]:
    for found in COLUMN.finditer(rest):
        yield found["name"], _joined(found["beside"])


def _joined(lines: str) -> str:
    """A comment of several lines as one."""
    return " ".join(re.sub(r"^ *--", "", lines, flags=re.M).split())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
