"""Linear probes, against their definition."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_core.methods.probes import L2, Probe, choose, cross_entropy, fit

Data = tuple[np.ndarray, np.ndarray]


def drawn(n: int, width: int = 3, seed: int = 0) -> Data:
    """Features of different sizes and places, and soft labels that follow them with noise."""
    rng = np.random.default_rng(seed)
    standard = rng.normal(size=(n, width))
    log_odds = standard @ np.arange(1, width + 1) + rng.normal(size=n) * 2
    features = standard * 10.0 ** np.arange(width) - 5
    return features.astype(np.float32), 1 / (1 + np.exp(-log_odds))


def objective(features: np.ndarray, targets: np.ndarray, weight: np.ndarray, bias: float, l2: float) -> float:
    """Sum of cross-entropies and penalty, written out."""
    x = features.astype(float)
    z = (x - x.mean(0)) / x.std(0) @ weight + bias
    p = 1 / (1 + np.exp(-z))
    return float(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum() + l2 / 2 * (weight**2).sum())


@pytest.mark.parametrize("l2", [0.0, 0.1, 10.0])
def test_gradient_of_the_objective_is_zero_at_the_fit(l2: float) -> None:
    features, targets = drawn(60)

    probe = fit(features, targets, l2)

    at = np.array([*probe.weight, probe.bias])
    for step in np.eye(len(at)) * 1e-4:
        up, down = (objective(features, targets, v[:-1], v[-1], l2) for v in (at + step, at - step))
        assert (up - down) / 2e-4 == pytest.approx(0, abs=1e-5)


def test_probabilities_are_those_of_the_standardised_features() -> None:
    features, targets = drawn(40)
    others, _ = drawn(10, seed=1)

    probe = fit(features, targets, 1.0)

    standardised = (others - features.astype(float).mean(0)) / features.astype(float).std(0)
    expected = 1 / (1 + np.exp(-(standardised @ probe.weight + probe.bias)))
    np.testing.assert_allclose(probe.probs(others), expected, rtol=1e-9)


def test_fit_does_not_depend_on_the_scale_and_place_of_a_feature() -> None:
    features, targets = drawn(40)
    moved = features * np.array([4, 1, 0.5], np.float32)

    np.testing.assert_allclose(fit(moved, targets, 1.0).weight, fit(features, targets, 1.0).weight, rtol=1e-5)


def test_feature_that_does_not_vary_changes_nothing() -> None:
    features, targets = drawn(40)
    constant = np.hstack([features, np.full((40, 1), 0.1, np.float32)])

    with_it, without = fit(constant, targets, 1.0), fit(features, targets, 1.0)

    assert with_it.weight[-1] == 0
    np.testing.assert_allclose(with_it.probs(constant), without.probs(features), rtol=1e-9)


def test_separable_classes_without_a_penalty_have_finite_weights() -> None:
    features = np.array([[-2], [-1], [1], [2]], np.float32)

    probe = fit(features, np.array([0.0, 0, 1, 1]), 0.0)

    assert np.isfinite([*probe.weight, probe.bias]).all()
    assert (probe.probs(features).round() == [0, 0, 1, 1]).all()


def test_more_features_than_rows_are_fitted() -> None:
    features, targets = drawn(10, width=4)
    wide = np.hstack([features, np.random.default_rng(1).normal(size=(10, 30)).astype(np.float32)])

    assert np.isfinite(fit(wide, targets, 0.0).weight).all()


def test_labels_of_one_class_are_repeated() -> None:
    features, _ = drawn(20)

    assert (fit(features, np.ones(20), 1.0).probs(features) > 0.9).all()


def test_greater_penalties_give_smaller_weights() -> None:
    features, targets = drawn(40)

    sizes = [np.abs(fit(features, targets, l2).weight).sum() for l2 in sorted(L2)]

    assert sizes == sorted(sizes, reverse=True)


def test_fit_is_the_same_twice() -> None:
    features, targets = drawn(40)

    assert (fit(features, targets, 0.1).weight == fit(features, targets, 0.1).weight).all()


def test_penalty_with_the_least_validation_loss_is_chosen() -> None:
    train, held_out = drawn(12, width=6), drawn(40, width=6, seed=1)

    chosen = choose(*train, *held_out, L2)

    losses = {l2: cross_entropy(fit(*train, l2).log_odds(held_out[0]), held_out[1]) for l2 in L2}
    assert chosen.validation_loss == pytest.approx(min(losses.values()))
    assert chosen.probe.l2 == min(losses, key=losses.__getitem__)
    assert 0 < chosen.probe.l2 < max(L2)


def test_greatest_of_equally_good_penalties_is_chosen() -> None:
    # Nothing to learn from: all penalties leave the weights at zero.
    features = np.ones((8, 2), np.float32)
    targets = np.full(8, 0.25)

    assert choose(features, targets, features, targets, [1.0, 100.0, 0.0]).probe.l2 == 100.0


def test_cross_entropy_is_finite_where_the_probe_is_sure_and_wrong() -> None:
    assert cross_entropy(np.array([-1e4]), np.array([1.0])) == 1e4


def test_probability_of_any_log_odds_is_in_bounds() -> None:
    probe = Probe(np.zeros(1), np.ones(1), np.ones(1), 0.0, 0.0)

    assert probe.probs(np.array([[-1e4], [0], [1e4]])).tolist() == [0, 0.5, 1]
