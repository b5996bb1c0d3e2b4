"""How salient a property of rows is to a model: what a linear probe on its frozen features makes of it.

Arrays in, arrays out; of which properties is in ``w2s_core.entries.salience``. Letters: N rows, T others, D features.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from w2s_core.methods.probes import cross_entropy, fit
from w2s_core.metrics import accuracy, auroc

N_DOUBLINGS = 10
"""Blocks of the code end after 1/1024 of the rows, 1/512, and so on to all (Voita and Titov 2020, section 4.1)."""


class Salience(NamedTuple):
    """Of a property that rows have or have not."""

    gain: float
    """Accuracy on other rows less that of naming their more frequent class."""
    auroc: float | None
    """On other rows; None where they are of one class."""
    bits: float
    """Length of the online code, per row: 1 where nothing is learned, less where it is learned from few rows."""


def salience(
    features: np.ndarray, has: np.ndarray, other_features: np.ndarray, other_has: np.ndarray, l2: float, seed: int
) -> Salience:
    """Fit a probe on some rows, and ask it about others.

    Args:
        features: [N, D] float32.
        has: [N] 0 or 1.
        other_features: [T, D] float32.
        other_has: [T] 0 or 1.
        l2: penalty of the probe, per feature: at 1, log-odds of a row are expected to be about 1 in size, however many
            features there are.
        seed: of the order in which the code has the rows.
    """
    probs = fit(features, has.astype(np.float64), l2 * features.shape[1]).probs(other_features)
    share = float(np.mean(other_has))
    order = np.random.default_rng(seed).permutation(len(features))
    return Salience(
        gain=accuracy(probs, other_has) - max(share, 1 - share),
        auroc=auroc(probs, other_has),
        bits=code_length(features[order], has[order], l2) / len(features),
    )


def code_length(features: np.ndarray, has: np.ndarray, l2: float) -> float:
    """Bits of the online, or prequential, code of [N] 0 or 1, given [N, D] features: Voita and Titov 2020, equation 3.

    The first block costs a bit per row; each further one what a probe on all rows before expects of it.
    """
    n = len(has)
    ends = sorted({max(1, n >> k) for k in range(N_DOUBLINGS + 1)})
    length = float(ends[0])
    for start, end in pairwise(ends):
        probe = fit(features[:start], has[:start].astype(np.float64), l2 * features.shape[1])
        nats = cross_entropy(probe.log_odds(features[start:end]), has[start:end])
        length += nats * (end - start) / float(np.log(2))
    return length
