"""The smallest difference that a grid detects, against its definition and by simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from artifacts.errors import UsageError
from artifacts.results.build import build
from artifacts.results.power import Spread, earlier, smallest, stated
from flows.home import output_kinds
from flows.plan.grid import GridConfig
from flows.report.power import Power
from tests.toy_grid import ToyGrid, rights


def test_one_seed_detects_what_items_show() -> None:
    found = smallest(Spread(0.4, 0, 0, None), n_items=1_000, n_seeds=1, n_datasets=1)
    assert found.on_one == pytest.approx((1.96 + 0.84) * 0.4 / 1_000**0.5, rel=3e-3)
    assert found.over_all is None


def test_mean_over_datasets_is_found_as_often_as_is_said() -> None:
    spread, n_datasets = Spread(0.4, 0.2, 0.01, 0.02), 6
    found = smallest(spread, n_items=500, n_seeds=3, n_datasets=n_datasets).over_all
    assert found is not None
    deviation = (0.02**2 + 0.4**2 / 500 + 0.01**2 / 3 + 0.2**2 / 1500) ** 0.5
    differences = np.random.default_rng(0).normal(found, deviation, (20_000, n_datasets))
    detected = stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05
    assert detected.mean() == pytest.approx(0.8, abs=0.01)


def test_more_seeds_items_and_datasets_detect_less() -> None:
    spread = Spread(0.4, 0.2, 0.02, 0.02)
    few = smallest(spread, 500, 3, 6)
    for more in (smallest(spread, 1_000, 3, 6), smallest(spread, 500, 5, 6), smallest(spread, 500, 3, 22)):
        assert more.over_all is not None
        assert few.over_all is not None
        assert more.over_all < few.over_all


@pytest.mark.parametrize("text", ["0.4", "0.4,x,0", "0.4,0.01,2", "0,0,0.1", "0.4,-0.1,0"])
def test_stated_spread_that_is_none_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(UsageError, match="--spread ITEMS,SEEDS,DATASETS, such as"):
        stated(text, None)


def test_stated_gap_turns_accuracy_into_pgr() -> None:
    assert stated("0.4,0.01,0.02", 0.2)["PGR"] == pytest.approx((2, 0, 0.05, 0.1))
    assert "PGR" not in stated("0.4,0.01,0.02", None)
    with pytest.raises(UsageError, match="--gap 0: "):
        stated("0.4,0.01,0.02", 0.0)


def test_spread_of_earlier_runs_is_that_of_their_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid, n_rows = ToyGrid(tmp_path), 200
    hard = rng.normal(size=(2, 1, n_rows))  # of each method, in every seed
    student = hard + 0.5 * rng.normal(size=(2, 4, n_rows)) + 0.2 * rng.normal(size=(2, 4, 1)) + 0.6 > 0
    for seed in range(4):
        for method, right in zip(("xent", "logconf"), student[:, seed].tolist(), strict=True):
            grid.pair(rights(100, 100), right, rights(190, 10), method=method, seed=seed)
    grid.run()
    build(grid.store, grid.results, output_kinds)

    found = earlier(grid.results, ["boolq"])

    difference = student[1].astype(float) - student[0]
    items, seeds = difference.mean(axis=0), difference.mean(axis=1)
    rest = difference - items - seeds[:, None] + difference.mean()
    inter = (rest**2).sum() / (3 * (n_rows - 1))
    spread = found.spreads["accuracy"]
    assert spread.answers == pytest.approx(inter**0.5)
    assert spread.items == pytest.approx((items.var(ddof=1) - inter / 4) ** 0.5)
    assert spread.seeds == pytest.approx(max(seeds.var(ddof=1) - inter / n_rows, 0) ** 0.5)
    assert spread.datasets is None  # of one
    assert (found.n_differences["accuracy"], found.grids, found.n_datasets, found.items_per_row) == (1, ["toy"], 1, 1)
    lines = "\n".join(Power(GridConfig(datasets=("boolq",), seeds=(0, 1)), grid.results, None, None).lines())
    assert "from 1 difference of earlier runs (toy; 1 dataset)" in lines


def test_what_is_not_known_is_to_be_stated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not known .*; state it as --spread"):
        earlier(tmp_path / "results.duckdb", [])
    grid = ToyGrid(tmp_path)
    for method, n_right in (("xent", 70), ("logconf", 80)):
        grid.pair(rights(60, 40), rights(n_right, 100 - n_right), rights(95, 5), method=method)
    grid.run()
    build(grid.store, grid.results, output_kinds)
    with pytest.raises(UsageError, match="no earlier run compares methods on two seeds"):
        earlier(grid.results, [])


def test_stated_spread_is_said_to_be_stated(tmp_path: Path) -> None:
    power = Power(GridConfig(datasets=("boolq", "sciq")), tmp_path / "results.duckdb", "0.4,0.01,0.02", None)
    lines = power.lines()
    assert any("as stated: items 0.400" in line for line in lines)
    assert any("--gap" in line for line in lines)
    assert power.records()["spread"] == {
        "accuracy": {"source": "as stated", "items": 0.4, "answers": 0.0, "seeds": 0.01, "datasets": 0.02}
    }
