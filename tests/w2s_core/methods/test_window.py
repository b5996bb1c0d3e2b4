"""The confidence window against its definition written naively, and its edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.w2s_core.methods.batches import both, gradient, probs, some_batch, value
from w2s_core.methods.losses import LOSSES, Batch
from w2s_core.methods.window import Window


@pytest.mark.parametrize("radius", [0.05, 0.15, 0.3])
def test_window_is_the_cross_entropy_of_unsure_answers_over_the_whole_batch(radius: float) -> None:
    logits, batch = some_batch(n=32)
    p, w = probs(logits), batch.targets.numpy()
    is_unsure = p.max(1) < 0.5 + radius
    expected = -(w * np.log(p)).sum(1)[is_unsure].sum() / 32
    found = value("window", logits, batch, radius=radius)
    assert 0 < is_unsure.sum() < 32
    assert found.value.item() == pytest.approx(expected, rel=1e-6)
    assert float(found.log["window_share"]) == is_unsure.mean()
    assert not gradient(found, logits)[torch.from_numpy(~is_unsure)].any()


def test_sure_student_has_a_loss_of_zero_with_a_gradient_of_zero() -> None:
    logits = torch.tensor([[900.0, -900.0], [0.0, 8.0]], requires_grad=True)
    found = value("window", logits, Batch(both(torch.tensor([1.0, 0.0], dtype=torch.float64)), torch.arange(2), 0.5))
    assert found.value.item() == 0
    assert gradient(found, logits).tolist() == [[0, 0], [0, 0]]


def test_radius_of_more_than_a_half_is_xent_bit_for_bit() -> None:
    logits, batch = some_batch(n=32)
    found, naive = value("window", logits, batch, radius=0.51), value("xent", logits, batch)
    assert found.value.item() == naive.value.item()
    assert torch.equal(gradient(found, logits), gradient(naive, logits))


@pytest.mark.parametrize(
    ("labels", "radius"), [([0.5, 0.9, 0.2], 0.3), ([0.5, 0.6, 0.1, 0.0], 0.1), ([0.0, 1.0, 1.0], 0.5)]
)
def test_midweak_is_the_lower_median_distance_of_the_trainings_labels_from_a_half(
    labels: list[float], radius: float
) -> None:
    targets = both(torch.tensor(labels, dtype=torch.float64))
    state = LOSSES.get("window").start(targets, Window(radius="midweak"))
    assert float(state["radius"]) == pytest.approx(radius)


def test_chance_is_that_of_the_number_of_classes() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    batch = Batch(torch.full((2, 3), 1 / 3, dtype=torch.float64), torch.arange(2), 0.5)
    assert float(value("window", logits, batch).log["window_share"]) == 0.5
