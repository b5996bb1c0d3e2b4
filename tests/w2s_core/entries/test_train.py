"""The training stages: what they read, write and measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.tiny_models import model_params, prob_of_1, tiny_base, toy_rows, training_params, write_rows
from w2s_core.data.rows import Rows, only, write_weak_probs
from w2s_core.entries.train import train_gt, train_w2s
from w2s_core.errors import DataError
from w2s_core.models.classifier import load
from w2s_core.stages import LAST, model_output
from w2s_core.watch import Silent

N_TRAIN, N_VALIDATION = 160, 30


class Recorder(Silent):
    """Keeps the curve."""

    def __init__(self, eval_at: tuple[float, ...]) -> None:
        super().__init__(eval_at=eval_at)
        self.rows: list[Mapping[str, float]] = []

    def curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        self.rows += rows


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    return inputs_in(tmp_path)


def inputs_in(folder: Path) -> dict[str, Path]:
    """Rows, labels and a base model."""
    train, validation = toy_rows(N_TRAIN), toy_rows(N_VALIDATION, seed=1)
    paths = {
        "base": tiny_base(folder / "base"),
        "train": write_rows(folder / "train.parquet", train),
        "validation": write_rows(folder / "validation.parquet", validation),
        "labels": folder / "labels.parquet",
        "validation_labels": folder / "validation_labels.parquet",
    }
    # A supervisor that is sure, and right but for a few of the training rows, in another order of rows.
    for rows, name, n_wrong in ((train, "labels", N_TRAIN // 16), (validation, "validation_labels", 0)):
        probs = 0.02 + 0.96 * rows.gt_labels
        probs[:n_wrong] = 1 - probs[:n_wrong]
        write_weak_probs(paths[name], rows.ids[::-1], probs[::-1])
    return paths


def params(**changes: Any) -> dict[str, Any]:
    return {
        "setting": "classify",
        "stop": [{"rule": "final"}],
        "model": model_params(head="small", lr=2e-2),
        "training": training_params(epochs=3),
        "loss": {"loss": "xent"},
        "seed": 0,
    } | changes


def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def ground_truth(inputs: dict[str, Path]) -> dict[str, Path]:
    return {name: inputs[name] for name in ("base", "train", "validation")}


class Trained(NamedTuple):
    """What a training gave."""

    metrics: dict[str, Any]
    folder: Path


@pytest.fixture(scope="module")
def on_truth(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A training on ground truth."""
    folder = tmp_path_factory.mktemp("truth")
    made = out(folder)
    return Trained(train_gt(params(), ground_truth(inputs_in(folder)), made, Silent()), made)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A training on weak labels."""
    folder = tmp_path_factory.mktemp("student")
    made = out(folder)
    return Trained(train_w2s(params(), inputs_in(folder), made, Silent()), made)


def test_ground_truth_training_reports_itself(on_truth: Trained) -> None:
    metrics = on_truth.metrics
    assert metrics.keys() == {
        "n_train", "n_truncated", "n_steps", "train_loss", "near_chance", "train_label_accuracy",
        "label_certainty", "n_parameters",
        "validation_accuracy",
    }  # fmt: skip
    assert metrics["near_chance"] is False
    assert (metrics["n_train"], metrics["n_steps"], metrics["train_label_accuracy"]) == (N_TRAIN, 60, 1.0)
    assert metrics["validation_accuracy"] > 0.9


def test_saved_model_is_the_trained_one(on_truth: Trained) -> None:
    validation = toy_rows(N_VALIDATION, seed=1)
    probs = prob_of_1(load(on_truth.folder / "model"), validation, Silent())
    assert on_truth.metrics["validation_accuracy"] == np.mean((probs > 0.5) == validation.gt_labels)


def test_model_with_adapters_is_saved_merged(inputs: dict[str, Path], tmp_path: Path) -> None:
    model = model_params(head="small", lora={"rank": 4, "alpha": 8.0, "dropout": 0.0})
    metrics = train_gt(params(model=model), ground_truth(inputs), out(tmp_path), Silent())
    validation = toy_rows(N_VALIDATION, seed=1)
    probs = prob_of_1(load(tmp_path / "out" / "model"), validation, Silent())
    assert metrics["validation_accuracy"] == np.mean((probs > 0.5) == validation.gt_labels)


def test_student_learns_the_labels_joined_by_id(student: Trained) -> None:
    metrics = student.metrics
    assert metrics["train_label_accuracy"] == 0.9375
    assert metrics["validation_accuracy"] == metrics["validation_agreement"] > 0.8


def test_student_never_sees_ground_truth(student: Trained, inputs: dict[str, Path], tmp_path: Path) -> None:
    rows = toy_rows(N_TRAIN)
    rows.gt_labels[:] = 1
    write_rows(inputs["train"], rows)
    (tmp_path / "again").mkdir()
    second = train_w2s(params(), inputs, tmp_path / "again", Silent())
    assert student.metrics["validation_agreement"] == second["validation_agreement"]
    weights = "model/model.safetensors"
    assert (student.folder / weights).read_bytes() == (tmp_path / "again" / weights).read_bytes()


def test_curve_has_accuracies_against_truth_and_own_labels(inputs: dict[str, Path], tmp_path: Path) -> None:
    validation = toy_rows(N_VALIDATION, seed=1)
    write_weak_probs(inputs["validation_labels"], validation.ids, 1.0 - validation.gt_labels)
    watch = Recorder(eval_at=(0.25, 0.5))
    metrics = train_w2s(params(), inputs, out(tmp_path), watch)
    evaluated = [row for row in watch.rows if "gt_accuracy" in row]
    assert [row["step"] for row in evaluated] == [15, 30, 60]
    assert all(row["gt_accuracy"] + row["label_accuracy"] == pytest.approx(1) for row in evaluated)
    assert evaluated[-1]["gt_accuracy"] == metrics["validation_accuracy"] > 0.8


def test_training_that_stays_near_chance_says_so(inputs: dict[str, Path], tmp_path: Path) -> None:
    rows = toy_rows(N_TRAIN)
    coins = np.random.default_rng(0).choice([0.1, 0.9], N_TRAIN)
    write_weak_probs(inputs["labels"], rows.ids, coins)
    unlearnable = train_w2s(params(training=training_params(epochs=1)), inputs, out(tmp_path), Silent())
    assert unlearnable["near_chance"] is True


def test_rows_that_a_filter_dropped_are_not_trained_on(inputs: dict[str, Path], tmp_path: Path) -> None:
    rows, n_wrong = toy_rows(N_TRAIN), N_TRAIN // 16
    probs = 0.02 + 0.96 * rows.gt_labels
    probs[:n_wrong] = 1 - probs[:n_wrong]
    weights = np.ones(N_TRAIN)
    weights[:n_wrong] = 0
    write_weak_probs(inputs["labels"], rows.ids, probs, weights)

    metrics = train_w2s(params(), inputs, out(tmp_path), Silent())

    assert (metrics["n_train"], metrics["train_label_accuracy"]) == (N_TRAIN - n_wrong, 1.0)
    alone = Rows(rows.ids[n_wrong:], rows.gt_labels[n_wrong:], only(rows, weights > 0).shown)
    write_rows(inputs["train"], alone)
    (tmp_path / "again").mkdir()
    assert train_w2s(params(), inputs, tmp_path / "again", Silent()) == metrics
    file = "model/model.safetensors"
    assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


RULES = [{"rule": "val_weak"}, {"rule": "val_gt"}, {"rule": "fraction", "at": 0.3}]


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0, "dropout": 0.0}], ids=["all weights", "adapters"])
def test_training_gives_the_weights_of_every_rule_and_ends_as_without_them(
    lora: Any, inputs: dict[str, Path], tmp_path: Path
) -> None:
    validation, watch = toy_rows(N_VALIDATION, seed=1), Recorder(eval_at=())
    # A supervisor that is right on half of the validation rows, so that truth and labels prefer other weights.
    probs = np.where(np.arange(N_VALIDATION) % 2, 0.9, 0.1)
    write_weak_probs(inputs["validation_labels"], validation.ids, probs)
    about = params(model=model_params(head="small", lora=lora), training=training_params(epochs=2))
    plain = train_w2s(about, inputs, out(tmp_path), Silent())
    (tmp_path / "all").mkdir()

    metrics = train_w2s(about | {"stop": [LAST, *RULES]}, inputs, tmp_path / "all", watch)

    assert metrics.items() >= plain.items()
    file = "model/model.safetensors"
    assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "all" / file).read_bytes()
    curve = {row["step"]: row for row in watch.rows if "gt_accuracy" in row}
    assert len(curve) == 2 * 20
    best = {
        column: max(curve, key=lambda step: (curve[step][column], -step))
        for column in ("label_accuracy", "gt_accuracy")
    }
    wanted = [best["label_accuracy"], best["gt_accuracy"], 12]
    assert len(set(wanted)) == 3
    for stop, step in zip(RULES, wanted, strict=True):
        assert metrics[f"{model_output(stop)}.fraction"] == step / 40
        taken = prob_of_1(load(tmp_path / "all" / model_output(stop)), validation, Silent())
        assert np.mean((taken > 0.5) == validation.gt_labels) == curve[step]["gt_accuracy"], stop
        assert np.mean((taken > 0.5) == (probs > 0.5)) == curve[step]["label_accuracy"], stop


@pytest.mark.parametrize("name", ["labels", "validation_labels"])
def test_row_without_a_weak_label_is_named(name: str, inputs: dict[str, Path], tmp_path: Path) -> None:
    write_weak_probs(inputs[name], ["row-0-0", "row-1-0"], np.array([0.5, 0.5]))
    with pytest.raises(DataError, match=rf"{name}\.parquet: .* rows have no weak label, such as 'row-\d-1'"):
        train_w2s(params(), inputs, out(tmp_path), Silent())
