"""The stages that use a trained classifier: their files and metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.tiny_models import model_params, prob_of_1, tiny_base, toy_rows, write_rows
from w2s_core.entries.predict import score, weak_labels
from w2s_core.errors import DataError
from w2s_core.models.classifier import build, save
from w2s_core.watch import Silent

SPLITS = ("transfer_train", "validation", "test")

PARAMS = {"setting": "classify"}


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    classifier = build(model_params(head="small"), tiny_base(tmp_path / "base"), seed=0)
    save(classifier, tmp_path / "model")
    paths = {split: write_rows(tmp_path / f"{split}.parquet", toy_rows(20, i)) for i, split in enumerate(SPLITS)}
    (tmp_path / "out").mkdir()
    return {"model": tmp_path / "model", **paths}


def test_supervisor_labels_every_row_of_every_split(inputs: dict[str, Path], tmp_path: Path) -> None:
    metrics = weak_labels(PARAMS, inputs, tmp_path / "out", Silent())
    measures = ("accuracy", "certainty", "ece", "length_correlation")
    assert metrics.keys() == {f"{measure}_{split}" for split in SPLITS for measure in measures}
    for i, split in enumerate(SPLITS):
        table = pq.read_table(tmp_path / "out" / f"{split}.parquet")
        assert [(field.name, str(field.type)) for field in table.schema] == [("id", "string"), ("weak_prob", "double")]
        assert table["id"].to_pylist() == toy_rows(20, i).ids
        probs = table["weak_prob"].to_numpy()
        assert metrics[f"accuracy_{split}"] == ((probs > 0.5) == toy_rows(20, i).gt_labels).mean()
        [shown] = toy_rows(20, i).shown()
        lengths = [len(passage + prompt) for passage, prompt in zip(*shown.values(), strict=True)]
        assert metrics[f"length_correlation_{split}"] == pytest.approx(np.corrcoef(probs, lengths)[0, 1])


def test_score_keeps_every_prediction(inputs: dict[str, Path], tmp_path: Path) -> None:
    score(PARAMS, {name: inputs[name] for name in ("model", "test")}, tmp_path / "out", Silent())
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("id", "string"),
        ("group", "string"),
        ("prob", "double"),
        ("gt_label", "int8"),
    ]
    rows = toy_rows(20, 2)
    classifier = build(model_params(head="small"), tmp_path / "base", seed=0)
    assert table["id"].to_pylist() == table["group"].to_pylist() == rows.ids
    assert table["prob"].to_pylist() == list(prob_of_1(classifier, rows, Silent()))
    assert table["gt_label"].to_pylist() == list(rows.gt_labels)


def test_score_measures(inputs: dict[str, Path], tmp_path: Path) -> None:
    metrics = score(PARAMS, {name: inputs[name] for name in ("model", "test")}, tmp_path / "out", Silent())
    assert metrics.keys() == {"n", "accuracy", "auroc", "brier", "ece"}
    assert metrics["n"] == 20
    assert 0.2 < metrics["brier"] < 0.3


def test_missing_model_is_one_line(inputs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: cannot read the classifier"):
        score(PARAMS, {"model": tmp_path / "nowhere", "test": inputs["test"]}, tmp_path / "out", Silent())
