"""Intervals of agreement, and of means and medians over datasets, against their definitions."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy import stats

from artifacts.results.landing import sql
from tests.toy_grid import ToyGrid, built, rights, rows


@pytest.fixture
def grid(tmp_path: Path) -> ToyGrid:
    return ToyGrid(tmp_path)


def over_datasets(values: dict[str, list[float]]) -> dict[str, float | None]:
    """What the macro says of the values by dataset."""
    with duckdb.connect() as connection:
        connection.execute(sql("schema"))
        connection.execute(sql("intervals"))
        connection.execute("CREATE TABLE given (grid VARCHAR, method VARCHAR, dataset VARCHAR, value DOUBLE)")
        listed = [("g", "m", dataset, value) for dataset, of_dataset in values.items() for value in of_dataset]
        connection.executemany("INSERT INTO given VALUES (?, ?, ?, ?)", listed)
        (row,) = connection.sql("FROM over_datasets('given')").to_arrow_table().to_pylist()
    return row


def ratio_interval(part: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    """Of a ratio of means over items of one seed, by trying values: all that are not refuted."""
    n = len(part)
    held = np.linspace(-0.5, 1.5, 200_001)
    off = part.mean() - held * whole.mean()
    covariance = np.cov(part, whole) / n
    variance = covariance[0, 0] - 2 * held * covariance[0, 1] + held**2 * covariance[1, 1]
    inside = held[off**2 <= stats.t.ppf(0.975, n - 1) ** 2 * variance]
    return float(inside[0]), float(inside[-1])


def test_agreement_of_a_seed_has_the_interval_of_a_ratio_over_items(grid: ToyGrid) -> None:
    rng = np.random.default_rng(0)
    weak, transfer = (rng.random(200) < 0.7 for _ in range(2))
    grid.pair(weak.tolist(), transfer.tolist(), rights(200))
    (row,) = built(grid, "FROM agreement")
    agrees = weak == transfer
    for name, among in (("agreement", np.ones(200)), ("agreement_right", weak), ("agreement_wrong", ~weak)):
        low, high = ratio_interval((agrees * among).astype(float), among.astype(float))
        assert (row[f"{name}_low"], row[f"{name}_high"]) == (
            pytest.approx(low, abs=2e-3),
            pytest.approx(high, abs=2e-3),
        )


def test_agreement_over_seeds_knows_how_seeds_vary(grid: ToyGrid) -> None:
    for seed, n_errors in enumerate((5, 20, 35)):
        grid.pair(rights(100, 100), rights(100 - n_errors, n_errors, 0, 100), rights(200), seed=seed)
    of_seeds = built(grid, "SELECT agreement_right, agreement_right_high - agreement_right_low AS width FROM agreement")
    (row,) = rows(grid, "SELECT *, agreement_right_high - agreement_right_low AS width FROM agreement_by_pair")
    assert row["agreement_right"] == pytest.approx(0.8)
    assert row["width"] > 2 * max(of_seed["width"] for of_seed in of_seeds)
    assert (row["interval_of"], row["n_items"], row["n_seeds"]) == ("items and seeds", 200, 3)


def test_agreement_in_all_is_not_taken_for_certain(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(60, 40), rights(100))
    (row,) = built(grid, "SELECT agreement_wrong, agreement_wrong_low, agreement_wrong_high FROM agreement")
    exact = stats.binomtest(40, 40).proportion_ci(0.95, "exact")
    assert row == {"agreement_wrong": 1, "agreement_wrong_low": pytest.approx(exact.low), "agreement_wrong_high": 1}


def test_agreement_with_errors_that_are_not_made_has_no_interval(grid: ToyGrid) -> None:
    grid.pair(rights(10), rights(8, 2), rights(10))
    (row,) = built(grid, "SELECT agreement_wrong, agreement_wrong_low, agreement_wrong_high FROM agreement")
    assert set(row.values()) == {None}


def test_seed_has_the_interval_of_its_items(grid: ToyGrid) -> None:
    rng = np.random.default_rng(1)
    weak, transfer, ceiling = (rng.random(200) < skill for skill in (0.5, 0.7, 0.9))
    grid.pair(weak.tolist(), transfer.tolist(), ceiling.tolist())
    (row,) = built(grid, "SELECT pgr_low, pgr_high FROM pgr")
    low, high = ratio_interval(transfer.astype(float) - weak, ceiling.astype(float) - weak)
    assert (row["pgr_low"], row["pgr_high"]) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))


def test_seeds_that_look_alike_by_chance_leave_what_answers_vary(grid: ToyGrid) -> None:
    # Each seed has as many right, but never the same: parts of items and seeds are nothing, or less.
    for seed in range(3):
        student = np.roll(np.repeat([True, True, False], 40), 40 * seed)
        grid.pair(rights(60, 60), student.tolist(), rights(120), seed=seed)
    (row,) = built(grid, "SELECT pgr, pgr_low, pgr_high FROM pgr_by_pair")
    assert row["pgr_low"] < row["pgr"] - 0.05
    assert row["pgr_high"] > row["pgr"] + 0.05


def test_median_over_datasets_is_bootstrapped_over_datasets() -> None:
    rng = np.random.default_rng(2)
    values = {f"d{place:02}": rng.normal(size=1 + place % 3).tolist() for place in range(9)}
    row = over_datasets(values)
    groups = list(values.values())
    medians = []
    for _ in range(4000):
        chosen = rng.integers(len(groups), size=len(groups))
        medians.append(float(np.median([value for place in chosen for value in groups[place]])))
    assert row["n_datasets"] == 9
    assert row["median"] == pytest.approx(np.median([value for group in groups for value in group]))
    # Expanded percentiles: as far out as Student's quantile, and the factor n / (n - 1) that resampling lacks.
    beyond = stats.norm.sf(np.sqrt(9 / 8) * stats.t.ppf(0.975, 8))
    wanted = np.quantile(medians, [beyond, 1 - beyond])
    assert (row["median_low"], row["median_high"]) == tuple(pytest.approx(end, abs=0.08) for end in wanted)


@pytest.mark.parametrize("x", [0.0, 1.0, 2.13, 2.8])
def test_tail_of_the_normal_distribution_is_that_of_the_tables(x: float) -> None:
    with duckdb.connect() as connection:
        connection.execute(sql("schema"))
        connection.execute(sql("intervals"))
        assert connection.execute("SELECT normal_tail(?)", [x]).fetchone() == (
            pytest.approx(stats.norm.sf(x), abs=1e-6),
        )


def test_mean_over_datasets_has_the_interval_of_student() -> None:
    values = {f"d{place}": [0.1 * place**2] for place in range(7)}
    row = over_datasets(values)
    alone = [value for (value,) in values.values()]
    interval = stats.t.interval(0.95, 6, np.mean(alone), stats.sem(alone))
    assert (row["mean_low"], row["mean_high"]) == tuple(pytest.approx(end, abs=2e-3) for end in interval)


def test_pairs_of_a_dataset_stand_and_fall_together() -> None:
    values = {f"d{place}": [0.1 * place**2] for place in range(7)}
    once, thrice = over_datasets(values), over_datasets({name: value * 3 for name, value in values.items()})
    assert once == thrice


def test_few_datasets_have_no_interval_over_datasets_but_of_these_alone(grid: ToyGrid) -> None:
    row = over_datasets({f"d{place}": [float(place)] for place in range(5)})
    assert (row["median"], row["median_low"], row["mean_low"]) == (2, None, None)
    for dataset, n_right in (("boolq", 70), ("sciq", 80)):
        grid.pair(rights(60, 40), rights(n_right, 100 - n_right), rights(95, 5), dataset=dataset)
    (row,) = built(grid, "FROM pgr_by_method")
    (ends,) = rows(grid, "SELECT avg(pgr_low) AS low, avg(pgr_high) AS high FROM pgr_by_pair")
    assert (row["interval_of"], row["n_datasets"]) == ("items only", 2)
    assert (row["median_pgr_low"], row["median_pgr_high"]) == (pytest.approx(ends["low"]), pytest.approx(ends["high"]))


def test_method_on_six_datasets_has_an_interval_of_datasets(grid: ToyGrid) -> None:
    for place in range(6):
        n_right = 65 + 4 * place
        grid.pair(rights(60, 40), rights(n_right, 100 - n_right), rights(95, 5), dataset=f"d{place}")
    (row,) = built(grid, "FROM pgr_by_method")
    found = [pgr["pgr"] for pgr in rows(grid, "SELECT pgr FROM pgr_by_pair")]
    assert row["interval_of"] == "datasets"
    assert min(found) - 1e-9 <= row["median_pgr_low"] < row["median_pgr"] < row["median_pgr_high"] <= max(found) + 1e-9
