"""What a plan takes down of the manifests that it reads: timings, by the rows that stages read."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.plan.sizes import kind_of, n_rows
from tests.toy_runs import drain, open_session

DATA = {"n_train": 101, "weak_fraction": 0.5, "n_validation": 10, "n_test": 20}


@pytest.mark.parametrize(
    ("split", "data", "n"),
    [
        ("weak_train", {}, 50),
        ("transfer_train", {}, 51),
        ("transfer_train", {"n_parts": 3}, 17),
        ("part.2", {"n_parts": 3}, 17),
        ("part.2", {}, 0),
        ("validation", {}, 10),
        ("test", {}, 20),
        ("texts", {}, 0),
    ],
)
def test_rows_of_a_split_follow_from_how_a_dataset_is_prepared(split: str, data: dict[str, int], n: int) -> None:
    assert n_rows({**DATA, **data}, split) == n


def test_size_of_a_training_is_its_rows_once_for_each_epoch_and_of_a_score_its_rows(tmp_path: Path) -> None:
    session = open_session(tmp_path, data={"n_train": 100, "n_test": 20}, training={"epochs": 3})

    sizes = {(node.stage, kind_of(node, "cpu").size) for node in session.plan.graph.nodes.values()}

    assert {("train_gt", 150.0), ("train_w2s", 150.0), ("score", 20.0)} <= sizes


def test_stages_of_another_size_are_forecast_from_those_of_another_grid(tmp_path: Path) -> None:
    drain(open_session(tmp_path))  # every stage takes 3.6 s, on a device that is not known

    session = open_session(tmp_path, training={"epochs": 3})  # before there were two

    expected = {
        entry.node.stage: session.plan.timings.expected(kind_of(entry.node, "")) for entry in session.plan.pending
    }
    assert expected["train_gt"] is not None
    assert expected["train_gt"].seconds == pytest.approx(3.6 * 1.5)
    assert expected["score"] is not None
    assert expected["score"].seconds == pytest.approx(3.6)
