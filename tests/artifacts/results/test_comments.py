"""Comments in the results: nothing is without one, and each is what the SQL files say."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from artifacts.results.build import build
from artifacts.results.comments import ANY, COLUMNS
from artifacts.results.query import run_query
from flows.home import output_kinds
from tests.toy_grid import ToyGrid


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    grid = ToyGrid(tmp_path_factory.mktemp("comments"))
    grid.run()
    build(grid.store, grid.results, output_kinds)
    return grid.results


def comment_of(results: Path, table: str, column: str) -> str:
    [row] = run_query(
        results, 'SELECT comment FROM columns_of($table) WHERE "column" = $column', {"table": table, "column": column}
    ).to_pylist()
    return str(row["comment"])


@pytest.mark.parametrize("what", ["table", "view", "column"])
def test_nothing_is_without_a_comment(results: Path, what: str) -> None:
    places = {
        "table": "schema_name || '.' || table_name",
        "view": "view_name",
        "column": "table_name || '.' || column_name",
    }
    place, of_schema = places[what], "AND schema_name = 'main'" if what == "column" else ""

    bare = f"SELECT {place} FROM duckdb_{what}s() WHERE NOT internal {of_schema} AND coalesce(comment, '') = ''"

    assert run_query(results, bare).to_pylist() == []


def test_comment_of_a_table_is_the_one_above_it(results: Path) -> None:
    [row] = run_query(results, "SELECT comment FROM tables() WHERE \"table\" = 'pairs'").to_pylist()

    assert row["comment"] == (
        "What each grid compares: keys of scores, NULL while unknown; self-training (weak = strong) has no ceiling."
    )


def test_comment_of_a_column_goes_on_below_it(results: Path) -> None:
    assert comment_of(results, "scores", "supervisor") == (
        "NULL for gt, as is method; but ceilings that learn otherwise than by finetuning have both, and members of an "
        "ensemble that learn from rows of their own a method, its name"
    )


def test_column_of_a_view_has_its_own_comment_or_that_of_its_name(results: Path) -> None:
    assert comment_of(results, "misfit", "gain") == "mean squared error of the supervisor less that of the student"
    assert comment_of(results, "pgr_by_method", "n_pairs") == "pairs, sound or not"


def test_there_is_a_column_for_everything_that_is_said_of_one(results: Path) -> None:
    said = tomllib.loads(COLUMNS.read_text(encoding="utf-8"))
    rows = run_query(results, "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'main'")
    there = {(row["table_name"], row["column_name"]) for row in rows.to_pylist()}

    assert set(said[ANY]) <= {column for _, column in there}
    assert {(table, column) for table in said.keys() - {ANY} for column in said[table]} <= there
