"""The stages by which members of an ensemble learn from other rows: ``bag``, ``boost``, and ``vote``, which combines.

Only files in, files out; draws, weights and votes are in ``w2s_core.methods.boosting``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.data.rows import read_draws, read_rows, read_vote, write_draws, write_repeated
from w2s_core.entries.labels import combined
from w2s_core.methods.boosting import after, drawn, voted
from w2s_core.metrics import harden
from w2s_core.settings.setting import KINDS, SETTINGS, VIEWS
from w2s_core.training.predict import predict
from w2s_core.watch import Watch


def bag(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Draw as many rows as there are, with replacement, all with equal chances: a bootstrap sample."""
    n = len(read_rows(inputs["weak_train"]))
    return _draw(np.full(n, 1 / n), params["seed"], inputs["weak_train"], out)


def boost(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Draw the rows of the next member: those that this one has wrong more often; and say what its vote counts.

    Args:
        params: ``setting``, and the ``seed`` of the draws.
        inputs: the ``model`` of this member; ``weak_train``, all rows; ``weights``, by which its own rows were drawn,
            where they were.
        out: gets ``weak_train``, the rows that are drawn, and ``weights``, with the vote.
        watch: hears of every pass.
    """
    rows = read_rows(inputs["weak_train"])
    weights = read_draws(inputs["weights"], rows.ids) if "weights" in inputs else np.full(len(rows), 1 / len(rows))
    probs = predict(SETTINGS.get(params["setting"]), KINDS.get(params["setting"]).load(inputs["model"]), rows, watch)[
        :, 1
    ]
    is_wrong = harden(probs) != rows.gt_labels
    following = after(weights, is_wrong)
    write_draws(out / "weights.parquet", rows.ids, following.weights, following.vote)
    drawn_rows = _draw(following.weights, params["seed"], inputs["weak_train"], out)
    return {**drawn_rows, "weighted_error": float(weights[is_wrong].sum()), "vote": following.vote}


def vote(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Combine the members of a boosted ensemble by their votes."""
    n_members = sum(name.startswith("votes.") for name in inputs)
    votes = np.array([read_vote(inputs[f"votes.{i}"]) for i in range(n_members)])
    return combined(inputs, out, VIEWS.get(params["setting"]), lambda probs, accuracies: voted(probs, votes))


def _draw(weights: np.ndarray, seed: int, path: Path, out: Path) -> dict[str, Any]:
    counts = drawn(weights, seed)
    write_repeated(out / "weak_train.parquet", path, counts)
    return {"n": len(counts), "n_different": int((counts > 0).sum())}
