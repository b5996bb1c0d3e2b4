"""The stages from labels to labels, and from labels to a score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_models import VIEW, toy_rows, write_rows
from w2s_core.data.rows import (
    Rows,
    each,
    read_labels,
    read_weights,
    write_features,
    write_weak_probs,
)
from w2s_core.entries.labels import combine, import_labels, judge, treat
from w2s_core.errors import DataError
from w2s_core.methods.neighbours import Relabel, guess
from w2s_core.methods.treatments import Calibrate, best_temperature
from w2s_core.metrics import label_quality, two_classes
from w2s_core.stages import LABELLED
from w2s_core.watch import Silent

CLASSIFY = {"setting": "classify"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def labels(path: Path, probs: dict[str, float]) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_weak_probs(path, list(probs), np.array(list(probs.values())))
    return path


def test_filters_drop_rows_that_are_trained_on_and_those_after_them_see_what_is_left(tmp_path: Path, out: Path) -> None:
    train = toy_rows(8)
    probs = np.array([0.6, 0.7, 0.8, 0.9, 0.4, 0.3, 0.2, 0.1])
    given = dict(zip(train.ids, probs, strict=True))
    inputs = {split: labels(tmp_path / "given" / split, given) for split in ("transfer_train", "validation")}

    metrics = treat({"treatment": {"kind": "confident", "drop": 0.25}}, inputs, out, Silent())

    assert (metrics["n_dropped"], metrics["mean_change_transfer_train"]) == (2, 0)
    first = out / "transfer_train.parquet"
    assert read_weights(first, train.ids).tolist() == [0, 1, 1, 1, 0, 1, 1, 1]
    assert read_weights(out / "validation.parquet", train.ids).tolist() == [1] * 8
    (tmp_path / "again").mkdir()
    oracle = {"kind": "oracle_drop", "drop": 0.34}
    truth = {"truth": write_rows(tmp_path / "train.parquet", train)}
    inputs = {split: out / f"{split}.parquet" for split in inputs}
    assert treat({"treatment": oracle}, inputs | truth, tmp_path / "again", Silent())["n_dropped"] == 2
    (tmp_path / "last").mkdir()
    inputs = {split: tmp_path / "again" / f"{split}.parquet" for split in inputs}
    treat({"treatment": {"kind": "harden", "at": "median"}}, inputs, tmp_path / "last", Silent())
    left = read_weights(tmp_path / "last" / "transfer_train.parquet", train.ids) > 0
    assert left.sum() == 4
    _, hardened = read_labels(tmp_path / "last" / "transfer_train.parquet")
    assert hardened[~left].tolist() == probs[~left].tolist()
    assert sorted(hardened[left]) == [0, 0, 1, 1]


def test_labels_are_replaced_by_what_the_features_of_rows_that_are_left_say(tmp_path: Path, out: Path) -> None:
    rng = np.random.default_rng(0)
    train, validation = toy_rows(30), toy_rows(10, seed=1)
    given = {"transfer_train": train, "validation": validation}
    probs = {split: rng.random(len(rows)) for split, rows in given.items()}
    vectors = {split: rng.normal(size=(len(rows), 4)).astype(np.float32) for split, rows in given.items()}
    weights = np.ones(30)
    weights[:5] = 0
    inputs = {split: tmp_path / f"{split}.given" for split in given} | {
        f"features.{split}": tmp_path / f"{split}.features" for split in given
    }
    for split, rows in given.items():
        write_weak_probs(inputs[split], rows.ids, probs[split], weights if split == "transfer_train" else None)
        # In another order of rows.
        write_features(inputs[f"features.{split}"], rows.ids[::-1], vectors[split][::-1])

    treat({"treatment": {"kind": "relabel", "k": 3}}, inputs, out, Silent())

    labels, left = two_classes(probs["transfer_train"][5:]), vectors["transfer_train"][5:]
    _, relabelled = read_labels(out / "transfer_train.parquet")
    assert relabelled[:5].tolist() == probs["transfer_train"][:5].tolist()
    np.testing.assert_allclose(relabelled[5:], guess(left, labels, left, Relabel(k=3), are_same=True)[:, 1])
    of_validation = guess(left, labels, vectors["validation"], Relabel(k=3), are_same=False)
    np.testing.assert_allclose(read_labels(out / "validation.parquet")[1], of_validation[:, 1])
    assert read_weights(out / "transfer_train.parquet", train.ids).tolist() == weights.tolist()


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, tuple[Path, Rows]]:
    split_rows = {split: toy_rows(6, seed=i) for i, split in enumerate(LABELLED)}
    return {split: (write_rows(tmp_path / f"{split}.parquet", r), r) for split, r in split_rows.items()}


def members(rows: dict[str, tuple[Path, Rows]], probs: dict[str, np.ndarray]) -> dict[str, Path]:
    """The inputs of ``combine``, from [M, N] per split; files of labels are in another order than the rows."""
    inputs = {f"rows_{split}": path for split, (path, _) in rows.items()}
    for split, (path, r) in rows.items():
        for i, given in enumerate(probs[split]):
            by_id = dict(reversed(list(zip(r.ids, given, strict=True))))
            inputs[f"{split}.{i}"] = labels(path.parent / str(i) / split, by_id)
    return inputs


def drawn(rows: dict[str, tuple[Path, Rows]], n_members: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {split: rng.choice([0.0, 0.2, 0.5, 0.6, 1.0], (n_members, len(r))) for split, (_, r) in rows.items()}


def test_members_are_combined_by_id_in_the_order_of_the_rows(rows: dict[str, tuple[Path, Rows]], out: Path) -> None:
    probs = drawn(rows, 3)

    combine({**CLASSIFY, "combine": {"by": "mean"}}, members(rows, probs), out, Silent())

    for split, (_, r) in rows.items():
        ids, combined = read_labels(out / f"{split}.parquet")
        assert ids == r.ids
        assert list(combined) == pytest.approx(sum(probs[split]) / 3)


def test_members_weigh_by_their_accuracy_on_validation_in_every_split(
    rows: dict[str, tuple[Path, Rows]], out: Path
) -> None:
    truth = {split: r.gt_labels for split, (_, r) in rows.items()}
    # The first is right on validation alone, the second everywhere else.
    probs = {split: np.stack([1 - t, t] if split != "validation" else [t, 1 - t]) * 1.0 for split, t in truth.items()}

    metrics = combine({**CLASSIFY, "combine": {"by": "accuracy"}}, members(rows, probs), out, Silent())

    assert [metrics[f"accuracy_{split}"] for split in LABELLED] == [0.0, 1.0, 0.0]


def test_metrics_of_an_ensemble_are_of_it_its_members_and_their_pairs(
    rows: dict[str, tuple[Path, Rows]], out: Path
) -> None:
    probs = drawn(rows, 4)

    metrics = combine({**CLASSIFY, "combine": {"by": "mean"}}, members(rows, probs), out, Silent())

    expected: dict[str, Any] = {"n_members": 4}
    for split, (_, r) in rows.items():
        expected |= label_quality(probs[split].mean(0), r.gt_labels, [*each(r, VIEW.lure)], split)
        votes = probs[split] > 0.5
        pairs = [(a, b) for i, a in enumerate(votes) for b in votes[i + 1 :]]
        expected[f"accuracy_{split}"] = np.mean((probs[split].mean(0) > 0.5) == r.gt_labels)
        expected[f"member_accuracy_{split}"] = np.mean([np.mean(vote == r.gt_labels) for vote in votes])
        expected[f"disagreement_{split}"] = np.mean([np.mean(a != b) for a, b in pairs])
    assert metrics == pytest.approx(expected)


def test_members_that_labelled_other_rows_are_refused(rows: dict[str, tuple[Path, Rows]], out: Path) -> None:
    inputs = members(rows, drawn(rows, 2))
    labels(inputs["transfer_train.1"], {"b": 0.25})

    with pytest.raises(DataError, match=r"6 of 6 rows have no weak label, such as 'row-0-0'"):
        combine({**CLASSIFY, "combine": {"by": "mean"}}, inputs, out, Silent())


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


def test_labels_of_a_file_are_those_of_the_prepared_rows(
    rows: dict[str, tuple[Path, Rows]], tmp_path: Path, out: Path
) -> None:
    truth = {id: int(label) for _, r in rows.values() for id, label in zip(r.ids, r.gt_labels, strict=True)}
    file = tmp_path / "given.csv"
    file.write_text("id,prob\n" + "".join(f"{id},{label}\n" for id, label in sorted(truth.items())))

    metrics = import_labels(
        CLASSIFY, {"file": file, **{split: path for split, (path, _) in rows.items()}}, out, Silent()
    )

    assert metrics.items() >= {f"accuracy_{split}": 1.0 for split in LABELLED}.items()
    for split, (_, r) in rows.items():
        assert read_labels(out / f"{split}.parquet")[0] == r.ids


def test_labels_are_judged_as_the_answers_of_a_model_are(
    rows: dict[str, tuple[Path, Rows]], tmp_path: Path, out: Path
) -> None:
    path, test = rows["test"]
    given = labels(tmp_path / "given" / "test", dict(zip(reversed(test.ids), [0.9] * 6, strict=True)))

    metrics = judge(CLASSIFY, {"labels": given, "test": path}, out, Silent())

    assert metrics["n"] == 6
    assert metrics["accuracy"] == test.gt_labels.mean()
    assert (out / "predictions.parquet").exists()
