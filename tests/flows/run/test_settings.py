"""Pairs of completions from a grid to its results, through the same stages and views as texts of two classes."""

from __future__ import annotations

from pathlib import Path

from artifacts.results.query import run_query
from tests.harness import TINY, Project

GRID = {
    **TINY,
    "datasets": ["hh_rlhf"],
    "audit": True,
    "methods": ["logconf", "probe", "prompt", {"name": "adapted", "adapt": {"epochs": 1}}],
    "supervisors": [{"name": "long", "kind": "simulated", "accuracy": 0.75, "errors": "longest"}],
    "pairs": [["long", "m"]],
}


def test_reward_models_land_in_the_views_of_classifiers(tmp_path: Path) -> None:
    project = Project(tmp_path)

    ran = project.run(GRID)

    assert ran.failed == []
    assert ran.stages["adapt"] == ran.stages["features"] == ran.stages["audit"] == 1
    sql = "SELECT method, weak_acc, supervisor_acc, ceiling_acc, ceiling_plain_acc FROM pgr"
    rows = {row["method"]: row for row in run_query(project.home / "results.duckdb", sql).to_pylist()}
    assert rows.keys() == {"logconf", "probe", "prompt", "adapted"}
    assert {(row["weak_acc"], row["supervisor_acc"]) for row in rows.values()} == {(0.75, 0.75)}
    assert {row["ceiling_plain_acc"] for row in rows.values()} == {rows["logconf"]["ceiling_acc"]}
    # That of the dataset, whatever the model.
    sql = "SELECT DISTINCT metrics->>'longer_wins' AS share FROM nodes WHERE stage IN ('score', 'judge')"
    [longer_wins] = run_query(project.home / "results.duckdb", sql).to_pylist()
    assert 0 <= float(longer_wins["share"]) <= 1


OF_TEXTS = {
    **TINY,
    "datasets": ["arithmetic"],
    "audit": True,
    "seeds": [0, 1],
    "methods": ["xent", "zero_shot", {"name": "adapted", "adapt": {"epochs": 1}}],
}


def test_answers_that_are_texts_land_in_the_views_of_classifiers(tmp_path: Path) -> None:
    project = Project(tmp_path)

    ran = project.run(OF_TEXTS)

    assert ran.failed == []
    results = project.home / "results.duckdb"
    sql = "SELECT method, seed, weak_acc, transfer_acc, ceiling_acc FROM pgr"
    rows = run_query(results, sql).to_pylist()
    assert {(row["method"], row["seed"]) for row in rows} == {
        (method, seed) for method in ("xent", "zero_shot", "adapted") for seed in (0, 1)
    }
    assert all(0 <= row["transfer_acc"] <= 1 for row in rows)
    [agreed] = run_query(results, "SELECT count(*) AS n FROM agreement WHERE method = 'xent'").to_pylist()
    assert agreed["n"] > 0
    [said] = run_query(results, "SELECT count(answer) AS n, count(prob) AS probs FROM predictions").to_pylist()
    assert said["n"] > 0
    assert said["probs"] == 0
    [given] = run_query(results, "SELECT count(answer) AS n, count(prob) AS probs FROM labels").to_pylist()
    assert given["n"] > 0
    assert given["probs"] == 0


def test_classes_and_texts_stand_in_one_grid(tmp_path: Path) -> None:
    project = Project(tmp_path)

    assert project.run({**TINY, "datasets": ["sst2", "arithmetic"]}).failed == []

    sql = "SELECT DISTINCT dataset FROM pgr ORDER BY dataset"
    found = run_query(project.home / "results.duckdb", sql).to_pylist()
    assert [row["dataset"] for row in found] == ["arithmetic", "sst2"]
