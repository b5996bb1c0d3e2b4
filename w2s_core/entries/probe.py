"""The stage ``fit_probe``: a linear probe on features, and its labels of every split.

Only files in, files out; the fit is in ``w2s_core.methods.probes``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.data.rows import (
    Rows,
    only,
    read_features,
    read_ids,
    read_rows,
    read_weak_probs,
    read_weights,
    write_weak_probs,
)
from w2s_core.methods.probes import choose
from w2s_core.metrics import accuracy, certainty, harden, of_truth
from w2s_core.stages import LABELLED
from w2s_core.watch import Watch


def fit_probe(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Fit on a supervisor's labels where there are any, and then compare with ground truth only; else on that.

    The penalty is chosen by the validation loss against labels of the kind that is fitted on.
    """
    rows, validation = read_rows(inputs["train"]), read_rows(inputs["validation"])
    if "labels" in inputs:
        rows = only(rows, read_weights(inputs["labels"], rows.ids) > 0)
    n_classes = params.get("n_classes", 2)
    targets = _targets(inputs, "labels", rows, n_classes)
    validation_targets = _targets(inputs, "validation_labels", validation, n_classes)
    validation_features = read_features(inputs["features.validation"], validation.ids)
    chosen = choose(
        read_features(inputs["features.train"], rows.ids),
        targets,
        validation_features,
        validation_targets,
        params["l2"],
    )
    for split in LABELLED:
        ids = read_ids(inputs[f"features.{split}"])
        probs = chosen.probe.probs(read_features(inputs[f"features.{split}"], ids))
        write_weak_probs(out / f"{split}.parquet", ids, probs)
    validation_probs = chosen.probe.probs(validation_features)
    return {
        "n_train": len(rows),
        "n_features": len(chosen.probe.weight),
        "l2": chosen.probe.l2,
        "train_loss": chosen.train_loss,
        "validation_loss": chosen.validation_loss,
        "train_label_accuracy": accuracy(targets, rows.gt_labels),
        "label_certainty": certainty(targets),
        "validation_accuracy": accuracy(validation_probs, validation.gt_labels),
        "validation_agreement": accuracy(validation_probs, harden(validation_targets)),
    }


def _targets(inputs: dict[str, Path], name: str, rows: Rows, n_classes: int) -> np.ndarray:
    """The probabilities of each row, as ``as_held`` has them, by the supervisor or in truth."""
    return read_weak_probs(inputs[name], rows.ids) if name in inputs else of_truth(rows.gt_labels, n_classes)
