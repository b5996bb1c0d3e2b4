"""Made results of a whole grid, for ``docs/sql.md``: six datasets, three models, two methods, three seeds, an ensemble.

Every answer is drawn, from a fixed seed: the numbers say nothing of models.
"""

from __future__ import annotations

import math
import os
import random
from itertools import combinations
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa

from artifacts.identity.keys import JSON
from artifacts.results.build import build
from flows.home import output_kinds
from tests.toy_grid import ToyGrid

DATASETS = ("boolq", "sciq", "sst2", "cola", "paws", "piqa")
MODELS = {"small": 1_000_000, "medium": 10_000_000, "large": 100_000_000}
METHODS = ("xent", "logconf")
N_SEEDS, N_ROWS = 3, 240
ABILITY = {"small": 0.6, "medium": 1.3, "large": 1.6}
ENSEMBLE = "three-small"
N_STEPS = 4


@patch.object(os, "fsync", new=lambda _: None)
def made_results(root: Path) -> Path:
    """Build the results in ``root``, and return their file; hundreds of artifacts, which need survive no power cut."""
    grid = ToyGrid(root, "made")
    draws = random.Random(0)
    for place, dataset in enumerate(DATASETS):
        hard = [draws.gauss(0, 1.5) for _ in range(N_ROWS)]
        for seed in range(N_SEEDS):
            _Cell(grid, draws, dataset, hard, seed, gain=0.9 - 0.4 * place).add()
    grid.audit("fail")
    # Of former code, whose node is the same: it had less right.
    for code, right, day in (("1" * 64, 0.61, "04"), ("0" * 64, 0.66, "05")):
        key = grid.publish(
            "score",
            {"predictions": pa.table({"id": ["a"], "prob": [0.9], "gt_label": [1]})},
            {"dataset": "boolq", "kind": "gt", "model": "tiny", "seed": 0, "half": "weak_train", "split": "test"},
            {"n": N_ROWS, "accuracy": right}, node="c" * 64, code=code, started=f"2026-01-{day}T00:00:00+00:00",
        )  # fmt: skip
        if code[0] == "1":
            del grid.nodes[key]
    grid.run()
    build(grid.store, grid.results, output_kinds)
    return grid.results


