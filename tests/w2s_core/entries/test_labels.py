"""The stages from labels to labels, and from labels to a score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiny_models import toy_rows, write_rows
from w2s_core.data.rows import Rows, read_labels, two_classes, write_weak_probs
from w2s_core.entries.labels import combine, import_labels, judge, treat
from w2s_core.errors import DataError
from w2s_core.methods.treatments import Calibrate, best_temperature
from w2s_core.stages import LABELLED
from w2s_core.watch import Silent


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def labels(path: Path, probs: dict[str, float]) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_weak_probs(path, list(probs), np.array(list(probs.values())))
    return path


def test_members_are_averaged_by_id(tmp_path: Path, out: Path) -> None:
    inputs = {}
    for split in LABELLED:
        inputs[f"{split}.0"] = labels(tmp_path / "0" / split, {"a": 0.25, "b": 1.0})
        inputs[f"{split}.1"] = labels(tmp_path / "1" / split, {"b": 0.5, "a": 0.75})

    assert combine({}, inputs, out, Silent()) == {"n_members": 2}

    for split in LABELLED:
        ids, probs = read_labels(out / f"{split}.parquet")
        assert (ids, list(probs)) == (["a", "b"], [0.5, 0.75])


def test_members_that_labelled_other_rows_are_refused(tmp_path: Path, out: Path) -> None:
    inputs = {f"{split}.0": labels(tmp_path / "0" / split, {"a": 0.25}) for split in LABELLED}
    inputs |= {f"{split}.1": labels(tmp_path / "1" / split, {"b": 0.25}) for split in LABELLED}

    with pytest.raises(DataError, match="no weak label, such as 'a'"):
        combine({}, inputs, out, Silent())


def test_treatment_is_of_what_the_student_sees(tmp_path: Path, out: Path) -> None:
    given = {"a": 0.2, "b": 0.5, "c": 0.500001, "d": 1.0}
    inputs = {split: labels(tmp_path / split, given) for split in ("transfer_train", "validation")}

    metrics = treat({"treatment": {"kind": "harden"}}, inputs, out, Silent())

    for split in inputs:
        assert list(read_labels(out / f"{split}.parquet")[1]) == [0.0, 0.0, 1.0, 1.0]
    assert metrics["mean_change_validation"] == pytest.approx((0.2 + 0.5 + 0.499999) / 4)


def test_calibrated_labels_are_fitted_on_the_validation_rows_alone_and_joined_by_id(tmp_path: Path, out: Path) -> None:
    validation = toy_rows(60)
    rng = np.random.default_rng(0)
    probs = 0.5 + 0.02 * (validation.gt_labels - 0.5) + rng.normal(0, 0.01, 60)
    inputs = {
        "transfer_train": labels(tmp_path / "given" / "transfer_train", {"a": 0.49, "b": 0.5, "c": 0.53}),
        "validation": labels(
            tmp_path / "given" / "validation", dict(zip(validation.ids[::-1], probs[::-1], strict=True))
        ),
        "truth": write_rows(tmp_path / "validation.parquet", validation),
    }

    metrics = treat({"treatment": {"kind": "calibrate"}}, inputs, out, Silent())

    fitted = best_temperature(two_classes(probs), validation.gt_labels, Calibrate())
    assert metrics["fitted_temperature"] == pytest.approx(fitted.temperature)
    _, treated = read_labels(out / "transfer_train.parquet")
    odds = np.log(np.array([0.49 / 0.51, 1.0, 0.53 / 0.47])) / fitted.temperature
    np.testing.assert_allclose(treated, 1 / (1 + np.exp(-odds)))
    assert treated[0] < 0.3


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, tuple[Path, Rows]]:
    split_rows = {split: toy_rows(6, seed=i) for i, split in enumerate(LABELLED)}
    return {split: (write_rows(tmp_path / f"{split}.parquet", r), r) for split, r in split_rows.items()}


def test_labels_of_a_file_are_those_of_the_prepared_rows(
    rows: dict[str, tuple[Path, Rows]], tmp_path: Path, out: Path
) -> None:
    truth = {id: int(label) for _, r in rows.values() for id, label in zip(r.ids, r.gt_labels, strict=True)}
    file = tmp_path / "given.csv"
    file.write_text("id,prob\n" + "".join(f"{id},{label}\n" for id, label in sorted(truth.items())))

    metrics = import_labels({}, {"file": file, **{split: path for split, (path, _) in rows.items()}}, out, Silent())

    assert metrics == {f"accuracy_{split}": 1.0 for split in LABELLED}
    for split, (_, r) in rows.items():
        assert read_labels(out / f"{split}.parquet")[0] == r.ids


def test_labels_are_judged_as_the_answers_of_a_model_are(
    rows: dict[str, tuple[Path, Rows]], tmp_path: Path, out: Path
) -> None:
    path, test = rows["test"]
    given = labels(tmp_path / "given" / "test", dict(zip(reversed(test.ids), [0.9] * 6, strict=True)))

    metrics = judge({}, {"labels": given, "test": path}, out, Silent())

    assert metrics["n"] == 6
    assert metrics["accuracy"] == test.gt_labels.mean()
    assert (out / "predictions.parquet").exists()
