"""Which rows of a batch go through a model together."""

from __future__ import annotations

import numpy as np


def micro_batches(lengths: np.ndarray, rows: np.ndarray, micro_tokens: int, *, is_packed: bool) -> list[np.ndarray]:
    """Cut ``rows`` into portions that cost at most ``micro_tokens``, longest examples first.

    Args:
        lengths: [N], tokens of every example.
        rows: [B], indices of examples.
        micro_tokens: an example longer than this is a portion of its own.
        is_packed: whether a portion is computed without padding.
    """
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    portions = []
    while len(rows):
        cost = costs(lengths, rows[: max(1, micro_tokens)], is_packed=is_packed)
        n_rows = max(1, int(np.searchsorted(cost, micro_tokens, side="right")))
        portions.append(rows[:n_rows])
        rows = rows[n_rows:]
    return portions


def costs(lengths: np.ndarray, rows: np.ndarray, *, is_packed: bool) -> np.ndarray:
    """[B], how many tokens a pass of the first row computes, of the first two, and so on to all of them.

    Args:
        rows: [B], indices of examples, longest first.
    """
    return lengths[rows].cumsum() if is_packed else lengths[rows[0]] * np.arange(1, len(rows) + 1)


def split_by_length(lengths: np.ndarray, rows: np.ndarray, n_saved: int) -> list[np.ndarray]:
    """Cut ``rows`` in two, and the parts again, wherever that saves at least ``n_saved`` tokens of padding.

    Args:
        lengths: [N], tokens of every example.
        rows: [B], indices of examples, longest first.
    """
    # What a cut before each row saves [B]: the rows from there on are padded to the first of them only.
    saved = (lengths[rows[0]] - lengths[rows]) * np.arange(len(rows), 0, -1)
    cut = int(saved.argmax())
    if saved[cut] < n_saved:
        return [rows]
    return split_by_length(lengths, rows[:cut], n_saved) + split_by_length(lengths, rows[cut:], n_saved)
