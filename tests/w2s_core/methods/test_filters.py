"""Which rows filters drop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.methods.treatments import TREATMENTS

FILTERS = [name for name in TREATMENTS if TREATMENTS.get(name).keep is not None]


def kept(kind: str, probs: Sequence[float], truth: Sequence[int], drop: float, ids: Sequence[str] = ()) -> np.ndarray:
    treatment: Any = TREATMENTS.get(kind)
    of_1 = np.array(probs)
    names = ids or [f"row-{i}" for i in range(len(of_1))]
    labels, said = np.stack([1 - of_1, of_1], axis=1), np.full((len(of_1), 2), 0.5)
    stays: np.ndarray = treatment.keep(labels, names, np.array(truth), said, treatment.params(drop=drop))
    return stays


@pytest.mark.parametrize("kind", FILTERS)
@given(
    rows=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=40),
    drop=st.floats(0.01, 0.99),
)
def test_each_class_loses_its_share_and_keeps_a_row(kind: str, rows: list[tuple[float, int]], drop: float) -> None:
    probs, truth = zip(*rows, strict=True)

    stays = kept(kind, probs, truth, drop)

    classes = np.array(probs) > 0.5
    for of_class in (classes, ~classes):
        n = int(of_class.sum())
        assert int((of_class & ~stays).sum()) == max(min(round(drop * n), n - 1), 0)


def test_least_sure_labels_go_first() -> None:
    assert kept("confident", [0.9, 0.6, 0.7, 0.2, 0.4, 0.5], [0] * 6, 0.34).tolist() == [
        True, False, True, True, True, False,
    ]  # fmt: skip


def test_wrong_labels_go_first() -> None:
    assert kept("oracle_drop", [0.9, 0.9, 0.9, 0.1, 0.1, 0.1], [1, 0, 1, 1, 0, 0], 0.34).tolist() == [
        True, False, True, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", FILTERS)
def test_rows_that_go_do_not_depend_on_their_order(kind: str) -> None:
    rng = np.random.default_rng(0)
    probs, truth, ids = rng.random(30).round(1), rng.integers(0, 2, 30), [f"row-{i}" for i in range(30)]

    stays = kept(kind, probs, truth, 0.3, ids)

    np.testing.assert_array_equal(kept(kind, probs[::-1], truth[::-1], 0.3, ids[::-1])[::-1], stays)


def test_random_rows_are_no_certain_ones() -> None:
    probs = np.linspace(0.51, 0.99, 400)

    stays = kept("random_drop", probs, [1] * 400, 0.5)

    assert abs(probs[stays].mean() - probs.mean()) < 0.03
