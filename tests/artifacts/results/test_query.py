"""Queries of the results: what they refuse, how they say so, and the formats they are written in."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import UsageError
from artifacts.results.build import build
from artifacts.results.query import pgr_table, run_query, write
from flows.home import output_kinds
from tests.toy_grid import ToyGrid, rights


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    for name in ("first", "second"):
        grid = ToyGrid(root, name)
        # Ladders are no alphabet: zeta is the weakest model and stands first.
        grid.pair(rights(60, 40), rights(70, 30), rights(85, 15), names=("zeta", "beta"))
        grid.pair(rights(60, 40), rights(80, 20), rights(95, 5), names=("zeta", "alpha"))
        grid.pair(rights(85, 15), rights(85, 15), rights(80, 20), names=("beta", "alpha"))
        grid.run()
    build(grid.store, grid.results, output_kinds)
    return grid.results


def refusal(results: Path, sql: str) -> str:
    with pytest.raises(UsageError) as caught:
        run_query(results, sql)
    message = str(caught.value)
    assert "\n" not in message
    return message


def written(table: pa.Table, format: str) -> bytes:
    stream = io.BytesIO()
    write(table, format, stream)
    return stream.getvalue()


def test_query_returns_rows(results: Path) -> None:
    assert run_query(results, "SELECT count(*) AS n FROM pairs").to_pylist() == [{"n": 6}]


def test_query_takes_parameters(results: Path) -> None:
    assert len(run_query(results, "FROM pairs WHERE grid = ?", ["first"])) == 3


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE mine AS SELECT 1",
        "DELETE FROM scores",
        "DROP VIEW pgr",
        "COPY scores TO '{other}'",
        "EXPORT DATABASE '{other}'",
        "ATTACH '{other}'",
        "SELECT * FROM read_csv('{other}')",
        "SELECT * FROM '{other}'",
        "SELECT * FROM glob('/*')",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "LOAD httpfs",
    ],
)
def test_writing_and_leaving_the_file_is_refused_in_one_line(results: Path, tmp_path: Path, sql: str) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    before = results.read_bytes()
    assert refusal(results, sql.format(other=other))
    assert other.read_text() == "a\n1\n"
    assert results.read_bytes() == before


def test_variable_of_the_code_is_no_table(results: Path) -> None:
    assert "Table with name path does not exist" in refusal(results, "FROM path")


def test_misspelt_table_gets_a_hint(results: Path) -> None:
    assert 'Did you mean "scores"' in refusal(results, "FROM score")


def test_misspelt_column_gets_a_hint(results: Path) -> None:
    assert "accuracy" in refusal(results, "SELECT acuracy FROM scores")


def test_syntax_error_is_one_line(results: Path) -> None:
    assert 'near "FROM"' in refusal(results, "SELECT *,\nFROM FROM scores")


def test_error_while_computing_is_one_line(results: Path) -> None:
    assert "boolq" in refusal(results, "SELECT dataset::INTEGER FROM scores")


@pytest.mark.parametrize("sql", ["", "-- nothing"])
def test_sql_without_rows_is_refused(results: Path, sql: str) -> None:
    assert "SELECT" in refusal(results, sql)


def test_missing_results_say_what_to_do(tmp_path: Path) -> None:
    assert "run a grid first" in refusal(tmp_path / "results.duckdb", "FROM scores")


def test_damaged_results_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "results.duckdb").write_bytes(b"no database" * 1000)
    assert "w2s results rebuild" in refusal(tmp_path / "results.duckdb", "FROM scores")


def test_pgr_over_a_grouping_keeps_grids_apart(results: Path) -> None:
    found = run_query(results, "SELECT grid, strong, n_pairs, n_flagged FROM pgr_over(['strong']) ORDER BY ALL")
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        (grid, *row) for grid in ("first", "second") for row in [("alpha", 2, 1), ("beta", 1, 0)]
    ]


def test_pgr_over_one_pair_has_the_interval_of_the_pair(results: Path) -> None:
    columns = "grid, weak, strong, {0} AS pgr, {1}pgr_low AS pgr_low, {1}pgr_high AS pgr_high, interval_of"
    each = f"SELECT {columns.format('pgr', '')} FROM pgr_by_pair ORDER BY ALL"
    over = f"SELECT {columns.format('median_pgr', 'median_')} FROM pgr_over(['weak', 'strong']) ORDER BY ALL"
    found, wanted = run_query(results, over).to_pylist(), run_query(results, each).to_pylist()
    for row in wanted:
        row["pgr"] = row["pgr"] if row["pgr_low"] is not None else None  # a flagged pair is left out
    assert found == wanted


def test_pgr_over_pairs_that_a_with_chooses_and_groups(results: Path) -> None:
    found = run_query(
        results,
        "WITH mine AS (SELECT *, nullif(weak, 'zeta') AS other FROM pgr_by_pair WHERE grid = 'first') "
        "SELECT other, n_pairs, n_datasets FROM pgr_over(['other'], pairs := 'mine') ORDER BY ALL",
    )
    assert found.to_pylist() == [
        {"other": "beta", "n_pairs": 1, "n_datasets": 0},
        {"other": None, "n_pairs": 2, "n_datasets": 1},
    ]


def test_pgr_over_nothing_is_of_whole_grids(results: Path) -> None:
    assert run_query(results, "SELECT grid, n_pairs FROM pgr_over([]) ORDER BY grid").to_pylist() == [
        {"grid": "first", "n_pairs": 3},
        {"grid": "second", "n_pairs": 3},
    ]


def test_pgr_over_a_misspelt_column_names_it(results: Path) -> None:
    assert '"metod"' in refusal(results, "FROM pgr_over(['metod'])")


def test_pgr_table_has_pairs_in_the_order_of_the_ladder(results: Path) -> None:
    table = pgr_table(results, "first", "pair")
    assert table.column_names == [
        "dataset", "weak", "strong", "method", "weak_acc", "transfer_acc", "ceiling_acc", "gap", "pgr", "pgr_low",
        "pgr_high", "interval_of", "flag", "near_chance",
        "n_items", "n_seeds",
    ]  # fmt: skip
    pairs = [(row["weak"], row["strong"], row["flag"]) for row in table.to_pylist()]
    assert pairs == [("zeta", "beta", None), ("zeta", "alpha", None), ("beta", "alpha", "undefined")]


@pytest.mark.parametrize(("by", "n_rows"), [("pair", 3), ("seed", 3), ("dataset", 1), ("method", 1)])
def test_pgr_table_has_a_row_for_each(results: Path, by: str, n_rows: int) -> None:
    assert len(pgr_table(results, "first", by)) == n_rows


def test_pgr_table_of_all_grids_says_which(results: Path) -> None:
    table = pgr_table(results, None, "method")
    assert table.column_names[0] == "grid"
    assert table["grid"].to_pylist() == ["first", "second"]


def test_pgr_by_anything_else_is_refused(results: Path) -> None:
    with pytest.raises(UsageError, match="'model'; it is by one of pair, seed, dataset, method"):
        pgr_table(results, "first", "model")


def test_unknown_grid_gets_the_nearest_name(results: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'second'"):
        pgr_table(results, "secnd", "pair")


def test_unknown_grid_unlike_any_gets_all_names(results: Path) -> None:
    with pytest.raises(UsageError, match="there are: first, second"):
        pgr_table(results, "nlp", "pair")


def test_csv_has_a_header_and_empty_fields_for_null() -> None:
    table = pa.table({"a": [1, None], "b": ["x, y", None]})
    assert written(table, "csv") == b'a,b\n1,"x, y"\n,\n'


def test_csv_has_lists_as_json(results: Path) -> None:
    text = written(run_query(results, "SELECT [1, 2] AS a"), "csv").decode()
    assert list(csv.reader(io.StringIO(text))) == [["a"], ["[1, 2]"]]


def test_json_is_a_list_of_objects() -> None:
    table = pa.table({"a": [1.5, None], "b": ["naïve", "y"]})
    assert json.loads(written(table, "json")) == [{"a": 1.5, "b": "naïve"}, {"a": None, "b": "y"}]


def test_json_of_no_rows_is_an_empty_list() -> None:
    assert json.loads(written(pa.table({"a": pa.array([], pa.int64())}), "json")) == []


def test_json_has_null_for_what_json_cannot_say() -> None:
    table = pa.table({"a": [float("nan")], "b": [[float("inf")]], "c": [{"d": float("-inf")}]})
    assert json.loads(written(table, "json")) == [{"a": None, "b": [None], "c": {"d": None}}]


def test_json_has_sums_as_numbers(results: Path) -> None:
    found = json.loads(written(run_query(results, "SELECT sum(n) AS n, sum(0.5) AS x FROM scores"), "json"))
    assert found == [{"n": 1600, "x": 8.0}]


def test_json_has_times_as_text(results: Path) -> None:
    found = json.loads(written(run_query(results, "SELECT started FROM nodes LIMIT 1"), "json"))
    assert found == [{"started": "2026-01-02 03:04:05"}]


def test_parquet_has_the_same_rows(results: Path) -> None:
    table = run_query(results, "FROM scores")
    assert pq.read_table(io.BytesIO(written(table, "parquet"))).equals(table)
