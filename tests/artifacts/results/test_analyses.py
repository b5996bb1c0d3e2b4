"""Views on errors, confidence and calibration, against their definitions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from artifacts.identity.keys import JSON
from flows.home import output_kinds
from flows.plan.load import load_grid
from tests.toy_grid import ToyGrid, built, rights, rows


@pytest.fixture
def grid(tmp_path: Path) -> ToyGrid:
    return ToyGrid(tmp_path)


def kappa(one: np.ndarray, other: np.ndarray) -> float:
    """Cohen's, of two vectors of yes and no."""
    chance = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    return float(((one == other).mean() - chance) / (1 - chance))


def test_errors_are_inherited_corrected_and_new(grid: ToyGrid) -> None:
    # Of 6 items that the supervisor has right the student has 5; of its 4 errors the student repeats 3.
    grid.pair(rights(6, 4), rights(5, 1, 1, 3), rights(10))

    (row,) = built(grid, "FROM errors")

    assert (row["n"], row["n_wrong"]) == (10, 4)
    assert (row["inheritance"], row["correction"], row["new_errors"]) == (0.75, 0.25, pytest.approx(1 / 6))
    # The ceiling makes no error.
    assert (row["phi_control"], row["kappa_control"]) == (None, 0)


def test_correlation_of_errors_is_that_of_student_and_of_the_ceiling_with_the_supervisor(grid: ToyGrid) -> None:
    rng = random.Random(0)
    weak, transfer, ceiling = ([rng.random() < skill for _ in range(60)] for skill in (0.6, 0.7, 0.8))
    grid.pair(weak, transfer, ceiling)

    (row,) = built(grid, "FROM errors")

    for name, other in (("", transfer), ("_control", ceiling)):
        assert row[f"phi{name}"] == pytest.approx(np.corrcoef(weak, other)[0, 1])
        assert row[f"kappa{name}"] == pytest.approx(kappa(np.array(weak), np.array(other)))


def test_self_training_has_no_control(grid: ToyGrid) -> None:
    grid.pair(rights(6, 4), rights(7, 3), None, names=("small", "small"))

    (row,) = built(grid, "SELECT correction, phi_control, kappa_control FROM errors")

    assert row == {"correction": 0.25, "phi_control": None, "kappa_control": None}


def given(grid: ToyGrid, low: float) -> None:
    """A pair whose supervisor says ``low`` or 0.9 of items of which it has 6 of 10, and whose student 0.1 or 0.9."""
    grid.pair(rights(6, 4), rights(8, 2), rights(10))
    labels: dict[str, JSON] = {"model": "small", "kind": "gt"}
    grid.pairs[0]["weak_score"] = grid.score(rights(6, 4), low=low, **labels)


def test_correction_is_counted_by_how_sure_the_supervisor_is(grid: ToyGrid) -> None:
    given(grid, low=0.45)  # items of class 0 are even ones where the supervisor is right, and odd ones where it is not

    found = built(grid, "SELECT * EXCLUDE (grid, dataset, weak, strong, method, seed) FROM correction_by_confidence")

    assert sorted(found, key=lambda row: row["confidence_from"]) == [
        {"confidence_from": 0.0, "confidence_to": 0.2, "n": 5, "n_wrong": 2, "correction": 0.5, "new_errors": 0.0},
        {"confidence_from": 0.8, "confidence_to": 1.0, "n": 5, "n_wrong": 2, "correction": 0.5, "new_errors": 0.0},
    ]


def test_misfit_and_gain_are_mean_squares(grid: ToyGrid) -> None:
    given(grid, low=0.4)

    (row,) = built(grid, "SELECT misfit, gain, gain_per_misfit FROM misfit")

    truth = np.arange(10) % 2
    supervisor = np.where((truth == 1) == (np.arange(10) < 6), 0.9, 0.4)
    student = np.where((truth == 1) == (np.arange(10) < 8), 0.9, 0.1)
    misfit = np.mean((student - supervisor) ** 2)
    gain = np.mean((supervisor - truth) ** 2) - np.mean((student - truth) ** 2)
    assert row == {key: pytest.approx(value) for key, value in zip(row, (misfit, gain, gain / misfit), strict=True)}


def test_calibration_is_the_share_of_class_1_by_bin(grid: ToyGrid) -> None:
    given(grid, low=0.4)

    found = built(
        grid,
        "SELECT n, mean_prob, share_of_class_1, round(prob_from * 15) AS bin FROM calibration "
        f"WHERE key = '{grid.pairs[0]['weak_score']}' ORDER BY bin",
    )

    assert found == [
        {"n": 5, "mean_prob": pytest.approx(0.4), "share_of_class_1": 0.4, "bin": 6},
        {"n": 5, "mean_prob": pytest.approx(0.9), "share_of_class_1": 0.6, "bin": 13},
    ]


