"""Bags and boosting: which rows each member of an ensemble learns from, and what its vote counts.

Arrays in, arrays out; which nodes that takes is in ``flows.plan.supervisors``. Letters: M members, N rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Round(NamedTuple):
    """What a member leaves to the next one."""

    weights: np.ndarray
    """[N] float64, the chance of each row to be drawn next; they add up to 1."""
    vote: float
    """Of the member that was last, at least 0: half the log-odds of its being right."""


def after(weights: np.ndarray, is_wrong: np.ndarray) -> Round:
    """One round of AdaBoost (Freund and Schapire 1997, figure 1, with votes as in their section 4.1).

    The error is that of the weighted rows. A member without any counts as wrong on half a row, or its vote would be
    infinite. One that is wrong at least half of the time has no vote, and weights start again from equal ones (Bauer
    and Kohavi 1999, section 3.3).

    Args:
        weights: [N] float64, by which the rows of the member were drawn; they add up to 1.
        is_wrong: [N] bool, whether the member is, on these rows.
    """
    n = len(weights)
    error = max(float(weights[is_wrong].sum()), 0.5 / n)
    if error >= 0.5:
        return Round(np.full(n, 1 / n), 0.0)
    raised = np.where(is_wrong, weights * (1 - error) / error, weights)
    return Round(raised / raised.sum(), 0.5 * float(np.log((1 - error) / error)))


def drawn(weights: np.ndarray, seed: int) -> np.ndarray:
    """How often each row is drawn, [N], in N draws with replacement by ``weights``, [N], which add up to 1."""
    counts: np.ndarray = np.random.default_rng(seed).multinomial(len(weights), weights)
    return counts


def voted(probs: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """The share of all votes that class 1 gets, [N] float64, as P(class 1).

    A member at exactly one half gives half of its vote to each class. Where nobody has a vote, all have the same.

    Args:
        probs: [M, N] float64, P(class 1) by each member.
        votes: [M] float64, at least 0.
    """
    weights = votes if votes.any() else np.ones_like(votes)
    # Rounding could take unanimous members past 1.
    combined: np.ndarray = np.average(np.sign(probs - 0.5) / 2 + 0.5, axis=0, weights=weights).clip(0, 1)
    return combined
