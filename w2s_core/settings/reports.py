"""What is said of labels and of scores, by setting: here of probabilities of classes; of texts it is in ``move``.

Each is a registry of its own, and apart from ``answers``, so that another metric trains and labels nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.data.given import read_given, read_given_classes
from w2s_core.data.rows import Rows, Shown, each, write_predictions
from w2s_core.metrics import accuracy, auroc, brier, ece, label_quality
from w2s_core.registry import Registry

Params = Mapping[str, Any]
"""Of a stage."""
Lure = Callable[[Shown], Sequence[float]]
"""``View.lure``."""
Metrics = Callable[[Rows, np.ndarray], Mapping[str, float | None]]
"""``View.metrics``."""

GIVEN: Registry[Callable[[Params, Path, Mapping[str, Rows]], dict[str, np.ndarray]]] = Registry(
    "setting", param="setting", modules=("w2s_core.settings.*",)
)
"""``(params, path, rows)``: the labels of each split, from a file of the user's."""

QUALITIES: Registry[Callable[[Params, np.ndarray, Rows, Lure, str], dict[str, float | None]]] = Registry(
    "setting", param="setting", modules=("w2s_core.settings.*",)
)
"""``(params, labels, rows, lure, split)``: what labels of a split are worth, by names that end with the split's."""

SCORES: Registry[Callable[[Params, Path, Rows, list[str], np.ndarray, Metrics], dict[str, Any]]] = Registry(
    "setting", param="setting", modules=("w2s_core.settings.*",)
)
"""``(params, path, rows, groups, answers, metrics)``: write predictions to a file, and say how good they are."""


def class_given(params: Params, path: Path, rows: Mapping[str, Rows]) -> dict[str, np.ndarray]:
    """See ``GIVEN``; datasets of before there were more than two classes have no such parameter."""
    ids, n_classes = {split: of.ids for split, of in rows.items()}, params.get("n_classes", 2)
    return read_given(path, ids) if n_classes == 2 else read_given_classes(path, ids, n_classes)


def class_quality(params: Params, labels: np.ndarray, rows: Rows, lure: Lure, split: str) -> dict[str, float | None]:
    """See ``QUALITIES``."""
    return label_quality(labels, rows.gt_labels, list(each(rows, lure)), split)


def class_score(
    params: Params, path: Path, rows: Rows, groups: list[str], answers: np.ndarray, metrics: Metrics
) -> dict[str, Any]:
    """See ``SCORES``."""
    write_predictions(path, rows, groups, answers)
    return {
        "n": len(rows),
        "accuracy": accuracy(answers, rows.gt_labels),
        "auroc": auroc(answers, rows.gt_labels),
        "brier": brier(answers, rows.gt_labels),
        "ece": ece(answers, rows.gt_labels),
        **metrics(rows, answers),
    }
