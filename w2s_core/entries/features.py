"""The stage ``features``: what a model makes of rows, once for all that is fitted on it.

Only files in, files out; how rows go through the model is in ``w2s_core.training.features``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.config import LAST_LAYER
from w2s_core.data.rows import read_rows, write_features
from w2s_core.errors import DataError
from w2s_core.models.classifier import Classifier
from w2s_core.settings.setting import KINDS, SETTINGS
from w2s_core.training.features import extract, give_layer
from w2s_core.watch import Watch


def features(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """The vector of each row of some splits: of a trained model, or of one as it is before any training."""
    setting, classifier = SETTINGS.get(params["setting"]), _model(params, inputs)
    if params["layer"] != LAST_LAYER:
        give_layer(classifier, params["layer"])
    metrics: dict[str, Any] = {"n_features": classifier.head.in_features}
    for split in params["splits"]:
        rows = read_rows(inputs[split])
        vectors = extract(setting, classifier, rows, watch)
        if not np.isfinite(vectors).all():
            n_bad = int((~np.isfinite(vectors).all(1)).sum())
            raise DataError(f"{split}: the model's features of {n_bad} of {len(rows)} rows are not finite numbers")
        write_features(out / f"{split}.parquet", rows.ids, vectors)
        metrics[f"n_{split}"] = len(rows)
    return metrics


def _model(params: dict[str, Any], inputs: dict[str, Path]) -> Classifier:
    kind = KINDS.get(params["setting"])
    if "model" in inputs:
        return kind.load(inputs["model"])
    # Its head is not asked, and adapters that have learned nothing change nothing.
    return kind.build({**params["model"], "head": "zeros", "lora": None}, inputs.get("base"), params.get("seed", 0), 1)
