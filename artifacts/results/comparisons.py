"""Methods compared with a reference, pair by pair, over the pairs of a dataset, and over datasets, with tests of SciPy.

How pairs are compared is in ``differences.sql``, and the rules of intervals in ``intervals.sql``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from artifacts.errors import UsageError
from artifacts.results.landing import sql
from artifacts.results.query import no_such, reading

LEVELS: Mapping[str, str] = {
    "pair": """
        SELECT
            grid, dataset, weak, strong, reference, method, measure, difference, difference_low, difference_high,
            interval_of, n_items, n_seeds
        FROM differences
        ORDER BY position, measure
    """,
    # Pairs of a dataset share items and trainings: as in the view pgr_by_dataset.
    "dataset": """
        SELECT
            grid, dataset, reference, method, measure,
            avg(difference) AS difference,
            avg(difference_low) AS difference_low, avg(difference_high) AS difference_high,
            CASE WHEN min(n_seeds) > 1 THEN 'items and seeds' ELSE 'items only' END AS interval_of,
            max(n_items) AS n_items, min(n_seeds) AS n_seeds, count(*) AS n_pairs
        FROM differences
        GROUP BY grid, dataset, reference, method, measure
        ORDER BY min(position), measure
    """,
    "method": """
        WITH
            accuracy AS (
                SELECT grid, method, dataset, difference AS value FROM differences WHERE measure = 'accuracy'
            ),
            recovered AS (SELECT grid, method, dataset, difference AS value FROM differences WHERE measure = 'PGR'),
            over_all AS (
                SELECT *, 'accuracy' AS measure FROM over_datasets('accuracy')
                UNION ALL
                SELECT *, 'PGR' AS measure FROM over_datasets('recovered')
            ),
            these AS (
                SELECT
                    grid, reference, method, measure, min(position) AS position,
                    avg(difference_low) AS low, avg(difference_high) AS high,
                    median(difference_low) AS low_of_median, median(difference_high) AS high_of_median,
                    CASE WHEN min(n_seeds) > 1 THEN 'items and seeds' ELSE 'items only' END AS of_these,
                    count(*) AS n_pairs, min(n_seeds) AS n_seeds
                FROM differences
                GROUP BY grid, reference, method, measure
            ),
            by_dataset AS (
                SELECT grid, method, measure, dataset, avg(difference) AS difference
                FROM differences
                GROUP BY grid, method, measure, dataset
            ),
            listed AS (
                SELECT grid, method, measure, list(rounded(difference) ORDER BY dataset) AS by_dataset
                FROM by_dataset
                GROUP BY grid, method, measure
            )
        SELECT
            grid, reference, method, measure,
            mean AS difference, coalesce(mean_low, low) AS difference_low, coalesce(mean_high, high) AS difference_high,
            median AS median_difference,
            coalesce(median_low, low_of_median) AS median_difference_low,
            coalesce(median_high, high_of_median) AS median_difference_high,
            CASE WHEN median_low IS NOT NULL THEN 'datasets' ELSE of_these END AS interval_of,
            n_datasets, n_seeds, n_pairs, by_dataset
        FROM over_all JOIN these USING (grid, method, measure) JOIN listed USING (grid, method, measure)
        ORDER BY position, measure
    """,
}
"""What is asked of the table ``differences`` at each level, in the order of the grid file."""


class PairedTests(NamedTuple):
    """Whether a method differs from its reference over datasets: on how many it is better and worse, and two p-values.

    Both are two-sided: Wilcoxon's signed-rank test (1945), which leaves out datasets without a difference, and the sign
    test, which is the exact binomial one.
    """

    n_better: int
    n_worse: int
    wilcoxon: float
    sign: float


def compare(path: Path, grid: str | None = None, methods: Sequence[str] = (), by: str = "method") -> pa.Table:
    """What methods differ from a reference by, in accuracy of the student and in PGR, with 95 % intervals.

    Args:
        path: the results.
        grid: name of one grid; None for each that has the methods, with a column that says which.
        methods: the first is the reference of the others; one alone is that of all other methods of the grid, and none
            means that the grid's first is.
        by: one row for each ``pair`` over its seeds, ``dataset``, or ``method`` over datasets, with tests, and their
            p-values after Holm's correction over the methods that are compared.

    Raises:
        UsageError: no results yet, no such grid or method, nothing to compare, or nothing to be had by ``by``.
    """
    if by not in LEVELS:
        raise UsageError(f"methods compared by {by!r}; it is by one of {', '.join(LEVELS)}")
    return compare_at(path, grid, methods, [by])[by]


def compare_at(path: Path, grid: str | None, methods: Sequence[str], levels: Sequence[str]) -> dict[str, pa.Table]:
    """What ``compare`` gives by each of several ``levels``, worked out once.

    Raises:
        UsageError: as ``compare`` says.
    """
    with reading(path) as connection:
        differences(connection, asked(connection, path, grid, methods))
        tables = {by: connection.sql(LEVELS[by]).to_arrow_table() for by in levels}
    if "method" in tables:
        tables["method"] = _with_tests(tables["method"])
    return {by: table if grid is None else table.drop_columns(["grid"]) for by, table in tables.items()}


def asked(
    connection: duckdb.DuckDBPyConnection, path: Path, grid: str | None, methods: Sequence[str]
) -> list[tuple[str, str, str]]:
    """What is to be compared: grid, method and reference.

    Raises:
        UsageError: as ``compare`` says.
    """
    rows = connection.execute("SELECT grid, method FROM pairs GROUP BY ALL ORDER BY min(position)").fetchall()
    known: dict[str, list[str]] = {}
    for name, method in rows:
        known.setdefault(name, []).append(method)
    if grid is not None and grid not in known:
        raise no_such("grid", grid, sorted(known), path)
    chosen = known if grid is None else {grid: known[grid]}
    wanted = list(dict.fromkeys(methods))
    there = {name: of_grid for name, of_grid in chosen.items() if set(wanted) <= set(of_grid)}
    if not there:
        every = list(dict.fromkeys(method for of_grid in chosen.values() for method in of_grid))
        where = f"grid {grid!r}" if grid is not None else path
        for method in wanted:
            if method not in every:
                raise no_such("method", method, every, where)
        raise UsageError(
            f"no grid in {path} has all of the methods {', '.join(wanted)}"
            if wanted
            else f"no pairs in {path} yet: run a grid first"
        )
    found = []
    for name, of_grid in there.items():
        reference, *others = wanted if len(wanted) > 1 else wanted + [m for m in of_grid if m not in wanted]
        found += [(name, method, reference) for method in others]
    if not found:
        ((name, (only,)), *_) = there.items()
        raise UsageError(f"grid {name!r} has one method, {only!r}; there is nothing to compare it with")
    return found


def differences(connection: duckdb.DuckDBPyConnection, asked: Sequence[tuple[str, str, str]]) -> None:
    """Leave a temporary table ``differences``, a row per pair and measure, of grids, methods and references."""
    connection.execute("CREATE TEMP TABLE asked (grid VARCHAR, method VARCHAR, reference VARCHAR)")
    connection.executemany("INSERT INTO asked VALUES (?, ?, ?)", [list(row) for row in asked])
    connection.execute(sql("differences"))


def _with_tests(table: pa.Table) -> pa.Table:
    rows = table.to_pylist()
    tests = [paired_tests(row["by_dataset"]) for row in rows]
    corrected: list[dict[str, float]] = [{} for _ in rows]
    families: dict[tuple[Any, Any], list[int]] = {}
    for index, row in enumerate(rows):
        families.setdefault((row["grid"], row["measure"]), []).append(index)
    for name in ("wilcoxon", "sign"):
        for family in families.values():
            for index, p in zip(family, holm([getattr(tests[index], name) for index in family]), strict=True):
                corrected[index][name] = p
    columns: dict[str, Sequence[float]] = {
        "n_better": [test.n_better for test in tests],
        "n_worse": [test.n_worse for test in tests],
        "wilcoxon_p": [test.wilcoxon for test in tests],
        "sign_p": [test.sign for test in tests],
        "wilcoxon_holm": [by_test["wilcoxon"] for by_test in corrected],
        "sign_holm": [by_test["sign"] for by_test in corrected],
    }
    table = table.drop_columns(["by_dataset"])
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.int64() if name.startswith("n_") else pa.float64()))
    return table


def paired_tests(differences: Sequence[float]) -> PairedTests:
    """The tests of one method, of its difference on each dataset; without any that is not zero, both p-values are 1."""
    from scipy import stats

    better, worse = (sum(value * sign > 0 for value in differences) for sign in (1, -1))
    if better + worse == 0:
        return PairedTests(0, 0, 1.0, 1.0)
    unequal = [value for value in differences if value != 0]
    return PairedTests(
        better, worse, float(stats.wilcoxon(unequal).pvalue), float(stats.binomtest(better, better + worse).pvalue)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being of one family, so that any of them is wrongly below 0.05 in 5 % of families at most.

    Source: Holm 1979, Scand. J. Statist. 6.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
