"""The stages that use a trained classifier: labelling for a student, and scoring on the test split.

Only files in, files out; prediction is in ``w2s_core.train``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from w2s_core.metrics import accuracy, auroc, brier, ece
from w2s_core.models import load
from w2s_core.rows import read_rows, write_predictions, write_weak_probs
from w2s_core.train import predict
from w2s_core.watch import Watch

LABELLED = ("transfer_train", "validation", "test")
"""Splits that a supervisor labels: to train students, to choose among them, and to compare errors."""


def weak_labels(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Let a supervisor label every split that it was not trained on."""
    classifier = load(inputs["model"])
    accuracies = {}
    for split in LABELLED:
        rows = read_rows(inputs[split])
        weak_probs = predict(classifier, rows, watch)
        write_weak_probs(out / f"{split}.parquet", rows.ids, weak_probs)
        accuracies[f"accuracy_{split}"] = accuracy(weak_probs, rows.gt_labels)
    return accuracies


def score(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Predict the test split and compare with ground truth."""
    rows = read_rows(inputs["test"])
    probs = predict(load(inputs["model"]), rows, watch)
    write_predictions(out / "predictions.parquet", rows, probs)
    return {
        "n": len(rows),
        "accuracy": accuracy(probs, rows.gt_labels),
        "auroc": auroc(probs, rows.gt_labels),
        "brier": brier(probs, rows.gt_labels),
        "ece": ece(probs, rows.gt_labels),
    }
