"""Stopping rules: where they look, and which weights they prefer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.methods.stopping import STOPS
from w2s_core.training.distributed import ALONE
from w2s_core.training.kept import Kept


def points(rule: str, n_steps: int, epochs: int, **params: Any) -> set[int]:
    entry = STOPS.get(rule)
    return entry.points(n_steps, epochs, entry.params.model_validate({"rule": rule, **params}))


def test_rules_that_look_for_the_best_look_twenty_times_an_epoch_and_at_the_end() -> None:
    for rule in ("val_weak", "val_gt"):
        assert points(rule, n_steps=200, epochs=2) == set(range(5, 201, 5))
        assert points(rule, n_steps=7, epochs=1) == set(range(1, 8))


@pytest.mark.parametrize(("at", "step"), [(0.5, 5), (0.01, 1), (0.99, 10), (0.25, 3)])
def test_fraction_is_of_the_steps(at: float, step: int) -> None:
    assert points("fraction", n_steps=10, epochs=3, at=at) == {step}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_first_of_the_best_weights_are_kept_and_no_others(accuracies: list[tuple[int, int]]) -> None:
    kept = Kept([{"rule": "val_weak"}, {"rule": "val_gt"}], n_steps=len(accuracies), epochs=2)
    model: Any = torch.nn.Linear(1, 1)
    for step, (of_labels, of_truth) in enumerate(accuracies, start=1):
        model.weight.data.fill_(step)
        if step in kept.points:
            kept.look(step, {"label_accuracy": of_labels, "gt_accuracy": of_truth}, model, ALONE)

    looked = [(step, accuracies[step - 1]) for step in sorted(kept.points)]
    best = [max(looked, key=lambda one, by=by: (one[1][by], -one[0]))[0] for by in (0, 1)]
    assert [one.step for one in kept.best if one is not None] == best
    assert {step: weights["weight"].item() for step, weights in kept.weights.items()} == {step: step for step in best}
