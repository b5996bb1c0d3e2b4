"""The stages that make labels of labels, or of a file, and the one that scores labels; none needs a model.

Only files in, files out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.data.rows import (
    each,
    read_features,
    read_groups,
    read_labels,
    read_rows,
    read_weak_probs,
    read_weights,
    write_weak_probs,
)
from w2s_core.debate.measures import by_side
from w2s_core.debate.texts import read_texts
from w2s_core.methods.ensembles import WAYS
from w2s_core.methods.treatments import TREATMENTS, Treatment
from w2s_core.metrics import accuracy, as_held, by_class, disagreement, label_quality
from w2s_core.settings.reports import GIVEN, QUALITIES, SCORES
from w2s_core.settings.setting import SETTINGS, VIEWS, View
from w2s_core.stages import LABELLED, TREATED
from w2s_core.watch import Watch


def treat(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Change labels, or drop rows, as one treatment says; rows that an earlier one has dropped stay as they are."""
    treatment = TREATMENTS.get(params["treatment"]["kind"])
    settings = treatment.params.model_validate(params["treatment"])
    given = {split: read_labels(inputs[split]) for split in TREATED}
    truth: dict[str, int] = {}
    if treatment.truth_of is not None:
        rows = read_rows(inputs["truth"])
        truth = dict(zip(rows.ids, rows.gt_labels.tolist(), strict=True))
    metrics: dict[str, Any] = {}
    if treatment.fit is not None:
        probs = read_weak_probs(inputs["validation"], list(truth))
        settings = treatment.fit(by_class(probs), np.array(list(truth.values())), settings)
        metrics = {f"fitted_{name}": value for name, value in settings.model_dump(exclude={"kind"}).items()}
    said = _said(treatment, settings, given, inputs)
    for split, (ids, probs) in given.items():
        weights = read_weights(inputs[split], ids)
        seen = weights > 0
        treated = as_held(said[split]) if said and treatment.keep is None else probs.copy()
        if treatment.of is not None:
            treated[seen] = as_held(treatment.of(by_class(probs[seen]), settings))
        if treatment.keep is not None and split == "transfer_train":
            ids_seen = list(compress(ids, seen))
            right = np.array([truth[id] for id in ids_seen]) if treatment.is_oracle else None
            weights[seen] = treatment.keep(
                by_class(probs[seen]), ids_seen, right, said[split][seen] if said else None, settings
            )
            metrics["n_dropped"] = int(seen.sum() - weights.sum())
        write_weak_probs(out / f"{split}.parquet", ids, treated, weights)
        metrics[f"mean_change_{split}"] = float(np.abs(treated - probs).mean())
    return metrics


def _said(
    treatment: Treatment, settings: Any, given: Mapping[str, tuple[list[str], np.ndarray]], inputs: dict[str, Path]
) -> dict[str, np.ndarray]:
    """What features say of each split, [N, C], fitted on the rows that are trained on; nothing where none are read."""
    if treatment.guess is None:
        return {}
    ids, probs = given["transfer_train"]
    kept = read_weights(inputs["transfer_train"], ids) > 0
    vectors = {split: read_features(inputs[f"features.{split}"], given[split][0]) for split in given}
    features, labels = vectors["transfer_train"][kept], by_class(probs[kept])
    said = {split: by_class(probs.copy()) for split, (_, probs) in given.items()}
    said["transfer_train"][kept] = treatment.guess(features, labels, features, settings, are_same=True)
    said["validation"] = treatment.guess(features, labels, vectors["validation"], settings, are_same=False)
    return said


def combine(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """One label of those that several supervisors give, and how good and how different these are.

    The truth is for the metrics; of the labels, only a way that asks for the members' accuracies sees any, that of the
    validation rows.
    """
    way = WAYS.get(params["combine"]["by"])
    settings = way.params.model_validate(params["combine"])
    view = VIEWS.get(params["setting"])
    return combined(inputs, out, view, lambda probs, accuracies: way.of(probs, accuracies, settings))


def combined(
    inputs: dict[str, Path], out: Path, view: View, way: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> dict[str, Any]:
    """Write what ``way`` makes of the members' labels of each split, and say how good and how different they are.

    Args:
        inputs: labels of member I as ``SPLIT.I``, and the rows as ``rows_SPLIT``.
        out: gets the labels of each split.
        view: of the rows.
        way: [M, N] P(class 1) by each member, and [M] accuracies on validation, to [N] P(class 1).
    """
    n_members = sum(name.startswith("validation.") for name in inputs)
    rows = {split: read_rows(inputs[f"rows_{split}"]) for split in LABELLED}
    given = {
        split: np.array([read_weak_probs(inputs[f"{split}.{i}"], rows[split].ids) for i in range(n_members)])
        for split in LABELLED
    }  # [M, N] each
    accuracies = {split: np.array([accuracy(p, rows[split].gt_labels) for p in given[split]]) for split in LABELLED}
    metrics: dict[str, Any] = {"n_members": n_members}
    for split in LABELLED:
        probs = way(given[split], accuracies["validation"])
        write_weak_probs(out / f"{split}.parquet", rows[split].ids, probs)
        metrics |= label_quality(probs, rows[split].gt_labels, list(each(rows[split], view.lure)), split)
        metrics[f"member_accuracy_{split}"] = float(accuracies[split].mean())
        metrics[f"disagreement_{split}"] = disagreement(given[split])
    return metrics


def import_labels(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Labels from a file of the user's, which has to hold those of all prepared rows and of no others."""
    rows = {split: read_rows(inputs[split]) for split in LABELLED}
    answers, view = SETTINGS.get(params["setting"]).answers(params), VIEWS.get(params["setting"])
    given = GIVEN.get(params["setting"])(params, inputs["file"], rows)
    quality: dict[str, Any] = {}
    for split in LABELLED:
        answers.write(out / f"{split}.parquet", rows[split].ids, given[split])
        quality |= QUALITIES.get(params["setting"])(params, given[split], rows[split], view.lure, split)
    return quality


def judge(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Compare a supervisor's labels of the test split with ground truth, as ``score`` does a model's answers.

    With ``texts``, what he was told about these rows, also by who of those who told him had the truth on his side.
    """
    rows = read_rows(inputs["test"])
    answers, view = SETTINGS.get(params["setting"]).answers(params), VIEWS.get(params["setting"])
    said = answers.read(inputs["labels"], rows.ids)
    quality = SCORES.get(params["setting"])(
        params, out / "predictions.parquet", rows, read_groups(inputs["test"]), said, view.metrics
    )
    if "texts" in inputs:
        turns = read_texts(inputs["texts"], rows.ids)
        quality |= by_side(answers.is_right(said, rows), rows.gt_labels, [turns[id] for id in rows.ids])
    return quality
