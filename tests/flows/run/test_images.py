"""Images of several classes from a grid to its results, through the same stages and views as texts of two."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from artifacts.results.query import run_query
from tests.harness import Project

GRID = {
    "name": "tiny",
    "datasets": ["images"],
    "models": [
        {"name": "s", "pretrain_images": {"widths": [4], "depths": [1]}, "lr": 0.01},
        {"name": "m", "pretrain_images": {"widths": [8, 8], "depths": [1, 1], "n_steps": 2, "batch_size": 4}},
    ],
    "methods": ["logconf", "probe", {"name": "near", "labels": [{"kind": "relabel", "k": 3}]}],
    "supervisors": [{"name": "two", "kind": "ensemble", "models": ["s"], "n_seeds": 2}],
    "pairs": [["s", "m"], ["two", "m"]],
    "data": {"n_train": 40, "n_validation": 10, "n_test": 20},
    "training": {"epochs": 1, "batch_size": 8},
}


def test_image_classifiers_land_in_the_views_of_text_classifiers(tmp_path: Path) -> None:
    project = Project(tmp_path)

    ran = project.run(GRID)

    assert ran.failed == []
    assert ran.stages["pretrain_images"] == 2
    assert ran.stages["features"] == ran.stages["audit"] == 1
    results = project.home / "results.duckdb"
    rows = run_query(results, "SELECT weak, method, ceiling_acc, ceiling_plain_acc FROM pgr").to_pylist()
    assert {(row["weak"], row["method"]) for row in rows} == {
        (weak, method) for weak in ("s", "two") for method in ("logconf", "probe", "near")
    }
    # Which classes were answered, where there is no probability of class 1.
    [found] = run_query(
        results, "SELECT count(prob) AS n, min(answer) AS low, max(answer) AS high FROM predictions"
    ).to_pylist()
    assert found["n"] == 0
    assert "0" <= found["low"] <= found["high"] <= "4"
    wrong = "SELECT count(*) AS n FROM outcomes WHERE agrees AND transfer_right <> supervisor_right"
    assert run_query(results, wrong).to_pylist() == [{"n": 0}]
    [labels] = project.artifacts("combine")
    probs = pq.read_table(labels / "test.parquet")["probs"].to_pylist()
    assert {len(of_row) for of_row in probs} == {5}
    assert max(abs(sum(of_row) - 1) for of_row in probs) < 1e-9