def test_slope_of_inheritance_is_a_least_squares_line_over_the_sizes_of_students(grid: ToyGrid) -> None:
    sizes, inherited = {"m": 1_000, "l": 10_000, "xl": 50_000}, {"m": 4, "l": 2, "xl": 1}
    for name, size in sizes.items():
        student = rights(6, inherited[name], 4 - inherited[name])
        grid.pair(rights(6, 4), rights(6, 4), rights(10), names=("small", name))
        labels: dict[str, JSON] = {"model": name, "kind": "w2s", "supervisor": "small", "method": "xent"}
        grid.pairs[-1]["transfer_score"] = grid.score(student, training={"n_parameters": size}, **labels)

    (row,) = built(grid, "SELECT slope, slope_se, n_sizes FROM inheritance_by_size")

    x, y = np.log(list(sizes.values())), np.array(list(inherited.values())) / 4
    slope, start = np.polyfit(x, y, 1)
    error = np.sqrt(np.sum((y - start - slope * x) ** 2) / 1 / np.sum((x - x.mean()) ** 2))
    assert row == {"slope": pytest.approx(slope), "slope_se": pytest.approx(error), "n_sizes": 3}
    assert rows(grid, "SELECT count(*) AS n FROM inheritance_by_size WHERE slope >= 0") == [{"n": 0}]


def test_quality_of_labels_is_told_by_supervisor_and_split(grid: ToyGrid) -> None:
    measured: dict[str, JSON] = {
        "accuracy_test": 0.7, "certainty_test": 0.1, "ece_test": 0.2, "length_correlation_test": None,
    }  # fmt: skip
    model = grid.weak_labels(metrics=measured, dataset="boolq", model="small", seed=1)
    people = grid.weak_labels("import_labels", {"accuracy_transfer_train": 0.9}, dataset="boolq", supervisor="people")
    grid.weak_labels("treat", dataset="boolq", supervisor="small")

    assert built(grid, "FROM label_quality ORDER BY supervisor") == [
        {
            "dataset": "boolq", "supervisor": "people", "seed": None, "split": "transfer_train",
            "key": people, "accuracy": 0.9, "certainty": None, "ece": None,
            "length_correlation": None,
        },
        {
            "dataset": "boolq", "supervisor": "small", "seed": 1, "split": "test", "key": model,
            "accuracy": 0.7, "certainty": 0.1, "ece": 0.2, "length_correlation": None,
        },
    ]  # fmt: skip


def test_published_numbers_stand_beside_those_of_the_same_dataset_and_method(grid: ToyGrid) -> None:
    seed_rows = rights(50, 50), rights(70, 30), rights(90, 10)
    grid.pair(*seed_rows, dataset="boolq", names=("gpt2", "gpt2-xl"))

    found = built(grid, "FROM beside_published")

    ours = {(row["metric"], row["weak"]): (row["ours"], row["n"]) for row in found if "notebook" in row["source"]}
    # The ceiling, a gpt2-xl, and the supervisor, a gpt2, have numbers of their own; and the pair, by its method.
    assert ours[("accuracy", "gpt2")] == (0.5, 1)
    assert ours[("accuracy", "gpt2-xl")] == (0.9, 1)
    assert ours[("pgr", "gpt2 … qwen-14b")] == (pytest.approx(0.5), 1)
    assert {row["dataset"] for row in found} == {"boolq"}
    assert {row["our_source"] for row in found} == {None}


def test_published_numbers_of_a_supervisor_stand_beside_the_one_of_its_name(grid: ToyGrid) -> None:
    for right, weak in ((70, "gpt2"), (80, "debate-ensemble")):
        grid.pair(rights(50, 50), rights(right, 100 - right), rights(90, 10), names=("gpt2", "gpt2-xl"))
        grid.pairs[-1]["weak"] = weak  # whose plain supervisor is the model
    grid.publish("prepare", {"train": pa.table({"id": ["a"]})}, {"dataset": "boolq"}, {})

    def kinds(stage: str, params: Mapping[str, JSON]) -> Mapping[str, str]:
        return {} if stage == "prepare" else output_kinds(stage, params)

    found = built(grid, "FROM beside_published WHERE metric = 'pgr' AND method = 'xent' AND source LIKE 'Lang%'", kinds)

    beside = {row["supervisor"]: (row["published"], row["ours"]) for row in found}
    assert beside == {None: (0.513, pytest.approx(0.5)), "debate-ensemble": (0.692, pytest.approx(0.75))}
    assert {row["our_source"] for row in found} == {"folder"}


def test_published_numbers_say_where_they_are_from_and_how_sure(grid: ToyGrid) -> None:
    found = built(grid, "FROM published")
    assert len(found) > 400
    assert all(row["source"] and row["metric"] and row["certainty"] and row["value"] is not None for row in found)
    assert {row["metric"] for row in found} == {"accuracy", "auroc", "pgr", "pgr_auroc"}


def test_supervisors_of_published_numbers_are_those_of_the_preset(grid: ToyGrid) -> None:
    named = {row["supervisor"] for row in built(grid, "FROM published WHERE supervisor IS NOT NULL")}

    assert named == {"debate-ensemble", "single", "finetune-ensemble", "consultancy", "market-making"}
    assert named <= {supervisor.name for supervisor in load_grid("debate", {}).supervisors}
