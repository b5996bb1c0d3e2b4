"""The contract of losses, naive finetuning, and what is done to the labels of a batch, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.w2s_core.methods.batches import both, probs, some_batch, value
from w2s_core.config import Frozen
from w2s_core.methods.losses import LOSSES, Xent, learned


def test_xent_is_the_mean_cross_entropy() -> None:
    logits, batch = some_batch()
    p = logits.detach().double().numpy()
    p = np.exp(p) / np.exp(p).sum(1, keepdims=True)
    w = batch.targets[:, 1].numpy()
    expected = -np.mean(w * np.log(p[:, 1]) + (1 - w) * np.log(p[:, 0]))
    assert LOSSES.get("xent").of(logits, batch, Xent()).value.item() == pytest.approx(expected, rel=1e-12)


def test_xent_gradient_is_probability_minus_target() -> None:
    logits, batch = some_batch()
    LOSSES.get("xent").of(logits, batch, Xent()).value.backward()
    expected = (logits.detach().softmax(-1)[:, 1] - batch.targets[:, 1]) / len(logits)
    torch.testing.assert_close(logits.grad[:, 1].double(), expected, atol=1e-7, rtol=0)


def test_smoothing_spreads_a_share_of_every_label() -> None:
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]], dtype=torch.float64)
    expected = 0.9 * targets.numpy() + 0.1 / 3
    np.testing.assert_allclose(learned(targets, Xent(smoothing=0.1)).numpy(), expected)


def test_smoothing_changes_what_a_loss_sees() -> None:
    logits, batch = some_batch(labels=[0.0, 1.0, 1.0])
    w = np.array([0.05, 0.95, 0.95])
    p = probs(logits)
    expected = -np.mean(w * np.log(p[:, 1]) + (1 - w) * np.log(p[:, 0]))
    assert value("xent", logits, batch, smoothing=0.1).value.item() == pytest.approx(expected, rel=1e-6)


def test_balancing_shifts_log_odds_by_their_mean() -> None:
    w = np.random.default_rng(0).uniform(0.3, 0.99, 16)
    log_odds = np.log(w / (1 - w))
    expected = 1 / (1 + np.exp(-(log_odds - log_odds.mean())))
    found = learned(both(torch.from_numpy(w)), Xent(balance_batch=True))
    np.testing.assert_allclose(found[:, 1].numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(1).numpy(), 1)


def test_balancing_takes_certain_labels() -> None:
    found = learned(both(torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)), Xent(balance_batch=True))
    assert found.isfinite().all()
    assert found[0, 1] < 0.001 < 0.99 < found[1, 1] == found[2, 1]


def test_balancing_leaves_a_batch_of_one_its_label() -> None:
    one = both(torch.tensor([0.9], dtype=torch.float64))
    assert torch.equal(learned(one, Xent(balance_batch=True)), one)


def test_balancing_makes_coins_of_labels_that_are_all_the_same() -> None:
    same = both(torch.tensor([0.9, 0.9], dtype=torch.float64))
    np.testing.assert_allclose(learned(same, Xent(balance_batch=True)).numpy(), 0.5)


def test_labels_that_are_to_be_left_alone_are_the_very_same() -> None:
    targets = both(torch.rand(4, dtype=torch.float64))
    assert learned(targets, Xent()) is targets
    assert learned(targets, Frozen()) is targets
