"""How good probabilities of class 1 are: accuracy, ranking, calibration.

Functions of arrays with numpy alone. Performance gap recovered is not here but in SQL, see ``artifacts.results``.
Letters: N examples.
"""

from __future__ import annotations

import numpy as np

N_BINS = 15
"""Equal-width bins of the calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks")."""


def harden(probs: np.ndarray) -> np.ndarray:
    """The class that [N] probabilities of class 1 stand for; exactly 0.5 is class 0."""
    return (probs > 0.5).astype(np.int8)


def accuracy(probs: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of [N] hardened probabilities that equal the 0/1 labels."""
    return float(np.mean(harden(probs) == labels))


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
