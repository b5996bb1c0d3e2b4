"""Rounds of boosting, draws and votes against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from w2s_core.methods.boosting import after, drawn, voted


def test_a_round_is_that_of_adaboost() -> None:
    weights, is_wrong = [0.1, 0.2, 0.3, 0.4], [True, False, True, False]
    error = 0.1 + 0.3
    alpha = 0.5 * math.log((1 - error) / error)
    # w exp(-alpha y h), where y h is -1 on errors.
    raised = [w * math.exp(alpha if wrong else -alpha) for w, wrong in zip(weights, is_wrong, strict=True)]

    found = after(np.array(weights), np.array(is_wrong))

    assert found.vote == pytest.approx(alpha)
    assert found.weights == pytest.approx([w / sum(raised) for w in raised])
    # Half of the weight is on its errors: it would be a coin on them.
    assert found.weights[is_wrong].sum() == pytest.approx(0.5)


def test_member_without_errors_votes_as_one_that_is_wrong_on_half_a_row() -> None:
    found = after(np.full(4, 0.25), np.zeros(4, bool))

    assert found.vote == pytest.approx(0.5 * math.log(7))
    assert found.weights.tolist() == [0.25] * 4


@pytest.mark.parametrize("is_wrong", [[True, True, False, False], [True] * 4])
def test_member_that_is_no_better_than_chance_has_no_vote_and_weights_start_again(is_wrong: list[bool]) -> None:
    found = after(np.array([0.5, 0.3, 0.1, 0.1]), np.array(is_wrong))

    assert found.vote == 0
    assert found.weights.tolist() == [0.25] * 4


def test_as_many_rows_are_drawn_as_there_are_by_their_weights() -> None:
    counts = drawn(np.array([0.0, 0.25, 0.75] + [0.0] * 997), seed=0)

    assert counts.sum() == 1000
    assert counts[0] == counts[3:].sum() == 0
    assert counts[1] == pytest.approx(250, abs=60)
    assert drawn(np.full(9, 1 / 9), 1).tolist() == drawn(np.full(9, 1 / 9), 1).tolist()
    assert drawn(np.full(99, 1 / 99), 1).tolist() != drawn(np.full(99, 1 / 99), 2).tolist()


def test_votes_are_shares() -> None:
    probs = np.array([[0.9, 0.5, 0.1, 1.0], [0.6, 0.1, 0.2, 1.0], [0.2, 0.9, 0.4, 1.0]])

    assert voted(probs, np.array([1.0, 2.0, 5.0])) == pytest.approx([3 / 8, 5.5 / 8, 0, 1])


def test_where_nobody_has_a_vote_all_have_the_same() -> None:
    assert voted(np.array([[0.9, 0.1], [0.1, 0.2]]), np.zeros(2)).tolist() == [0.5, 0]
