"""The losses of a training, judged as they come."""

from __future__ import annotations

import math

import pytest
import torch

from tests.w2s_core.training.toy_fits import Recorder
from w2s_core.errors import TrainingError
from w2s_core.methods.losses import Value
from w2s_core.training.curve import LossCurve


def told(losses: list[float], watch: Recorder | None = None) -> LossCurve:
    curve = LossCurve(len(losses), watch or Recorder())
    for step, value in enumerate(losses, 1):
        curve.add({"step": step, "lr": 0.1}, Value(torch.tensor(value), {}), torch.tensor(1.0))
    curve.fetch()
    return curve


@pytest.mark.parametrize(("first", "bound"), [(0.7, 7.0), (0.1, 6.94), (4.0, 40.0)])
def test_exploding_losses_stop_the_training(first: float, bound: float) -> None:
    told([first, *[bound - 0.1] * 20])
    with pytest.raises(TrainingError, match=r"explodes: .* over 10 steps, .* at step 1\d of 21, .*rate 0.1;.*lower"):
        told([first, *[bound + 0.1] * 20])


def test_one_bad_batch_is_no_explosion() -> None:
    assert told([0.7, 60.0, *[0.7] * 20]).recent == pytest.approx([0.7] * 10)


def test_step_that_is_not_finite_is_named_wherever_it_stands_in_its_block() -> None:
    with pytest.raises(
        TrainingError, match=r"^loss nan with gradient norm 1 at step 4 of 14, .*: 0.5, 0.5, 0.5; lower"
    ):
        told([0.5] * 3 + [math.nan] * 11)
