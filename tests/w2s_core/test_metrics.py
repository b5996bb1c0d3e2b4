"""Metrics against their definitions, at the edges too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.metrics import accuracy, auroc, brier, certainty, correlation, ece

examples = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=40)


def test_half_is_class_0() -> None:
    assert accuracy(np.array([0.5, 0.5, 0.51]), np.array([0, 1, 1])) == pytest.approx(2 / 3)


@given(examples)
def test_auroc_is_the_share_of_ordered_pairs(examples: list[tuple[int, int]]) -> None:
    probs = np.array([p / 8 for p, _ in examples])
    labels = np.array([label for _, label in examples])
    pairs = [(p > q) + 0.5 * (p == q) for p in probs[labels == 1] for q in probs[labels == 0]]
    expected = None if not pairs else pytest.approx(np.mean(pairs))
    assert auroc(probs, labels) == expected


def test_brier_is_the_mean_squared_error() -> None:
    assert brier(np.array([0.0, 0.5, 1.0]), np.array([0, 1, 0])) == pytest.approx((0 + 0.25 + 1) / 3)


@given(examples)
def test_ece_is_the_weighted_gap_per_bin(examples: list[tuple[int, int]]) -> None:
    probs = np.array([p / 8 for p, _ in examples])
    labels = np.array([label for _, label in examples])
    gap = 0.0
    for i in range(15):
        inside = (probs >= i / 15) & ((probs < (i + 1) / 15) | (i == 14))
        if inside.any():
            gap += inside.mean() * abs(probs[inside].mean() - labels[inside].mean())
    assert ece(probs, labels) == pytest.approx(gap)


def test_certain_and_right_is_perfectly_calibrated() -> None:
    assert ece(np.array([0.0, 1.0, 1.0]), np.array([0, 1, 1])) == 0.0


def test_certainty_is_the_mean_distance_from_one_half() -> None:
    assert certainty(np.array([0.0, 1.0])) == 0.5
    assert certainty(np.array([0.5, 0.5])) == 0
    assert certainty(np.array([0.4, 0.9])) == pytest.approx(0.25)


def test_nothing_correlates_with_what_never_changes() -> None:
    assert correlation(np.array([0.5, 0.5]), np.array([3, 4])) is None
    assert correlation(np.array([0.2, 0.4]), np.array([3, 3])) is None
    assert correlation(np.array([0.2, 0.4, 0.6]), np.array([9, 6, 3])) == pytest.approx(-1)
