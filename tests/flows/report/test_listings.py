"""What ``w2s methods`` and ``w2s supervisors`` say of every part."""

from __future__ import annotations

from flows.plan.supervisors.supervisor import SUPERVISORS
from flows.report.listings import methods_table, supervisors_table
from w2s_core.methods.ensembles import WAYS
from w2s_core.methods.losses import LOSSES


def test_every_loss_has_one_line_that_says_what_it_is() -> None:
    rows = [row for row in methods_table().to_pylist() if row["part"] == "loss"]
    assert {row["name"] for row in rows} == set(LOSSES.names())
    assert all(row["what"] and "\n" not in row["what"] for row in rows)


def test_settings_have_defaults_bounds_and_choices() -> None:
    rows = [*methods_table().to_pylist(), *supervisors_table().to_pylist()]
    settings = {row["name"]: row["settings"] for row in rows}
    assert "alpha_max = 0.5 (≥ 0, ≤ 1)" in settings["logconf"]
    assert "threshold = half (or match_prior, fixed, buffer)" in settings["logconf"]
    assert "radius = 0.15 (≥ 0, ≤ 1, or midweak)" in settings["window"]
    assert settings["ensemble"].startswith("models")
    assert "accuracy (> 0, ≤ 1)" in settings["simulated"]
    assert settings["hardness"] == "model = None"
    assert "by = mean (or logits, majority, accuracy)" in settings["ensemble"]


def test_every_kind_of_supervisor_has_one_line_that_says_what_it_is() -> None:
    rows = [row for row in supervisors_table().to_pylist() if row["part"] == "kind"]
    assert [row["name"] for row in rows] == SUPERVISORS.names()
    assert all(row["what"] and row["settings"] and "\n" not in row["what"] for row in rows)


def test_where_parts_were_published_is_said() -> None:
    rows = [*methods_table().to_pylist(), *supervisors_table().to_pylist()]
    sources = {row["name"]: row["source"] for row in rows}
    assert sources["logconf"] == "Burns et al. 2023, section 4.3 and appendix A.4"
    assert sources["adapt"] == "Burns et al. 2023, section 5.2.2"
    assert sources["simulated"] == "Burns et al. 2023, appendix E"
    assert sources["clip"] is None


def test_ways_to_combine_an_ensemble_are_listed() -> None:
    rows = [row for row in supervisors_table().to_pylist() if row["part"] == "by"]
    assert [row["name"] for row in rows] == WAYS.names()
    assert {row["settings"] for row in rows} == {""}


def test_learners_are_listed() -> None:
    settings = {row["name"]: row["settings"] for row in methods_table().to_pylist() if row["part"] == "learn"}
    assert settings.keys() == {"finetune", "probe", "prompt"}
    assert settings["probe"].startswith("features = base (or weak, truth), layer = last (or middle, ≥ 1), l2 = ")
