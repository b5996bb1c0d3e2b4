"""Ways to combine an ensemble's members against their definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from w2s_core.methods.ensembles import WAYS

PROBS = np.array([[0.0, 1.0, 0.5, 0.2, 0.51], [0.3, 0.0, 0.9, 0.8, 0.5], [1e-300, 0.7, 0.1, 0.4, 1.0]])


def combined(by: str, probs: Sequence[Sequence[float]] | np.ndarray, accuracies: Sequence[float] = ()) -> list[float]:
    way = WAYS.get(by)
    found = way.of(np.array(probs), np.array(accuracies or [0.75] * len(probs)), way.params())
    assert found.dtype == np.float64
    return list(found)


def test_mean_is_of_the_probabilities() -> None:
    assert combined("mean", PROBS) == pytest.approx([sum(of_row) / 3 for of_row in PROBS.T])


def test_logits_are_the_mean_of_log_odds_with_certainty_taken_for_an_epsilon_less() -> None:
    def log_odds(p: float) -> float:
        inside = min(max(p, 2**-52), 1 - 2**-52)
        return math.log(inside / (1 - inside))

    expected = [1 / (1 + math.exp(-sum(map(log_odds, of_row)) / 3)) for of_row in PROBS.T]

    assert combined("logits", PROBS) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n_each", [1, 2, 3, 50])
def test_logits_of_members_that_are_certain_in_opposite_directions_are_exactly_one_half(n_each: int) -> None:
    assert combined("logits", [[0.0], [1.0]] * n_each) == [0.5]
    assert combined("logits", [[0.0]] * n_each + [[1.0]] * n_each) == [0.5]


def test_logits_of_members_that_are_as_sure_of_either_class_are_exactly_one_half() -> None:
    assert combined("logits", [[0.2, 0.9, 0.5], [0.8, 0.1, 0.5]]) == [0.5, 0.5, 0.5]


def test_logits_follow_the_one_member_that_is_certain() -> None:
    [probability] = combined("logits", [[1.0], [0.1], [0.1]])

    assert 0.9 < probability < 1


def test_majority_is_the_share_of_votes_for_class_1() -> None:
    def vote(p: float) -> float:
        return 0.5 if p == 0.5 else float(p > 0.5)

    assert combined("majority", PROBS) == pytest.approx([sum(map(vote, of_row)) / 3 for of_row in PROBS.T])


def test_majority_counts_a_member_at_one_half_for_both_classes() -> None:
    above = np.nextafter(0.5, 1)

    assert combined("majority", [[0.5, 0.5, 0.5], [0.5, above, 0.0]]) == [0.5, 0.75, 0.25]


def test_members_weigh_what_their_accuracy_exceeds_one_half_by() -> None:
    expected = [(0.3 * a + 0.1 * b) / 0.4 for a, b, _ in PROBS.T]

    assert combined("accuracy", PROBS, [0.8, 0.6, 0.3]) == pytest.approx(expected)


@pytest.mark.parametrize("accuracies", [[0.5, 0.5, 0.5], [0.0, 0.5, 0.2]])
def test_members_none_of_which_beats_chance_weigh_the_same(accuracies: list[float]) -> None:
    assert combined("accuracy", PROBS, accuracies) == combined("mean", PROBS)


@pytest.mark.parametrize("by", WAYS.names())
def test_every_way_gives_probabilities_and_keeps_what_members_agree_on(by: str) -> None:
    rng = np.random.default_rng(0)
    accuracies = list(rng.uniform(0.3, 1, 11))

    agreed = combined(by, np.tile([0.0, 0.5, 1.0], (11, 1)), accuracies)
    assert agreed == pytest.approx([0.0, 0.5, 1.0], abs=1e-15)
    assert all(0 <= p <= 1 for p in [*agreed, *combined(by, rng.uniform(size=(11, 50)), accuracies)])
