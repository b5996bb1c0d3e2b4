"""Divergences and the product loss against their definitions written naively."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.w2s_core.methods.batches import both, gradient, probs, some_batch, value
from w2s_core.methods.divergences import Kl
from w2s_core.methods.losses import LOSSES, Batch, Xent


def test_kl_is_cross_entropy_less_the_entropy_of_the_labels() -> None:
    logits, batch = some_batch()
    p, w = logits.detach().double().softmax(-1).numpy(), batch.targets.numpy()

    found = LOSSES.get("kl").of(logits, batch, Kl())

    assert found.value.item() == pytest.approx(np.mean((w * np.log(w / p)).sum(1)), rel=1e-12)


def test_kl_has_the_gradient_of_xent() -> None:
    gradients = []
    for name, params in ("kl", Kl()), ("xent", Xent()):
        logits, batch = some_batch()
        LOSSES.get(name).of(logits, batch, params).value.backward()
        gradients.append(logits.grad)
    assert torch.equal(*gradients)


def test_kl_is_zero_where_the_student_says_what_the_labels_say_even_if_they_are_certain() -> None:
    sure = torch.tensor([[800.0, -800.0], [0.0, 0.0]])
    batch = Batch(torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64), torch.tensor([0, 1]), 0.5)

    assert LOSSES.get("kl").of(sure, batch, Kl()).value.item() == 0


def test_reverse_kl_is_the_mean_of_p_log_p_over_w() -> None:
    logits, batch = some_batch()
    p, w = probs(logits), batch.targets.numpy()
    expected = np.mean((p * np.log(p / w)).sum(1))
    assert value("rkl", logits, batch).value.item() == pytest.approx(expected, rel=1e-6)


def test_reverse_kl_has_labels_of_a_least_probability() -> None:
    logits, batch = some_batch(labels=[0.0, 1.0, 0.005])
    p = probs(logits)
    w = np.array([[1 / 1.01, 0.01 / 1.01], [0.01 / 1.01, 1 / 1.01], [0.995 / 1.005, 0.01 / 1.005]])
    expected = np.mean((p * np.log(p / w)).sum(1))
    assert value("rkl", logits, batch, epsilon=0.01).value.item() == pytest.approx(expected, rel=1e-6)


def test_reverse_kl_counts_answers_that_are_no_class_as_a_label_of_zero() -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    batch = Batch(both(torch.tensor([0.3, 0.6], dtype=torch.float64)), torch.arange(2), 0.5)
    p = probs(logits)
    w = np.array([[0.7, 0.3, 1e-4], [0.4, 0.6, 1e-4]]) / 1.0001
    assert value("rkl", logits, batch).value.item() == pytest.approx(np.mean((p * np.log(p / w)).sum(1)), rel=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0), (0.0, 1.0), (1.0, 0.0)])
def test_product_learns_from_the_normalised_product_of_powers(alpha: float, beta: float) -> None:
    logits, batch = some_batch()
    p, w = probs(logits), batch.targets.numpy()
    q = p**beta * w**alpha
    q /= q.sum(1, keepdims=True)
    found = value("product", logits, batch, alpha=alpha, beta=beta)
    assert found.value.item() == pytest.approx(-np.mean((q * np.log(p)).sum(1)), rel=1e-6)
    np.testing.assert_allclose(gradient(found, logits).numpy(), (p - q) / len(p), atol=1e-7)


def test_product_is_finite_where_student_and_label_are_sure_of_the_contrary() -> None:
    logits = torch.tensor([[900.0, -900.0]], requires_grad=True)
    batch = Batch(both(torch.tensor([1.0], dtype=torch.float64)), torch.tensor([0]), 0.9)
    found = value("product", logits, batch)
    assert found.value.isfinite()
    assert gradient(found, logits).isfinite().all()
