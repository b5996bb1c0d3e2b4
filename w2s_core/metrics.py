"""How good probabilities of class 1 are: accuracy, ranking, calibration; and how much several differ.

Functions of arrays with numpy alone. Performance gap recovered is not here but in SQL, see ``artifacts.results``.
Letters: N examples, M supervisors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_BINS = 15
"""Equal-width bins of the calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks")."""


def harden(probs: np.ndarray) -> np.ndarray:
    """The class that [N] probabilities of class 1 stand for; exactly 0.5 is class 0."""
    return (probs > 0.5).astype(np.int8)


def accuracy(probs: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of [N] hardened probabilities that equal the 0/1 labels."""
    return float(np.mean(harden(probs) == labels))


def certainty(probs: np.ndarray) -> float:
    """Mean distance of [N] probabilities from one half: 0.5 where all are sure, 0 where they say nothing."""
    return float(np.abs(probs - 0.5).mean())


def correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Pearson's, of [N] and [N]; None where one of them is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def label_quality(probs: np.ndarray, labels: np.ndarray, lures: Sequence[float], split: str) -> dict[str, float | None]:
    """What a supervisor's labels of a split are worth, by names that end with the split's.

    Args:
        probs: [N] P(class 1).
        labels: [N] true classes, 0 or 1.
        lures: [N] numbers which labels of no worth often follow: of text, its characters.
        split: its name.
    """
    return {
        f"accuracy_{split}": accuracy(probs, labels),
        f"certainty_{split}": certainty(probs),
        f"ece_{split}": ece(probs, labels),
        f"length_correlation_{split}": correlation(probs, np.array(lures)),
    }


def disagreement(probs: np.ndarray) -> float:
    """Mean over pairs of the M supervisors of [M, N] probabilities, at least two: how often their classes differ."""
    n_supervisors = len(probs)
    n_ones = harden(probs).sum(0, dtype=np.int64)
    n_pairs = n_supervisors * (n_supervisors - 1) / 2
    return float(np.mean(n_ones * (n_supervisors - n_ones)) / n_pairs)


def auroc(probs: np.ndarray, labels: np.ndarray) -> float | None:
    """Chance that a random example of class 1 has a higher probability than one of class 0; a tie counts half.

    None where only one class is present.
    """
    positive = labels == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive == 0 or n_negative == 0:
        return None
    _, group, counts = np.unique(probs, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]  # mean rank of equal values, from 1
    above = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def brier(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared difference between [N] probabilities and 0/1 labels."""
    return float(np.mean((probs - labels) ** 2))


def ece(probs: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of P(class 1): mean over bins of |mean probability - share of class 1|.

    Bins are of equal width over [0, 1] and weigh as many examples as they hold.
    """
    bins = np.minimum((probs * N_BINS).astype(int), N_BINS - 1)
    excess = np.bincount(bins, weights=probs - labels, minlength=N_BINS)
    return float(np.abs(excess).sum() / len(probs))
