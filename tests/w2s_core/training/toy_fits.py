"""Trainings of seconds, and what they tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tests.tiny_models import CLASSIFY, toy_rows, training_params
from w2s_core.metrics import two_classes
from w2s_core.models.classifier import Classifier
from w2s_core.training.fit import Fit, Recipe, fit
from w2s_core.watch import Silent

XENT = {"loss": "xent"}
LOGCONF = {"loss": "logconf", "alpha_max": 0.5, "warmup_frac": 0.2, "threshold": "half"}


class Recorder(Silent):
    """Keeps what it is told."""

    def __init__(self, micro_tokens: int = 16_384) -> None:
        super().__init__(micro_tokens=micro_tokens)
        self.rows: list[dict[str, float]] = []
        self.last: tuple[int, int, str] | None = None
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        self.rows.extend(map(dict, rows))

    def progress(self, done: int, total: int, unit: str) -> None:
        self.last = (done, total, unit)


def run(
    classifier: Classifier,
    *,
    n: int = 40,
    lr: float = 1e-2,
    seed: int = 0,
    loss: Mapping[str, Any] = XENT,
    targets: np.ndarray | None = None,
    watch: Silent | None = None,
    evaluate: Callable[[], dict[str, float]] | None = None,
    **training: Any,
) -> Fit:
    rows = toy_rows(n)
    return fit(
        CLASSIFY,
        classifier,
        rows,
        two_classes(rows.gt_labels.astype(float) if targets is None else targets),
        Recipe(loss, training_params(**training), lr, seed),
        watch=watch or Silent(),
        evaluate=evaluate,
    )


def weights(classifier: Classifier) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in classifier.parameters()])