class _Cell:
    """The models of one dataset and seed."""

    def __init__(
        self, grid: ToyGrid, draws: random.Random, dataset: str, hard: list[float], seed: int, gain: float
    ) -> None:
        self.grid, self.draws, self.dataset, self.hard, self.seed, self.gain = grid, draws, dataset, hard, seed, gain

    def add(self) -> None:
        """Publish all of them, and the pairs."""
        sure = {model: self._answers(ability) for model, ability in ABILITY.items()}
        score = {model: self._score(sure[model], model, "weak_train", kind="gt") for model in ("small", "medium")}
        top = {model: self._answers(ABILITY[model] + 0.2) for model in ("medium", "large")}
        ceiling = {model: self._score(top[model], model, "transfer_train", kind="gt") for model in top}
        for model in score:
            self._labels("weak_labels", model, sure[model], {})
        for weak, strong in combinations(MODELS, 2):
            for method in METHODS:
                self._pair(weak, strong, method, sure[weak], score[weak], ceiling[strong])
        members = [self._answers(ABILITY["small"]) for _ in range(3)]
        mean = [sum(values) / 3 for values in zip(*members, strict=True)]
        apart = [
            sum((a > 0) != (b > 0) for a, b in zip(one, other, strict=True)) / N_ROWS
            for one, other in combinations(members, 2)
        ]
        of_members = {
            "n_members": 3,
            "member_accuracy_test": sum(map(_share, members)) / 3,
            "disagreement_test": sum(apart) / 3,
        }
        self._labels("combine", ENSEMBLE, mean, of_members)
        given = self._score(mean, None, None, kind="gt", supervisor=ENSEMBLE)
        self._pair("small", "large", f"xent of {ENSEMBLE}", mean, score["small"], ceiling["large"], given)

    def _pair(
        self,
        weak: str,
        strong: str,
        method: str,
        labels: list[float],
        score: str,
        ceiling: str,
        given: str | None = None,
    ) -> None:
        """A student that learns from ``labels``, by row above 0 where they are right and by how much."""
        bold = self.gain if method == "logconf" else 0.0
        own = self._answers(ABILITY[strong] + bold)
        student = [0.55 * theirs + 0.45 * mine for theirs, mine in zip(labels, own, strict=True)]
        supervisor = weak if given is None else ENSEMBLE
        transfer = self._score(
            student, strong, "transfer_train", kind="w2s", supervisor=supervisor, method=method,
            near=(self.dataset, weak, strong, self.seed) == ("piqa", "small", "medium", 2),
        )  # fmt: skip
        self.grid.pairs.append(
            {
                "dataset": self.dataset, "weak": weak, "strong": strong, "method": method, "seed": self.seed,
                "weak_score": score, "transfer_score": transfer, "ceiling_score": ceiling,
                **({} if given is None else {"supervisor_score": given}),
            }
        )  # fmt: skip

    def _answers(self, ability: float) -> list[float]:
        """Log odds of being right on each row."""
        return [ability - hard + self.draws.gauss(0, 1) for hard in self.hard]

    def _score(
        self,
        odds: list[float],
        model: str | None,
        half: str | None,
        *,
        kind: str,
        supervisor: str | None = None,
        method: str | None = None,
        near: bool = False,
    ) -> str:
        labels: dict[str, JSON] = {
            "dataset": self.dataset, "kind": kind, "model": model, "half": half, "supervisor": supervisor,
            "method": method, "seed": self.seed,
        }  # fmt: skip
        inputs: dict[str, dict[str, JSON]] = {}
        if model is not None:
            key = self._training(labels, model, _share(odds), near)
            inputs["model"] = {"stage": "train", "key": key, "output": "model", "digest": "0" * 64}
        probs = [_prob(value, index % 2) for index, value in enumerate(odds)]
        truth = [index % 2 for index in range(N_ROWS)]
        table = pa.table(
            {"id": [f"item-{index}" for index in range(N_ROWS)], "prob": probs, "gt_label": pa.array(truth, pa.int8())}
        )
        brier = sum((prob - label) ** 2 for prob, label in zip(probs, truth, strict=True)) / N_ROWS
        metrics: dict[str, JSON] = {"n": N_ROWS, "accuracy": _share(odds), "auroc": None, "brier": brier, "ece": 0.05}
        score = {**labels, "split": "test"}
        return self.grid.publish("score", {"predictions": table}, score, metrics, inputs=inputs, seconds=2.0)

    def _training(self, labels: dict[str, JSON], model: str, accuracy: float, near: bool) -> str:
        place = list(MODELS).index(model)
        curve: list[dict[str, JSON]] = [
            {
                "step": step, "fraction": step / N_STEPS, "loss": 0.7 / step, "lr": 1e-5, "label_disagree": 0.3 / step,
                # Best before the end.
                "gt_accuracy": round(accuracy - 0.02 * abs(step - 3), 3),
                "label_accuracy": round(accuracy - 0.02 * abs(step - 2 - self.seed % 2), 3),
            }
            for step in range(1, N_STEPS + 1)
        ]  # fmt: skip
        metrics: dict[str, JSON] = {"near_chance": near, "label_certainty": 0.3, "n_parameters": MODELS[model]}
        weights = {"model": pa.table({"weight": [repr(labels)]})}
        stage = "train_gt" if labels["kind"] == "gt" else "train_w2s"
        return self.grid.publish(stage, weights, labels, metrics, curve=curve, seconds=60.0 * 4**place)

    def _labels(self, stage: str, supervisor: str, odds: list[float], metrics: dict[str, JSON]) -> None:
        certainty = sum(abs(_prob(value, 1) - 0.5) for value in odds) / N_ROWS
        of_test = {"accuracy_test": _share(odds), "certainty_test": certainty, "ece_test": 0.04}
        table = pa.table(
            {
                "id": [f"item-{index}" for index in range(N_ROWS)],
                "weak_prob": [_prob(v, i % 2) for i, v in enumerate(odds)],
            }
        )
        labels: dict[str, JSON] = {"dataset": self.dataset, "supervisor": supervisor, "seed": self.seed}
        self.grid.publish(stage, {"test": table}, labels, {**of_test, **metrics}, seconds=5.0)


def _share(odds: list[float]) -> float:
    return sum(value > 0 for value in odds) / len(odds)


def _prob(odds: float, label: int) -> float:
    """P(class 1), of a model that is surer than it should be."""
    return 1 / (1 + math.exp(-1.5 * odds * (2 * label - 1)))
