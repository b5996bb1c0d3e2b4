"""Supervisors besides the ladder, from a grid to its results."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from artifacts.results.query import run_query
from flows.cli.data import show_examples
from tests.harness import TINY, Project

MODELS = [*TINY["models"], {**TINY["models"][1], "name": "l", "lr": 0.02}]


def label_all(folder: Path, prob: str) -> dict[str, Any]:
    """A supervisor that says the same of every row that there is to label."""
    grid = folder / "grid.toml"
    grid.write_text('datasets = ["sst2"]\n[data]\nn_train = 24\nn_validation = 8\nn_test = 12\n')
    show_examples("sst2", ids=True, grid=str(grid), output=folder / "rows.csv", format="csv", n=1)
    with (folder / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == {"split", "id", "passage", "prompt"}
    (folder / "given.csv").write_text("id,prob\n" + "".join(f"{row['id']},{prob}\n" for row in rows))
    return {"name": "people", "kind": "labels", "path": str(folder / "given.csv")}


def accuracies(project: Project, weak: str) -> dict[str, Any]:
    sql = f"SELECT weak_acc, supervisor_acc, ceiling_plain_acc, ceiling_acc FROM pgr WHERE weak = '{weak}'"
    [row] = run_query(project.home / "results.duckdb", sql).to_pylist()
    return row


def test_students_of_other_supervisors_land_with_the_accuracy_of_their_labels(tmp_path: Path) -> None:
    project = Project(tmp_path)
    ensemble = {"name": "both", "kind": "ensemble", "models": ["s", "m"], "by": "accuracy", "n_seeds": 2}
    supervisors = [label_all(tmp_path, "1"), ensemble]

    ran = project.run({**TINY, "models": MODELS, "supervisors": supervisors, "pairs": [["people", "m"], ["both", "l"]]})

    assert ran.failed == []
    assert ran.stages["import_labels"] == ran.stages["combine"] == 1
    scores = run_query(project.home / "results.duckdb", "SELECT kind, supervisor, accuracy FROM scores").to_pylist()
    judged = {row["supervisor"]: row["accuracy"] for row in scores if row["kind"] == "labels"}
    # Half of a balanced test split is of the class that it always names.
    assert judged["people"] == 0.5
    for name in judged:
        found = accuracies(project, name)
        assert found["supervisor_acc"] == judged[name]
        assert found["ceiling_plain_acc"] == found["ceiling_acc"]
    assert accuracies(project, "people")["weak_acc"] == judged["people"]
    sql = """SELECT (metrics->>'n_members')::INT AS n_members, (metrics->>'accuracy_test')::DOUBLE AS accuracy
        FROM nodes WHERE stage = 'combine'"""
    [combined] = run_query(project.home / "results.duckdb", sql).to_pylist()
    assert combined == {"n_members": 4, "accuracy": judged["both"]}
    # With two classes, the student is right where it agrees with right labels, or differs from wrong ones.
    sql = """SELECT agreement.transfer_acc, agreement_right AS r, agreement_wrong AS w, supervisor_acc AS s
        FROM agreement JOIN pgr USING (grid, dataset, weak, strong, method, seed)"""
    for row in run_query(project.home / "results.duckdb", sql).to_pylist():
        agreeing, differing = (row["r"] or 0) * row["s"], (1 - (row["w"] or 0)) * (1 - row["s"])
        assert row["transfer_acc"] == pytest.approx(agreeing + differing)


def test_ensembles_of_rows_of_their_own_land_with_members_and_the_control(tmp_path: Path) -> None:
    project = Project(tmp_path)
    supervisors = [
        {"name": "bags", "kind": "ensemble", "models": ["s"], "n_seeds": 2, "bag": True},
        {"name": "boost", "kind": "boosted", "model": "s", "n_rounds": 2},
        {"name": "longer", "kind": "longer", "model": "s", "times": 2},
    ]

    ran = project.run({**TINY, "supervisors": supervisors, "pairs": [[spec["name"], "m"] for spec in supervisors]})

    assert ran.failed == []
    # The usual one, two bags, the second round, the longer one; and the ceiling.
    assert ran.stages["train_gt"] == 1 + 2 + 1 + 1 + 1
    assert (ran.stages["bag"], ran.stages["boost"], ran.stages["vote"]) == (2, 2, 1)
    assert len({accuracies(project, spec["name"])["weak_acc"] for spec in supervisors}) == 1
    sql = "SELECT supervisor, n_members, accuracy, member_accuracy, disagreement FROM ensembles WHERE split = 'test'"
    found = {row["supervisor"]: row for row in run_query(project.home / "results.duckdb", sql).to_pylist()}
    assert found.keys() == {"bags", "boost"}
    for name, row in found.items():
        assert row["n_members"] == 2
        assert row["accuracy"] == accuracies(project, name)["supervisor_acc"]
        first = "OR (model = 's' AND method IS NULL)" if name == "boost" else ""
        sql = f"SELECT avg(accuracy) AS mean FROM scores WHERE kind = 'gt' AND (method LIKE '{name}%' {first})"
        [mean] = run_query(project.home / "results.duckdb", sql).to_pylist()
        assert row["member_accuracy"] == pytest.approx(mean["mean"])
    assert project.run({**TINY, "supervisors": supervisors, "pairs": [["bags", "m"]]}).executed == []


def test_chains_train_on_parts_and_land_beside_the_direct_pair(tmp_path: Path) -> None:
    project = Project(tmp_path)
    supervisors = [{"name": "chain", "kind": "student", "of": "s", "models": ["m", "m"]}]
    pairs = [["s", "l"], ["chain", "l"]]
    data = {**TINY["data"], "n_train": 48, "n_parts": 3}

    ran = project.run({**TINY, "models": MODELS, "supervisors": supervisors, "pairs": pairs, "data": data})

    assert ran.failed == []
    # Those of the chain, and the students of either pair.
    assert ran.stages["train_w2s"] == 2 + 2
    direct, found = accuracies(project, "s"), accuracies(project, "chain")
    assert (found["weak_acc"], found["ceiling_acc"]) == (direct["weak_acc"], direct["ceiling_acc"])
    sql = "SELECT half, accuracy FROM scores WHERE method = 'chain' ORDER BY half"
    scores = run_query(project.home / "results.duckdb", sql).to_pylist()
    assert [row["half"] for row in scores] == ["part.1", "part.2"]
    assert found["supervisor_acc"] == scores[-1]["accuracy"]
    sql = "SELECT supervisor, split FROM label_quality WHERE split NOT IN ('validation', 'test') ORDER BY ALL"
    labelled = run_query(project.home / "results.duckdb", sql).to_pylist()
    assert [tuple(row.values()) for row in labelled] == [
        ("m", "part.2"), ("m", "transfer_train"), ("s", "part.1"), ("s", "transfer_train"),
    ]  # fmt: skip


def test_simulated_supervisors_have_the_accuracy_that_was_asked_for(tmp_path: Path) -> None:
    project = Project(tmp_path)
    supervisors = [
        {"name": kind, "kind": "simulated", "accuracy": 0.75, "errors": kind}
        for kind in ("cluster", "hardness", "real")
    ]

    ran = project.run({**TINY, "supervisors": supervisors, "pairs": [[spec["name"], "m"] for spec in supervisors]})

    assert ran.failed == []
    assert ran.stages["simulate"] == 3
    for spec in supervisors:
        found = accuracies(project, spec["name"])
        assert (found["weak_acc"], found["supervisor_acc"]) == (0.75, 0.75)
