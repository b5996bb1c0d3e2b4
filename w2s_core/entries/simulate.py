"""The stage ``simulate``: labels of a chosen accuracy, with errors of a chosen structure.

Only files in, files out; which rows are wrong is in ``w2s_core.methods.mistakes``.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.data.rows import Rows, each, read_rows, read_weak_probs, write_weak_probs
from w2s_core.methods.mistakes import STRUCTURES, Seen, wrong_rows
from w2s_core.metrics import label_quality
from w2s_core.settings.setting import VIEWS
from w2s_core.stages import LABELLED
from w2s_core.watch import Watch


def simulate(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """The truth, but for exactly as many rows of each split as the accuracy says."""
    structure = STRUCTURES.get(params["errors"]["kind"])
    settings = structure.params.model_validate(params["errors"])
    confidence, view = params["confidence"], VIEWS.get(params["setting"])
    quality: dict[str, Any] = {}
    anchor: str | None = None
    for number, split in enumerate(LABELLED):
        rows = read_rows(inputs[split])
        draws = _draws(rows, [params["seed"], number])
        if anchor is None:
            anchor = next(itertools.islice(each(rows, view.text), int(draws.argmin()), None))
        answers = None
        if structure.default_model is not None:
            answers = read_weak_probs(inputs[f"answers.{split}"], rows.ids)
        scores = structure.scores(Seen(rows, view, anchor, answers), settings)
        n_wrong = round((1 - params["accuracy"]) * len(rows))
        wrong = wrong_rows(scores, rows.gt_labels, n_wrong, draws, balanced=params["balanced"])
        said = np.where(wrong, 1 - rows.gt_labels, rows.gt_labels)
        probs = np.where(said == 1, confidence, 1 - confidence)
        write_weak_probs(out / f"{split}.parquet", rows.ids, probs)
        quality |= label_quality(probs, rows.gt_labels, list(each(rows, view.lure)), split)
    return quality


def _draws(rows: Rows, seed: list[int]) -> np.ndarray:
    """A number of each row, [N] float64, whatever the order of the rows in their file."""
    draws = np.empty(len(rows))
    draws[sorted(range(len(rows)), key=rows.ids.__getitem__)] = np.random.default_rng(seed).random(len(rows))
    return draws
