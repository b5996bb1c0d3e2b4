"""How good probabilities are: accuracy, ranking, calibration; and how much several differ.

Functions of arrays with numpy alone. Performance gap recovered is not here but in SQL, see ``artifacts.results``.
Probabilities are as files hold them: [N] of class 1, where there are two classes, or [N, C]. Letters: N
examples, C classes, M supervisors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_BINS = 15
"""Equal-width bins of the calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks")."""


def two_classes(probs: np.ndarray) -> np.ndarray:
    """[N, 2] float64, the probabilities of both classes, from [N] P(class 1)."""
    return np.stack([1 - probs, probs], axis=1)


def by_class(probs: np.ndarray) -> np.ndarray:
    """[N, C] float64, the probability of each class, of what ``as_held`` gives."""
    return two_classes(probs) if probs.ndim == 1 else probs


def as_held(probs: np.ndarray) -> np.ndarray:
    """Probabilities as files and metrics have them, of [N, C] float64: of two classes [N] P(class 1), else all."""
    return probs[:, 1] if probs.shape[1] == 2 else probs


def of_truth(gt_labels: np.ndarray, n_classes: int) -> np.ndarray:
    """[N] classes as probabilities, in the form that ``as_held`` gives."""
    return gt_labels.astype(np.float64) if n_classes == 2 else np.eye(n_classes)[gt_labels]


def harden(probs: np.ndarray) -> np.ndarray:
    """[N] classes that probabilities stand for: the likeliest, the first of equal ones."""
    return (probs > 0.5).astype(np.int8) if probs.ndim == 1 else probs.argmax(1)


def accuracy(probs: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of N hardened probabilities that equal the labels, [N] classes."""
    return float(np.mean(harden(probs) == labels))


def certainty(probs: np.ndarray) -> float:
    """Mean distance of the likeliest class from chance: 1 - 1/C where all are sure, 0 where they say nothing."""
    if probs.ndim == 1:
        return float(np.abs(probs - 0.5).mean())
    return float((probs.max(1) - 1 / probs.shape[1]).mean())


def correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Pearson's, of [N] and [N]; None where one of them is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def label_quality(probs: np.ndarray, labels: np.ndarray, lures: Sequence[float], split: str) -> dict[str, float | None]:
    """What a supervisor's labels of a split are worth, by names that end with the split's.

    Args:
        probs: of N examples.
        labels: [N] true classes.
        lures: [N] numbers which labels of no worth often follow: of text, its characters. They are compared with
            P(class 1), where there are two classes.
        split: its name.
    """
    return {
        f"accuracy_{split}": accuracy(probs, labels),
        f"certainty_{split}": certainty(probs),
        f"ece_{split}": ece(probs, labels),
        f"length_correlation_{split}": correlation(probs, np.array(lures)) if probs.ndim == 1 else None,
    }


def disagreement(probs: np.ndarray) -> float:
    """Mean over pairs of the M supervisors, at least two, of [M, N] or [M, N, C] probabilities: how often their classes
    differ."""
    n_supervisors = len(probs)
    said = np.array([harden(of_one) for of_one in probs])  # [M, N]
    n_votes = np.array([(said == each).sum(0) for each in np.unique(said)], np.int64)
    n_agreeing = (n_votes * (n_votes - 1) / 2).sum(0)
    n_pairs = n_supervisors * (n_supervisors - 1) / 2
    return float(np.mean(n_pairs - n_agreeing) / n_pairs)


def auroc(probs: np.ndarray, labels: np.ndarray) -> float | None:
    """Chance that a random example of class 1 has a higher probability than one of class 0; a tie counts half.

    None where only one class is present, or there are more than two.
    """
    if probs.ndim > 1:
        return None
    positive = labels == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive == 0 or n_negative == 0:
        return None
    _, group, counts = np.unique(probs, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]  # mean rank of equal values, from 1
    above = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def brier(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared difference between probabilities and 0/1 labels: of class 1, or summed over more classes."""
    if probs.ndim > 1:
        return float(np.mean(((probs - np.eye(probs.shape[1])[labels]) ** 2).sum(1)))
    return float(np.mean((probs - labels) ** 2))


def ece(probs: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of P(class 1): mean over bins of |mean probability - share of class 1|.

    Bins are of equal width over [0, 1] and weigh as many examples as they hold. Of more than two classes, that of the
    likeliest class, as in Guo et al. 2017.
    """
    if probs.ndim > 1:
        probs, labels = probs.max(1), harden(probs) == labels
    bins = np.minimum((probs * N_BINS).astype(int), N_BINS - 1)
    excess = np.bincount(bins, weights=probs - labels, minlength=N_BINS)
    return float(np.abs(excess).sum() / len(probs))
