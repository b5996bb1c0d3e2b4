"""Structures of error against their definitions, and the choice of rows by them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_models import VIEW, rows_of
from w2s_core.methods.mistakes import STRUCTURES, Seen, wrong_rows

TEXTS = ["one two", "Two, two three!", "four", "", "one two two", "five six seven eight"]
TRUTH = np.array([0, 1, 0, 1, 0, 1], np.int8)
ANSWERS = np.array([0.1, 0.4, 0.5, 0.5, 0.9, 0.7])
"""Right, wrong, right, wrong (exactly 0.5 is class 0), wrong, right."""


def scores(kind: str, *, anchor: str = "") -> np.ndarray:
    structure = STRUCTURES.get(kind)
    rows = rows_of([f"r{i}" for i in range(6)], TEXTS, ["?"] * 6, TRUTH)
    return structure.scores(Seen(rows, VIEW, anchor, ANSWERS), structure.params())


@st.composite
def choices(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Arguments of ``wrong_rows``, with many equal scores."""
    n = draw(st.integers(1, 40))
    columns = [draw(st.lists(st.integers(0, top), min_size=n, max_size=n)) for top in (3, 1)]
    draws = np.random.default_rng(draw(st.integers(0, 99))).random(n)
    return np.array(columns[0], float), np.array(columns[1], np.int8), draw(st.integers(0, n)), draws


@given(choices(), st.booleans())
def test_exactly_as_many_rows_are_wrong_as_are_asked_for(
    choice: tuple[np.ndarray, np.ndarray, int, np.ndarray], balanced: bool
) -> None:
    assert wrong_rows(*choice, balanced=balanced).sum() == choice[2]


@given(choices())
def test_classes_have_equally_many_wrong_rows_as_far_as_they_go(
    choice: tuple[np.ndarray, np.ndarray, int, np.ndarray],
) -> None:
    _, labels, _, _ = choice

    wrong = wrong_rows(*choice, balanced=True)

    counts = [int(wrong[labels == label].sum()) for label in (0, 1)]
    fewer = int(np.argmin(counts))
    assert abs(counts[0] - counts[1]) <= 1 or counts[fewer] == (labels == fewer).sum()


@given(choices(), st.booleans())
def test_no_row_is_wrong_before_one_of_its_class_with_a_lower_score(
    choice: tuple[np.ndarray, np.ndarray, int, np.ndarray], balanced: bool
) -> None:
    of, labels, _, draws = choice

    wrong = wrong_rows(*choice, balanced=balanced)

    for label in (0, 1):
        ranks = [(of[i], draws[i]) for i in np.flatnonzero(labels == label)]
        chosen = {rank for rank, is_wrong in zip(ranks, wrong[labels == label], strict=True) if is_wrong}
        assert chosen == set(sorted(ranks)[: len(chosen)])


@given(choices())
def test_rows_are_taken_by_score_alone_where_classes_do_not_count(
    choice: tuple[np.ndarray, np.ndarray, int, np.ndarray],
) -> None:
    of, labels, n_wrong, draws = choice

    wrong = wrong_rows(*choice, balanced=False)

    first = sorted(range(len(labels)), key=lambda i: (of[i], draws[i]))[:n_wrong]
    assert set(np.flatnonzero(wrong)) == set(first)


@given(choices(), st.booleans())
def test_fewer_errors_are_a_part_of_more(
    choice: tuple[np.ndarray, np.ndarray, int, np.ndarray], balanced: bool
) -> None:
    of, labels, n_wrong, draws = choice

    more = wrong_rows(of, labels, n_wrong, draws, balanced=balanced)
    fewer = wrong_rows(of, labels, n_wrong // 2, draws, balanced=balanced)

    assert more[fewer].all()


def test_uniform_errors_prefer_no_row() -> None:
    assert len(set(scores("uniform"))) == 1


def test_longest_and_shortest_are_by_characters() -> None:
    lengths = [len(text) for text in TEXTS]

    assert np.argsort(scores("shortest"), kind="stable").tolist() == np.argsort(lengths, kind="stable").tolist()
    assert (scores("longest") == -scores("shortest")).all()


def test_cluster_is_by_the_cosine_of_word_counts() -> None:
    found = -scores("cluster", anchor="two THREE two")

    # The anchor is (two, two, three), of length √5.
    expected = [2 / math.sqrt(5 * 2), 1.0, 0.0, 0.0, 4 / math.sqrt(5 * 5), 0.0]
    assert found == pytest.approx(expected)


def test_hard_rows_are_those_whose_truth_gets_least_probability() -> None:
    assert scores("hardness") == pytest.approx([0.9, 0.4, 0.5, 0.5, 0.1, 0.7])


def test_real_errors_come_first_all_alike_and_then_the_least_sure_right_rows() -> None:
    found = scores("real")

    is_error = np.array([False, True, False, True, True, False])
    assert len(set(found[is_error])) == 1
    assert found[is_error].max() < found[~is_error].min()
    assert found[~is_error] == pytest.approx([0.9, 0.5, 0.7])
