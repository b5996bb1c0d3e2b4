"""Pairs of completions from a grid to its results, through the same stages and views as texts of two classes."""

from __future__ import annotations

from pathlib import Path

from artifacts.results.query import run_query
from tests.harness import TINY, Project

GRID = {
    **TINY,
    "datasets": ["sst2", "hh_rlhf"],
    "audit": True,
    "methods": ["logconf", "probe", "prompt", "disagree", {"name": "adapted", "adapt": {"epochs": 1}}],
    "supervisors": [{"name": "long", "kind": "simulated", "accuracy": 0.75, "errors": "longest"}],
    "pairs": [["s", "m"], ["long", "m"]],
}


def test_reward_models_land_beside_classifiers_in_the_same_views(tmp_path: Path) -> None:
    project = Project(tmp_path)

    ran = project.run(GRID)

    assert ran.failed == []
    sql = "SELECT dataset, weak, method, weak_acc, ceiling_plain_acc FROM pgr"
    rows = run_query(project.home / "results.duckdb", sql).to_pylist()
    of = {name: {(row["weak"], row["method"]) for row in rows if row["dataset"] == name} for name in GRID["datasets"]}
    assert of["hh_rlhf"] == of["sst2"]
    assert len(of["hh_rlhf"]) == 2 * 5
    assert {row["weak_acc"] for row in rows if row["weak"] == "long"} == {0.75}
    sql = """SELECT DISTINCT dataset, metrics->>'longer_wins' AS longer_wins FROM nodes WHERE stage = 'score'
        ORDER BY dataset"""
    beside = run_query(project.home / "results.duckdb", sql).to_pylist()
    # That of the dataset, whatever the model; of texts of two classes there is none.
    assert [row["dataset"] for row in beside] == ["hh_rlhf", "sst2"]
    assert beside[0]["longer_wins"] is not None
    assert beside[1]["longer_wins"] is None
    assert project.run(GRID).executed == []
