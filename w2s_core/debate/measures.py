"""How a judge fares by who argued for the truth, by who spoke last, and by how long it was. Letters: N examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from w2s_core.debate.protocol import LAST


def by_side(right: np.ndarray, labels: np.ndarray, turns: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """Shares of right answers, among the rows of which something holds; left out where it holds of none.

    Args:
        right: [N] bool, whether the judge is.
        labels: [N], 0 or 1, the truth.
        turns: the transcript of each row, a turn with ``role``, ``side``, ``text``, ``is_cut``.

    Returns:
        ``accuracy_ROLE_true`` and ``accuracy_ROLE_false``: where the role argued for the truth, and against it;
        ``accuracy_last_true`` and ``accuracy_last_false``: where the last word was; ``accuracy_cut``: where a turn was
        cut; ``accuracy_shorter`` and ``accuracy_longer``: in the rows whose transcripts have at most the median number
        of characters, and in the others; and for each the number of rows, ``n_`` for ``accuracy_``. Besides of all
        rows ``n_heard`` and ``mean_chars_heard``.
    """
    places: dict[str, list[bool]] = {}
    sides: dict[str, list[int]] = {role: [] for spoken in turns for role in {turn["role"] for turn in spoken}}
    for spoken in turns:
        argued = {turn["role"]: turn["side"] for turn in spoken}
        for role, found in sides.items():
            found.append(argued.get(role, -1))
    sides[LAST] = [spoken[-1]["side"] for spoken in turns]
    for role in sorted(sides):
        argued_for = np.array(sides[role])
        places[f"{role}_true"] = (argued_for == labels).tolist()
        places[f"{role}_false"] = (argued_for == 1 - labels).tolist()
    places["cut"] = [any(turn["is_cut"] for turn in spoken) for spoken in turns]
    chars = np.array([sum(len(turn["text"]) for turn in spoken) for spoken in turns])
    places["shorter"] = (chars <= np.median(chars)).tolist()
    places["longer"] = (chars > np.median(chars)).tolist()
    metrics: dict[str, float] = {"n_heard": len(chars), "mean_chars_heard": float(chars.mean())}
    for name, here in places.items():
        if any(here):
            metrics |= {f"accuracy_{name}": float(right[np.array(here)].mean()), f"n_{name}": sum(here)}
    return metrics
