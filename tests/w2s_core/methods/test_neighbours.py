"""What features say of labels, against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_core.methods import neighbours
from w2s_core.methods.neighbours import Disagree, Relabel, disagree, guess
from w2s_core.methods.probes import fit

N, D = 40, 3


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels, [N, D] float32 and [N, 2]."""
    rng = np.random.default_rng(seed)
    of_1 = rng.random(N)
    return rng.normal(size=(N, D)).astype(np.float32), np.stack([1 - of_1, of_1], axis=1)


def nearest(features: np.ndarray, probs: np.ndarray, asked: np.ndarray, k: int, *, are_same: bool) -> np.ndarray:
    """Restated row by row."""
    found = []
    for i, row in enumerate(asked):
        near = sorted(
            (float(((row - other) ** 2).sum()), j) for j, other in enumerate(features) if not (are_same and i == j)
        )
        found.append(probs[[j for _, j in near[:k]]].mean(0))
    return np.array(found)


@pytest.mark.parametrize("k", [1, 5, 39, 50])
def test_a_row_is_guessed_from_its_nearest_others(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "AT_A_TIME", 7)
    features, probs = data()
    asked, _ = data(seed=1)

    for rows, are_same in ((features, True), (asked, False)):
        said = guess(features, probs, rows, Relabel(k=k), are_same=are_same)
        np.testing.assert_allclose(said, nearest(features, probs, rows, k, are_same=are_same))


def test_a_row_alone_is_guessed_as_it_is() -> None:
    probs = np.array([[0.3, 0.7]])

    assert (
        guess(np.ones((1, D), np.float32), probs, np.ones((1, D)), Relabel(), are_same=True).tolist() == probs.tolist()
    )


def test_probe_is_fitted_on_the_labels_with_a_penalty_per_row() -> None:
    features, probs = data()
    asked, _ = data(seed=1)

    said = guess(features, probs, asked, Relabel(by="probe", l2=0.02), are_same=False)

    np.testing.assert_allclose(said[:, 1], fit(features, probs[:, 1], 0.02 * N).probs(asked))
    np.testing.assert_allclose(said.sum(1), 1)


def test_rows_that_differ_most_go_first_and_classes_keep_their_shares() -> None:
    of_1, said_1 = np.array([0.9, 0.8, 0.7, 0.2, 0.1, 0.3]), np.array([0.1, 0.8, 0.6, 0.2, 0.9, 0.3])
    probs, said = (np.stack([1 - p, p], axis=1) for p in (of_1, said_1))

    stays = disagree(probs, list("abcdef"), None, said, Disagree(drop=0.34))

    assert stays.tolist() == [False, True, True, True, False, True]
