"""The stages that use a trained classifier: labelling for a student, and scoring on the test split.

Only files in, files out; prediction is in ``w2s_core.training.predict``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from w2s_core.data.rows import read_groups, read_rows
from w2s_core.settings.reports import QUALITIES, SCORES
from w2s_core.settings.setting import KINDS, SETTINGS, VIEWS
from w2s_core.stages import LABELLED
from w2s_core.training.predict import predict
from w2s_core.watch import Watch


def weak_labels(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Let a supervisor label every split that it was not trained on."""
    setting, view = SETTINGS.get(params["setting"]), VIEWS.get(params["setting"])
    answers = setting.answers(params)
    classifier = watch.model("model", lambda: KINDS.get(params["setting"]).load(inputs["model"]))
    quality: dict[str, Any] = {}
    for split in LABELLED:
        rows = read_rows(inputs[split])
        labels = answers.said(predict(setting, classifier, rows, watch), rows, classifier.tokenizer)
        answers.write(out / f"{split}.parquet", rows.ids, labels)
        quality |= QUALITIES.get(params["setting"])(params, labels, rows, view.lure, split)
    return quality


def score(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Predict the test split and compare with ground truth."""
    setting, view = SETTINGS.get(params["setting"]), VIEWS.get(params["setting"])
    answers = setting.answers(params)
    classifier = watch.model("model", lambda: KINDS.get(params["setting"]).load(inputs["model"]))
    rows = read_rows(inputs["test"])
    said = answers.said(predict(setting, classifier, rows, watch), rows, classifier.tokenizer)
    return SCORES.get(params["setting"])(
        params, out / "predictions.parquet", rows, read_groups(inputs["test"]), said, view.metrics
    )
