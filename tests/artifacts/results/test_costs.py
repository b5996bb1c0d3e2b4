"""Hours, and what sharing and caching saved; a stage of the toy grid takes 1.5 s."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.toy_grid import ToyGrid, built, rights, rows


def test_pairs_that_share_supervisor_and_ceiling_would_cost_more_each_by_itself(tmp_path: Path) -> None:
    grid = ToyGrid(tmp_path)
    scores = {
        name: grid.score(rights(n, 1), model=name, training={"n_train": 8}) for n, name in enumerate("wstc", start=1)
    }
    for method, transfer in (("xent", "s"), ("logconf", "t")):
        grid.pairs.append(
            {
                "dataset": "boolq", "weak": "w", "strong": "c", "method": method, "seed": 0,
                "weak_score": scores["w"], "transfer_score": scores[transfer], "ceiling_score": scores["c"],
            }
        )  # fmt: skip

    [costs] = built(grid, "FROM costs")

    hours = {name: value * 3600 for name, value in costs.items() if name.startswith("hours")}
    assert hours == {
        "hours": pytest.approx(4 * 2 * 1.5),
        "hours_computed": pytest.approx(0),
        "hours_reused": pytest.approx(4 * 2 * 1.5),  # all of it is older than the run
        "hours_of_pairs": pytest.approx(4 * 2 * 1.5),
        "hours_unshared": pytest.approx(2 * 3 * 2 * 1.5),
        "hours_saved_by_sharing": pytest.approx(2 * 2 * 1.5),
    }
    assert costs["n_stages"] == 8
    stages = rows(
        grid, "SELECT stage, model, n, n_reused, examples_per_s FROM stage_costs WHERE model = 'w' ORDER BY 1"
    )
    assert stages == [
        {"stage": "score", "model": "w", "n": 1, "n_reused": 1, "examples_per_s": pytest.approx(2 / 1.5)},
        # How many epochs it had is not known.
        {"stage": "train_gt", "model": "w", "n": 1, "n_reused": 1, "examples_per_s": None},
    ]


def test_grid_without_pairs_has_its_hours(tmp_path: Path) -> None:
    grid = ToyGrid(tmp_path)
    grid.audit("ok")

    [costs] = built(grid, "FROM costs")

    assert costs["hours"] == pytest.approx(1.5 / 3600)
    assert costs["hours_unshared"] is None
