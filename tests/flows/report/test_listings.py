"""What ``w2s methods`` says of every part."""

from __future__ import annotations

from flows.report.listings import methods_table
from w2s_core.methods.ensembles import WAYS
from w2s_core.methods.losses import LOSSES


def test_every_loss_has_one_line_that_says_what_it_is() -> None:
    rows = [row for row in methods_table().to_pylist() if row["part"] == "loss"]
    assert {row["name"] for row in rows} == set(LOSSES.names())
    assert all(row["what"] and "\n" not in row["what"] for row in rows)


def test_settings_have_defaults_bounds_and_choices() -> None:
    settings = {row["name"]: row["settings"] for row in methods_table().to_pylist()}
    assert "alpha_max = 0.5 (≥ 0, ≤ 1)" in settings["logconf"]
    assert "threshold = half (or match_prior, fixed, buffer)" in settings["logconf"]
    assert "radius = 0.15 (≥ 0, ≤ 1, or midweak)" in settings["window"]
    assert settings["ensemble"].startswith("models")
    assert "accuracy (> 0, ≤ 1)" in settings["simulated"]
    assert settings["hardness"] == "model = None"
    assert "by = mean (or logits, majority, accuracy)" in settings["ensemble"]


def test_ways_to_combine_an_ensemble_are_listed() -> None:
    rows = [row for row in methods_table().to_pylist() if row["part"] == "by"]
    assert [row["name"] for row in rows] == WAYS.names()
    assert {row["settings"] for row in rows} == {""}


def test_learners_are_listed() -> None:
    settings = {row["name"]: row["settings"] for row in methods_table().to_pylist() if row["part"] == "learn"}
    assert settings.keys() == {"finetune", "probe", "prompt"}
    assert settings["probe"].startswith("features = base (or weak, truth), l2 = ")
