"""The topological filter against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from w2s_core.methods.neighbours import nearest
from w2s_core.methods.topology import Topological, guess, tied, topological

N = 60


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels, [N, 2] float32 and [N, 2]: two clouds, of whose labels some are wrong."""
    rng = np.random.default_rng(seed)
    classes = np.arange(N) % 2
    features = rng.normal(size=(N, 2)) + 2 * classes[:, None]
    of_1 = np.where(rng.random(N) < 0.15, 1 - classes, classes) * 0.8 + 0.1
    return features.astype(np.float32), np.stack([1 - of_1, of_1], axis=1)


def largest(features: np.ndarray, classes: np.ndarray, k: int) -> np.ndarray:
    """The same by another library, for components of different sizes."""
    graph = np.zeros((len(features), len(features)))
    for row, near in enumerate(nearest(features, features, k, are_same=True)):
        graph[row, near] = 1
    found = np.zeros(len(features), bool)
    for each in (0, 1):
        members = np.flatnonzero(classes == each)
        _, component = connected_components(csr_array(graph[np.ix_(members, members)]), connection="strong")
        found[members[component == np.bincount(component).argmax()]] = True
    return found


@pytest.mark.parametrize("k", [3, 5, 8])
@pytest.mark.parametrize("seed", [0, 1])
def test_rows_are_tied_in_the_largest_strongly_connected_component_of_their_class(k: int, seed: int) -> None:
    features, probs = data(seed)
    classes = probs.argmax(1)

    found = tied(features, classes, k)

    assert 0 < found.sum() < N
    np.testing.assert_array_equal(found, largest(features, classes, k))


def test_loose_rows_go_first_and_classes_keep_their_shares() -> None:
    features, probs = data()
    ids, params = [f"r{i}" for i in range(N)], Topological(k=3, drop=0.01)
    is_tied = tied(features, probs.argmax(1), 3)

    stays = topological(probs, ids, None, guess(features, probs, features, params, are_same=True), params)

    share = 1 - is_tied.mean()
    for each in (0, 1):
        of_class = probs.argmax(1) == each
        n_gone = round(share * of_class.sum())
        assert (~stays & of_class).sum() == n_gone
        assert (~stays & ~is_tied & of_class).sum() == min(n_gone, (~is_tied & of_class).sum())


def test_of_tied_rows_those_go_that_differ_most_from_the_rows_around() -> None:
    features, probs = data()
    ids, params = [f"r{i}" for i in range(N)], Topological(k=N, k_label=5, drop=0.2)
    said = guess(features, probs, features, params, are_same=True)

    stays = topological(probs, ids, None, said, params)

    differs = np.abs(said - probs).sum(1)
    for each in (0, 1):
        of_class = probs.argmax(1) == each
        assert differs[~stays & of_class].min() >= differs[stays & of_class].max()
        assert (~stays & of_class).sum() == round(0.2 * of_class.sum())


def test_a_row_of_each_class_stays_where_none_is_tied_to_another() -> None:
    features = np.array([[0.0], [1.0], [10.0], [11.0]], np.float32)
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])

    stays = topological(
        probs, list("abcd"), None, guess(features, probs, features, Topological(k=1), are_same=True), Topological(k=1)
    )

    assert [stays[probs.argmax(1) == each].sum() for each in (0, 1)] == [1, 1]


def test_rows_that_are_only_asked_about_are_of_the_mean_label_of_the_nearest() -> None:
    features, probs = data()
    said = guess(features, probs, features[:3], Topological(k_label=N), are_same=False)

    np.testing.assert_allclose(said, [probs.mean(0)] * 3)
