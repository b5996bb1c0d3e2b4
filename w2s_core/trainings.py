"""The two training stages: on ground truth, and on a supervisor's labels.

Only files in, files out; the loop is ``w2s_core.train``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.metrics import accuracy, harden
from w2s_core.models import build, save
from w2s_core.rows import Rows, read_rows, read_weak_probs
from w2s_core.train import fit, predict
from w2s_core.watch import Watch


def train_gt(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Finetune a model on ground truth: a supervisor, or a ceiling, or both."""
    rows, validation = read_rows(inputs["train"]), read_rows(inputs["validation"])
    metrics, _ = _train(params, inputs, out, watch, rows, rows.gt_labels.astype(float), validation)
    return metrics


def train_w2s(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Finetune a student on the labels of a weak supervisor; ground truth is only compared with."""
    rows, validation = read_rows(inputs["train"]), read_rows(inputs["validation"])
    weak_probs = read_weak_probs(inputs["labels"], rows.ids)
    validation_weak_probs = read_weak_probs(inputs["validation_labels"], validation.ids)
    metrics, probs = _train(params, inputs, out, watch, rows, weak_probs, validation)
    return {**metrics, "validation_agreement": accuracy(probs, harden(validation_weak_probs))}


def _train(
    params: dict[str, Any],
    inputs: dict[str, Path],
    out: Path,
    watch: Watch,
    rows: Rows,
    targets: np.ndarray,
    validation: Rows,
) -> tuple[dict[str, Any], np.ndarray]:
    """Metrics of the training, and the trained model's [N] P(class 1) of the validation rows."""
    classifier = build(params["model"], inputs.get("base"), params["seed"])
    result = fit(
        classifier,
        rows,
        targets,
        loss=params["loss"],
        training=params["training"],
        lr=params["model"]["lr"],
        seed=params["seed"],
        watch=watch,
    )
    (out / "model").mkdir()
    save(classifier, out / "model")
    probs = predict(classifier, validation, watch)
    metrics = {
        "n_train": len(rows),
        "n_truncated": result.n_truncated,
        "n_steps": result.n_steps,
        "train_loss": result.train_loss,
        "train_label_accuracy": accuracy(targets, rows.gt_labels),
        "validation_accuracy": accuracy(probs, validation.gt_labels),
    }
    return metrics, probs
