"""The two training stages: on ground truth, and on a supervisor's labels.

Only files in, files out; the loop is ``w2s_core.training.fit``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.data.rows import Rows, only, read_rows, read_weights
from w2s_core.models.classifier import Classifier
from w2s_core.settings.answers import share
from w2s_core.settings.setting import KINDS, SETTINGS, Forward, ModelKind
from w2s_core.stages import LAST, model_output
from w2s_core.training.distributed import gather, join
from w2s_core.training.encoded import encoded
from w2s_core.training.fit import Recipe, fit
from w2s_core.training.predict import predict_tokens
from w2s_core.watch import Watch


def train_gt(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Finetune a model on ground truth: a supervisor, or a ceiling, or both."""
    answers = SETTINGS.get(params["setting"]).answers(params)
    rows, validation = read_rows(inputs["train"]), read_rows(inputs["validation"])
    metrics, _ = _train(params, inputs, out, watch, rows, answers.truth(rows), validation, answers.truth(validation))
    return metrics


def train_w2s(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Finetune a student on the labels of a weak supervisor; ground truth is only compared with."""
    answers = SETTINGS.get(params["setting"]).answers(params)
    rows, validation = read_rows(inputs["train"]), read_rows(inputs["validation"])
    given = answers.read(inputs["labels"], rows.ids)
    kept = read_weights(inputs["labels"], rows.ids) > 0
    rows, given = only(rows, kept), given[kept]
    labels = answers.read(inputs["validation_labels"], validation.ids)
    metrics, agreement = _train(params, inputs, out, watch, rows, given, validation, labels)
    return {**metrics, "validation_agreement": agreement}


def _train(
    params: dict[str, Any],
    inputs: dict[str, Path],
    out: Path,
    watch: Watch,
    rows: Rows,
    labels: np.ndarray,
    validation: Rows,
    validation_labels: np.ndarray,
) -> tuple[dict[str, Any], float]:
    """Metrics of the training, and its validation accuracy against its own labels.

    Args:
        labels: [N], of ``rows``, as the answers of the setting are.
        validation_labels: of ``validation``, of the kind that is trained on.
    """
    setting, kind = SETTINGS.get(params["setting"]), KINDS.get(params["setting"])
    answers = setting.answers(params)
    # Trainings of before there were more classes have no such parameter.
    start = (params["model"], inputs.get("base"), params["seed"], setting.n_outputs(params.get("n_classes", 2)))
    classifier = kind.build(*start)
    n_parameters = sum(parameter.numel() for parameter in classifier.parameters())
    held_out = Forward(setting, classifier, encoded(setting, validation, classifier, watch))

    def evaluate() -> dict[str, float]:
        said = answers.said(predict_tokens(held_out, watch), validation, classifier.tokenizer)
        return {
            "gt_accuracy": share(answers.is_right(said, validation)),
            "label_accuracy": share(answers.are_same(said, validation_labels)),
        }

    stops = [stop for stop in params["stop"] if stop != LAST]
    recipe = Recipe(params["loss"], params["training"], params["model"]["lr"], params["seed"], stops)
    lesson = answers.lesson(rows, labels)
    result = fit(setting, classifier, lesson.rows, lesson.targets, recipe, watch=watch, evaluate=evaluate)
    kept = [(stop, best) for stop, best in zip(stops, result.best, strict=True) if best is not None]
    group = join(watch.n_devices, watch.device)
    weights = gather(classifier) if group.size > 1 else {}
    if group.rank == 0:
        trained = classifier
        if group.size > 1:
            # A model in shares can neither be saved nor have its adapters merged.
            trained = kind.build(*start)
            trained.load_state_dict(weights)
        _save(kind, trained, out / model_output(LAST))
        for stop, best in kept:
            taken = kind.build(*start)
            taken.load_state_dict({**taken.state_dict(), **result.weights[best.step]})
            _save(kind, taken, out / model_output(stop))
    accuracies = evaluate()
    watch.curve([{"step": result.n_steps, **accuracies}])
    metrics = {
        "n_train": len(rows),
        "n_truncated": result.n_truncated,
        "n_steps": result.n_steps,
        "train_loss": result.train_loss,
        "near_chance": result.near_chance,
        "train_label_accuracy": share(answers.is_right(labels, rows)),
        **answers.about_labels(labels),
        "n_parameters": n_parameters,
        "validation_accuracy": accuracies["gt_accuracy"],
        **{f"{model_output(stop)}.fraction": best.step / result.n_steps for stop, best in kept},
    }
    return metrics, accuracies["label_accuracy"]


def _save(kind: ModelKind, classifier: Classifier, folder: Path) -> None:
    folder.mkdir()
    kind.save(classifier, folder)
