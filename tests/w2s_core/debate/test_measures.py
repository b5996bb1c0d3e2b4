"""How a judge fares by what it heard."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_core.debate.measures import by_side


def turn(role: str, side: int, text: str = "word", *, is_cut: bool = False) -> dict[str, Any]:
    return {"role": role, "side": side, "text": text, "is_cut": is_cut}


def test_shares_are_of_rows_where_a_role_had_the_truth_or_the_last_word_or_was_long_or_cut() -> None:
    turns = [
        [turn("A", 1), turn("B", 0)],
        [turn("A", 1), turn("B", 0, "many words", is_cut=True)],
        [turn("A", 0), turn("B", 1)],
        [turn("A", 0), turn("B", 1)],
    ]

    found = by_side(np.array([True, False, True, True]), np.array([1, 1, 1, 0]), turns)

    assert found == {
        "n_heard": 4, "mean_chars_heard": 9.5,
        "accuracy_A_true": 2 / 3, "n_A_true": 3, "accuracy_A_false": 1.0, "n_A_false": 1,
        "accuracy_B_true": 1.0, "n_B_true": 1, "accuracy_B_false": 2 / 3, "n_B_false": 3,
        "accuracy_last_true": 1.0, "n_last_true": 1, "accuracy_last_false": 2 / 3, "n_last_false": 3,
        "accuracy_shorter": 1.0, "n_shorter": 3, "accuracy_longer": 0.0, "n_longer": 1,
        "accuracy_cut": 0.0, "n_cut": 1,
    }  # fmt: skip
