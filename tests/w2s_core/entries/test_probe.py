"""The stages of probes: files of features, and labels by a probe that was fitted on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from artifacts.identity.digests import digest_output
from tests.tiny_models import CLASSIFY, model_params, tiny_base, toy_rows, write_rows
from w2s_core.data.rows import read_features, read_labels, write_features, write_weak_probs
from w2s_core.entries.features import features
from w2s_core.entries.probe import fit_probe
from w2s_core.errors import DataError
from w2s_core.methods.probes import choose
from w2s_core.models.classifier import build, save
from w2s_core.stages import LABELLED
from w2s_core.training.features import extract
from w2s_core.watch import Silent

ROWS = {split: toy_rows(20, i) for i, split in enumerate(LABELLED)}
TRAIN = ROWS["transfer_train"]
OF_BASE = {"setting": "classify", "layer": "last", "splits": list(LABELLED), "model": model_params()}


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """Rows of every split."""
    return {split: write_rows(tmp_path / f"{split}.parquet", rows) for split, rows in ROWS.items()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def fitted_on(tmp_path: Path, inputs: dict[str, Path]) -> dict[str, Path]:
    """The inputs of a probe on the truth; one feature is the label, others are noise."""
    rng = np.random.default_rng(0)
    paths = {}
    for split, rows in ROWS.items():
        vectors = np.column_stack([rows.gt_labels + rng.normal(size=20) / 2, rng.normal(size=(20, 3))])
        paths[f"features.{split}"] = tmp_path / f"features_{split}.parquet"
        write_features(paths[f"features.{split}"], rows.ids, vectors.astype(np.float32))
    return {
        "train": inputs["transfer_train"],
        "validation": inputs["validation"],
        "features.train": paths["features.transfer_train"],
        **paths,
    }


def weak_labels(folder: Path, *, wrong: bool) -> dict[str, Path]:
    """Labels of the splits that a student sees: the truth, or its opposite, a little unsure, in another order."""
    found = {}
    for name, rows in {"labels": TRAIN, "validation_labels": ROWS["validation"]}.items():
        probs = np.where((rows.gt_labels == 1) != wrong, 0.9, 0.1)
        found[name] = folder / f"{name}.parquet"
        write_weak_probs(found[name], rows.ids[::-1], probs[::-1])
    return found


def test_features_are_there_for_every_row_of_every_split(inputs: dict[str, Path], out: Path, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")

    metrics = features(OF_BASE, {**inputs, "base": base}, out, Silent())

    assert metrics == {"n_features": 16, "n_transfer_train": 20, "n_validation": 20, "n_test": 20}
    for split, rows in ROWS.items():
        assert pq.read_table(out / f"{split}.parquet")["id"].to_pylist() == rows.ids
        expected = extract(CLASSIFY, build(model_params(), base, seed=0), rows, Silent())
        assert (read_features(out / f"{split}.parquet", rows.ids) == expected).all()
        digest_output(out / f"{split}.parquet")


def test_features_of_a_model_are_those_of_its_weights(inputs: dict[str, Path], out: Path, tmp_path: Path) -> None:
    classifier = build(model_params(init="random", size={"n_layers": 1, "width": 8, "n_heads": 2}),
                       tiny_base(tmp_path / "base"), seed=3)  # fmt: skip
    save(classifier, tmp_path / "model")
    params = {"setting": "classify", "layer": "last", "splits": ["test"]}

    features(params, {"model": tmp_path / "model", "test": inputs["test"]}, out, Silent())

    found = read_features(out / "test.parquet", ROWS["test"].ids)
    np.testing.assert_allclose(found, extract(CLASSIFY, classifier, ROWS["test"], Silent()), rtol=1e-6)


def test_random_weights_are_those_of_the_seed(inputs: dict[str, Path], out: Path, tmp_path: Path) -> None:
    model = model_params(init="random", size={"n_layers": 1, "width": 8, "n_heads": 2})
    base = tiny_base(tmp_path / "base")

    features({**OF_BASE, "model": model, "seed": 5}, {**inputs, "base": base}, out, Silent())

    expected = extract(CLASSIFY, build(model, base, seed=5), TRAIN, Silent())
    assert (read_features(out / "transfer_train.parquet", TRAIN.ids) == expected).all()


def test_features_are_joined_by_id(tmp_path: Path) -> None:
    write_features(tmp_path / "f.parquet", ["a", "b"], np.array([[1, 2], [3, 4]], np.float32))

    assert read_features(tmp_path / "f.parquet", ["b", "a"]).tolist() == [[3, 4], [1, 2]]
    with pytest.raises(DataError, match="1 of 2 rows have no features, such as 'c'"):
        read_features(tmp_path / "f.parquet", ["a", "c"])


def test_probe_labels_every_row_that_has_features(fitted_on: dict[str, Path], out: Path) -> None:
    metrics = fit_probe({"l2": [0.1, 1.0]}, fitted_on, out, Silent())

    sets: list[Any] = []
    for rows, split in ((TRAIN, "transfer_train"), (ROWS["validation"], "validation")):
        sets += [read_features(fitted_on[f"features.{split}"], rows.ids), rows.gt_labels.astype(float)]
    chosen = choose(*sets, [0.1, 1.0])
    assert (metrics["l2"], metrics["validation_loss"]) == (chosen.probe.l2, chosen.validation_loss)
    for split, rows in ROWS.items():
        ids, probs = read_labels(out / f"{split}.parquet")
        assert ids == rows.ids
        assert (probs == chosen.probe.probs(read_features(fitted_on[f"features.{split}"], ids))).all()
    assert metrics["validation_accuracy"] > 0.7


def test_probe_on_weak_labels_sees_no_truth(fitted_on: dict[str, Path], out: Path, tmp_path: Path) -> None:
    given = weak_labels(tmp_path, wrong=True)

    metrics = fit_probe({"l2": [0.1, 1e4]}, {**fitted_on, **given}, out, Silent())

    assert metrics["l2"] == 0.1
    assert metrics["validation_agreement"] > 0.7
    assert metrics["validation_accuracy"] == pytest.approx(1 - metrics["validation_agreement"])
    assert metrics["train_label_accuracy"] == 0
    assert metrics["label_certainty"] == pytest.approx(0.4)


def test_rows_that_a_treatment_drops_are_not_fitted_on(fitted_on: dict[str, Path], out: Path, tmp_path: Path) -> None:
    given = weak_labels(tmp_path, wrong=False)
    weights = np.arange(20) % 3 > 0
    write_weak_probs(given["labels"], TRAIN.ids, np.full(20, 0.8), weights.astype(float))

    metrics = fit_probe({"l2": [1.0]}, {**fitted_on, **given}, out, Silent())

    kept = [id for id, weight in zip(TRAIN.ids, weights, strict=True) if weight]
    vectors = read_features(fitted_on["features.train"], kept)
    assert metrics["n_train"] == len(kept)
    expected = choose(vectors, np.full(len(kept), 0.8), vectors, np.full(len(kept), 0.8), [1.0])
    assert metrics["train_loss"] == expected.train_loss
