"""What artifacts say; that they are there is for ``test_up``."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from flows.run.shown import _rows, saved, unsound
from tasks.shown import artifact_key, in_words, points


def test_row_has_its_interval_beside_the_number_a_flag_in_words_and_no_column_without_a_value() -> None:
    values = {"dataset": "boolq", "gap": 0.12345, "pgr": 0.456, "pgr_low": 0.21, "pgr_high": 0.7, "near_chance": None}

    [row] = _rows(pa.Table.from_pylist([{**values, "flag": "unstable"}]))

    assert row == {
        "dataset": "boolq",
        "gap": "0.123",
        "PGR": "0.46 (0.21 to 0.70)",
        "flag": "unstable: the gap is not told from none",
    }


def test_audit_names_the_datasets_that_are_not_sound() -> None:
    found = [
        {"dataset": "boolq", "verdict": "ok", "reasons": ""},
        {"dataset": "cola", "verdict": "fail", "reasons": "train: told by its length"},
    ]
    assert unsound(found) == "1 of 2 datasets are not sound in every check: cola (fail: train: told by its length)"
    assert unsound(found[:1]) == "all datasets (1) are sound in every check"


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"validation_accuracy": 0.87654, "n_train": 3}, "accuracy 0.877 on validation"),
        ({"accuracy": 0.5}, "accuracy 0.500"),
        ({"accuracy": None}, ""),
        ({}, ""),
    ],
)
def test_state_says_the_accuracy_of_what_has_one(metrics: dict[str, Any], words: str) -> None:
    assert in_words(metrics) == words


def test_curve_is_shown_by_its_ends_a_few_steps_between_and_all_accuracies() -> None:
    curve = [{"step": n, "loss": 1 / n, "gt_accuracy": 0.75 if n == 50 else None} for n in range(1, 101)]

    shown = points(curve)

    assert [row["step"] for row in shown] == [1, 12, 23, 34, 45, 50, 56, 67, 78, 89, 100]
    assert shown[5] == {"step": 50, "loss": 0.02, "validation acc": 0.75}


def test_saving_is_said_where_there_are_pairs() -> None:
    costs = {
        "hours": 3.0,
        "hours_computed": 1.0,
        "hours_reused": 2.0,
        "hours_unshared": 9.0,
        "hours_saved_by_sharing": 6.0,
    }
    spent = "Grid g: 3.0 h of stages; its latest run spent 60 min of them and found 2.0 h done"

    assert saved("g", costs) == f"{spent}. Pairs would have cost 9.0 h, each by itself: sharing saved 6.0 h"
    assert saved("g", {**costs, "hours_unshared": None}) == spent


def test_keys_have_the_letters_that_prefect_allows() -> None:
    assert artifact_key("tiny-boolq-training.epochs-8 pgr") == "tiny-boolq-training-epochs-8-pgr"
