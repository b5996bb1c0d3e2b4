"""Salience against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_core.methods.probes import fit
from w2s_core.methods.salience import code_length, salience

N = 64


def data(seed: int = 0, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Features, [n, 5] float32, and a property that is linear in them, [n]."""
    features = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    return features, (features[:, 0] > 0).astype(np.int8)


def test_code_is_what_probes_on_the_rows_before_expect_of_each_block() -> None:
    features, has = data()
    bits = 1.0
    for start, end in ((1, 2), (2, 4), (4, 8), (8, 16), (16, 32), (32, 64)):
        probs = fit(features[:start], has[:start].astype(float), 0.1 * 5).probs(features[start:end])
        bits -= sum(np.log2(p if label else 1 - p) for p, label in zip(probs, has[start:end], strict=True))

    assert code_length(features, has, 0.1) == pytest.approx(bits)


def test_what_features_know_has_a_short_code_and_is_found_in_other_rows() -> None:
    features, has = data(n=256)
    others, other_has = data(seed=1)
    noise = np.random.default_rng(2).permutation(has)

    known, unknown = (salience(features, of, others, other_has, 1.0, seed=0) for of in (has, noise))

    assert known.bits < 0.7 < 0.95 < unknown.bits
    assert known.gain > 0.3 > unknown.gain
    assert known.auroc is not None
    assert known.auroc > 0.95


def test_property_of_no_row_has_no_gain_and_hardly_a_code() -> None:
    features, _ = data()

    found = salience(features, np.zeros(N), features, np.zeros(N), 0.1, seed=0)

    assert (found.gain, found.auroc) == (0, None)
    assert found.bits < 0.1


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows_have_a_code_too(n: int) -> None:
    features, has = data()

    assert code_length(features[:n], has[:n], 0.1) >= 1
