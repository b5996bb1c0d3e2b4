"""The stages that use a trained classifier: labelling for a student, and scoring on the test split.

Only files in, files out; prediction is in ``w2s_core.training.predict``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.data.rows import Rows, each, read_groups, read_rows, write_predictions, write_weak_probs
from w2s_core.metrics import accuracy, as_held, auroc, brier, ece, label_quality
from w2s_core.settings.setting import KINDS, SETTINGS, VIEWS, View
from w2s_core.stages import LABELLED
from w2s_core.training.predict import predict
from w2s_core.watch import Watch


def weak_labels(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Let a supervisor label every split that it was not trained on."""
    setting, view = SETTINGS.get(params["setting"]), VIEWS.get(params["setting"])
    classifier = KINDS.get(params["setting"]).load(inputs["model"])
    quality: dict[str, Any] = {}
    for split in LABELLED:
        rows = read_rows(inputs[split])
        weak_probs = as_held(predict(setting, classifier, rows, watch))
        write_weak_probs(out / f"{split}.parquet", rows.ids, weak_probs)
        quality |= label_quality(weak_probs, rows.gt_labels, list(each(rows, view.lure)), split)
    return quality


def score(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Predict the test split and compare with ground truth."""
    rows = read_rows(inputs["test"])
    classifier = KINDS.get(params["setting"]).load(inputs["model"])
    probs = as_held(predict(SETTINGS.get(params["setting"]), classifier, rows, watch))
    return write_score(out, rows, read_groups(inputs["test"]), probs, VIEWS.get(params["setting"]))


def write_score(out: Path, rows: Rows, groups: list[str], probs: np.ndarray, view: View) -> dict[str, Any]:
    """Write answers to the test split, probabilities as ``as_held`` has them, and say how good they are."""
    write_predictions(out / "predictions.parquet", rows, groups, probs)
    return {
        "n": len(rows),
        "accuracy": accuracy(probs, rows.gt_labels),
        "auroc": auroc(probs, rows.gt_labels),
        "brier": brier(probs, rows.gt_labels),
        "ece": ece(probs, rows.gt_labels),
        **view.metrics(rows, probs),
    }
