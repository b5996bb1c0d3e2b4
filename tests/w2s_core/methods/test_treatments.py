"""Treatments of labels against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from w2s_core.methods.treatments import (
    COLDEST,
    HOTTEST,
    TREATMENTS,
    Calibrate,
    Clip,
    Harden,
    Temper,
    best_temperature,
)

OF_TWO = [0.0, 1.0, 0.5, 0.2, 0.51, 1e-300]


def two(*probs: float) -> np.ndarray:
    """[N, 2] of P(class 1)."""
    return np.array([[1 - p, p] for p in probs])


def test_hardened_labels_are_certain_of_the_likeliest_class_and_ties_are_of_the_first() -> None:
    probs = np.array([[0.4, 0.6], [0.5, 0.5], [1.0, 0.0], [0.2, 0.8]])

    hardened = TREATMENTS.get("harden").of(probs, Harden())

    assert hardened.tolist() == [[0, 1], [1, 0], [1, 0], [0, 1]]


def test_hardening_works_for_more_classes() -> None:
    hardened = TREATMENTS.get("harden").of(np.array([[0.2, 0.5, 0.3]]), Harden())

    assert hardened.tolist() == [[0, 1, 0]]


def test_hardening_at_the_median_calls_half_of_the_rows_each_class_however_sure_the_labels_are() -> None:
    hardened = TREATMENTS.get("harden").of(two(0.52, 0.51, 0.505, 0.56), Harden(at="median"))

    assert hardened[:, 1].tolist() == [1, 0, 0, 1]


def test_rows_at_the_median_itself_are_of_the_first_class() -> None:
    of = TREATMENTS.get("harden").of

    assert of(two(0.7, 0.7, 0.7), Harden(at="median"))[:, 1].tolist() == [0, 0, 0]
    assert of(two(0.3, 0.1, 0.6), Harden(at="median"))[:, 1].tolist() == [0, 0, 1]
    assert of(two(0.9), Harden(at="median"))[:, 1].tolist() == [0]


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 3.0])
def test_tempered_log_odds_are_divided_by_the_temperature(temperature: float) -> None:
    probs = two(0.2, 0.5, 0.51)

    tempered = TREATMENTS.get("temper").of(probs, Temper(temperature=temperature))

    def log_odds(p: np.ndarray) -> np.ndarray:
        return np.log(p[:, 1] / p[:, 0])

    np.testing.assert_allclose(log_odds(tempered), log_odds(probs) / temperature, atol=1e-12)


def loss(probs: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    """Mean negative log-likelihood, of tempered labels."""
    odds = np.log(probs[:, 1] / probs[:, 0]) / temperature
    return float(np.mean(np.logaddexp(0, np.where(truth == 1, -odds, odds))))


@pytest.mark.parametrize("spread", [0.05, 0.5, 4.0])
def test_calibrating_takes_the_temperature_of_the_greatest_likelihood(spread: float) -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, spread, 400)
    probs, truth = two(*(1 / (1 + np.exp(-odds)))), (rng.random(400) < 1 / (1 + np.exp(-odds / spread))).astype(int)

    fitted = best_temperature(probs, truth, Calibrate())

    losses = {t: loss(probs, truth, t) for t in fitted.temperature * np.array([0.98, 1.0, 1.02])}
    assert min(losses, key=lambda t: losses[t]) == fitted.temperature
    assert fitted.temperature == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize(
    ("probs", "truth", "temperature"),
    [
        ((0.4, 0.6), (0, 1), COLDEST),
        ((0.4, 0.6), (1, 0), HOTTEST),
        ((0.0, 1.0), (0, 1), COLDEST),
        ((0.0, 1.0, 1.0), (0, 1, 0), HOTTEST),
    ],
    ids=["all right", "all wrong", "sure and right", "sure and sometimes wrong"],
)
def test_temperature_has_bounds(probs: tuple[float, ...], truth: tuple[int, ...], temperature: float) -> None:
    fitted = best_temperature(two(*probs), np.array(truth), Calibrate())

    assert fitted.temperature == pytest.approx(temperature, rel=1e-6)


def test_clipped_labels_have_no_class_below_the_bound_and_others_stay() -> None:
    clipped = TREATMENTS.get("clip").of(two(0.0, 1.0, 0.02, 0.3), Clip(least=0.05))

    np.testing.assert_allclose(clipped[:, 1], [0.05, 0.95, 0.05, 0.3])


@pytest.mark.parametrize("kind", [name for name in TREATMENTS if TREATMENTS.get(name).of is not None])
def test_treated_labels_are_probabilities_in_any_order_of_the_rows(kind: str) -> None:
    treatment, probs = TREATMENTS.get(kind), two(*OF_TWO)
    params = treatment.params()
    if treatment.fit is not None:
        params = treatment.fit(probs, np.array([0, 1, 0, 0, 1, 1]), params)

    treated = treatment.of(probs, params)

    assert (treated >= 0).all()
    np.testing.assert_allclose(treated.sum(1), 1)
    np.testing.assert_array_equal(treatment.of(probs[::-1], params)[::-1], treated)
    assert probs.tolist() == two(*OF_TWO).tolist()


@pytest.mark.parametrize(
    ("of", "values"), [(Temper, {"temperature": 0}), (Clip, {"least": 0.6}), (Harden, {"at": "x"})]
)
def test_setting_that_means_nothing_is_refused(of: type, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        of(**values)
