"""Students that are probes, prompted, or start from an adapted model, from a grid to its results."""

from __future__ import annotations

from pathlib import Path

from artifacts.results.query import run_query
from tests.harness import TINY, Project

METHODS = ["xent", *({"name": f, "learn": {"kind": "probe", "features": f}} for f in ("base", "weak", "truth"))]


def test_probes_on_all_features_land_beside_finetuned_students(tmp_path: Path) -> None:
    project = Project(tmp_path)

    ran = project.run({**TINY, "methods": METHODS})

    assert ran.failed == []
    assert ran.stages["features"] == 3
    assert ran.stages["fit_probe"] == ran.stages["judge"] == 6
    sql = "SELECT method, transfer_acc, ceiling_acc, ceiling_plain_acc, label_certainty FROM pgr"
    rows = {row["method"]: row for row in run_query(project.home / "results.duckdb", sql).to_pylist()}
    assert rows.keys() == {"xent", "base", "weak", "truth-oracle"}
    assert {row["ceiling_plain_acc"] for row in rows.values()} == {rows["xent"]["ceiling_acc"]}
    assert {row["label_certainty"] for row in rows.values()} == {rows["xent"]["label_certainty"]}
    fitted = [m for m in project.manifests() if m["stage"] == "fit_probe"]
    accuracies = {m["labels"]["method"]: m["metrics"]["validation_accuracy"] for m in fitted}
    assert len(accuracies) == 6
    sql = "SELECT DISTINCT supervisor FROM label_quality"
    assert run_query(project.home / "results.duckdb", sql).to_pylist() == [{"supervisor": "s"}]
    assert project.run({**TINY, "methods": METHODS}).executed == []


def test_salience_of_truth_and_errors_lands_for_each_pair(tmp_path: Path) -> None:
    project = Project(tmp_path)

    ran = project.run({**TINY, "salience": True, "methods": ["xent", "probe"]})

    assert ran.failed == []
    # On the features that the probe has.
    assert (ran.stages["salience"], ran.stages["features"]) == (1, 1)
    found = run_query(project.home / "results.duckdb", "FROM salience").to_pylist()
    assert {(row["supervisor"], row["model"], row["what"]) for row in found} == {
        ("s", "m", "truth"), ("s", "m", "labels"), ("s", "m", "errors"),
    }  # fmt: skip
    assert all(row["gain"] is not None and row["bits"] > 0 for row in found)


def test_adapted_and_prompted_models_land_against_both_ceilings(tmp_path: Path) -> None:
    project = Project(tmp_path)

    ran = project.run({**TINY, "methods": ["xent", {"name": "adapted", "adapt": {"epochs": 1}}, "prompt", "zero_shot"]})

    assert ran.failed == []
    assert (ran.stages["adapt"], ran.stages["train_w2s"]) == (1, 2)
    # Weak examples, true ones, none.
    assert ran.stages["prompt"] == ran.stages["judge"] == 3
    sql = "SELECT method, ceiling_acc, ceiling_plain_acc FROM pgr"
    rows = {row["method"]: row for row in run_query(project.home / "results.duckdb", sql).to_pylist()}
    assert {row["ceiling_plain_acc"] for row in rows.values()} == {rows["xent"]["ceiling_acc"]}
    assert rows["zero_shot"]["ceiling_acc"] == rows["xent"]["ceiling_acc"]
