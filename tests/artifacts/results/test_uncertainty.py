"""Standard errors and intervals of ``pgr_by_pair``, against their definitions."""

from __future__ import annotations

import random
import statistics
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


def seeds_of(rng: np.random.Generator, n_seeds: int, n_rows: int, size: int) -> np.ndarray:
    """Whether weak, transfer and ceiling are right, [seeds, models, rows]; groups of ``size`` rows, but the last."""
    groups = np.repeat(rng.normal(size=-(-n_rows // size)), size)[:n_rows]
    skills = rng.normal([0.3, 0.8, 1.6], 0.1, (n_seeds, 3))
    right: np.ndarray = skills[:, :, None] + 0.7 * groups + 0.7 * rng.normal(size=(n_seeds, 3, n_rows)) > 0
    return right


def crossed(right: np.ndarray, size: int) -> tuple[float, float, float]:
    """The standard error of the gap and the interval, by the definitions: loops over means, nothing shared with SQL."""
    n_seeds, _, n_rows = right.shape
    starts = np.arange(0, n_rows, size)
    effects = right[:, 1:].astype(float) - right[:, :1]  # [seeds, gain and gap, rows]
    sums, n_each = np.add.reduceat(effects, starts, axis=2), np.diff([*starts, n_rows])
    means = effects.mean(axis=2, keepdims=True)
    values = means + (sums - means * n_each) * len(starts) / n_rows  # [seeds, 2, groups]
    gain, gap = values.mean(axis=(0, 2))
    n = len(starts)
    items, seeds = values.mean(axis=0), values.mean(axis=2).T  # [2, groups], [2, seeds]
    rest = (values - items[None] - seeds.T[:, :, None] + np.array([gain, gap])[None, :, None]).swapaxes(0, 1)
    by_items, by_seeds = np.cov(items) / n, np.cov(seeds) / n_seeds
    by_both = np.einsum("asi,bsi->ab", rest, rest) / ((n - 1) * (n_seeds - 1)) / (n * n_seeds)
    covariance = by_items + by_seeds - by_both
    off = np.array([1, -gain / gap])
    z2 = stats.norm.ppf(0.975) ** 2
    t2 = z2
    for part, freedom in ((by_items, n - 1), (by_seeds, n_seeds - 1)):
        share = min(off @ part @ off / (off @ covariance @ off), 1)
        t2 += share**2 * (stats.t.ppf(0.975, freedom) ** 2 - z2)
    held = np.linspace(-1, 3, 400_001)  # values of the ratio that are not refuted
    spread = covariance[0, 0] - 2 * held * covariance[0, 1] + held**2 * covariance[1, 1]
    inside = held[(gain - held * gap) ** 2 <= t2 * spread]
    return float(np.sqrt(covariance[1, 1])), float(inside[0]), float(inside[-1])


@pytest.mark.parametrize(("n_seeds", "size"), [(3, 1), (3, 7), (5, 20)])
def test_interval_is_that_of_the_crossed_design(grid: ToyGrid, n_seeds: int, size: int) -> None:
    right = seeds_of(np.random.default_rng(n_seeds + size), n_seeds, 400, size)
    for seed, (weak, transfer, ceiling) in enumerate(right.tolist()):
        grid.pair(weak, transfer, ceiling, seed=seed, group_size=size)
    (row,) = built(grid, "SELECT gap_se, u.pgr_low, u.pgr_high, interval_of FROM uncertainty AS u, pgr_by_pair")
    gap_se, low, high = crossed(right, size)
    assert row["gap_se"] == pytest.approx(gap_se)
    assert (row["pgr_low"], row["pgr_high"]) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))
    assert row["interval_of"] == "items and seeds"


def test_one_seed_is_marked_as_items_only(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    (row,) = built(grid, "SELECT interval_of, pgr_low < pgr AND pgr < pgr_high AS is_around FROM pgr_by_pair")
    assert row == {"interval_of": "items only", "is_around": True}


def test_rows_of_a_group_count_as_one_item(grid: ToyGrid, tmp_path: Path) -> None:
    other = ToyGrid(tmp_path, "other")
    single = [rights(60, 40), rights(70, 30), rights(40, 10, 30, 20)]
    weak, transfer, ceiling = ([answer for answer in answers for _ in range(3)] for answers in single)
    grid.pair(*single)
    other.pair(weak, transfer, ceiling, group_size=3)
    other.run()
    built(grid, "FROM pgr")
    found = rows(grid, "SELECT gap_se, n_items, pgr_low, pgr_high FROM uncertainty")
    assert found[0] == found[1]
    assert found[0]["n_items"] == 100
    assert rows(grid, "SELECT count(DISTINCT gap_se) AS n FROM pairs") == [{"n": 1}]


@pytest.mark.parametrize(
    ("df", "quantile"),
    [(0.5, 12.706), (1, 12.706), (2, 4.303), (3, 3.182), (10, 2.228), (30, 2.042), (1e9, 1.960)],
)
def test_quantiles_of_students_t_are_those_of_the_tables(df: float, quantile: float) -> None:
    with duckdb.connect() as connection:
        connection.execute(sql("schema"))
        connection.execute(sql("intervals"))
        assert connection.execute("SELECT t_quantile(?)", [df]).fetchone() == (pytest.approx(quantile, rel=1e-3),)


def test_interval_agrees_with_resampling_items_jointly(grid: ToyGrid) -> None:
    rng = random.Random(0)
    hardness = [rng.random() for _ in range(400)]
    weak, transfer, ceiling = ([rng.gauss(skill, 0.2) > h for h in hardness] for skill in (0.6, 0.7, 0.9))
    grid.pair(weak, transfer, ceiling)
    (row,) = built(grid, "SELECT pgr, pgr_low, pgr_high FROM pgr_by_pair")
    items = [(t - w, c - w) for w, t, c in zip(weak, transfer, ceiling, strict=True)]
    resampled = []
    for _ in range(2000):
        drawn = rng.choices(items, k=len(items))
        resampled.append(sum(gain for gain, _ in drawn) / sum(gap for _, gap in drawn))
    cuts = statistics.quantiles(resampled, n=40)
    assert row["pgr_low"] < row["pgr"] < row["pgr_high"]
    assert row["pgr_low"] == pytest.approx(cuts[0], abs=0.03)
    assert row["pgr_high"] == pytest.approx(cuts[-1], abs=0.03)


def test_gap_se_is_that_of_the_paired_differences(grid: ToyGrid) -> None:
    weak, ceiling = rights(60, 40), rights(40, 10, 30, 20)
    grid.pair(weak, rights(70, 30), ceiling)
    (row,) = built(grid, "SELECT gap_se FROM pairs")
    differences = [c - w for c, w in zip(ceiling, weak, strict=True)]
    assert row["gap_se"] == pytest.approx(statistics.stdev(differences) / 10)


def test_seeds_do_not_multiply_the_test_items(grid: ToyGrid) -> None:
    for seed in range(4):
        grid.pair(rights(60, 40), rights(70, 30), rights(85, 15), seed=seed)
    (one,) = built(grid, "SELECT DISTINCT gap_se FROM pairs")
    (over_seeds,) = rows(grid, "SELECT gap_se FROM uncertainty")
    assert over_seeds == one
