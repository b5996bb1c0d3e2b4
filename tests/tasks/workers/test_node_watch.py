"""What a worker keeps of a running stage: its curve."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.runtime import RuntimeConfig
from tasks.workers import watch as watching
from tasks.workers.watch import NodeWatch, write_curve


class Clock:
    """Stands in for ``time`` where a watch looks at it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watching, "time", clock)
    return clock


@pytest.fixture
def watch(tmp_path: Path, clock: Clock) -> NodeWatch:
    order = {"node": "id", "key": "key", "name": "a training", "inputs": {}}
    return NodeWatch(order, tmp_path, "cpu", RuntimeConfig().model_dump(mode="json"))


def test_speed_is_that_of_the_rows_told_together(watch: NodeWatch, clock: Clock) -> None:
    clock.now += 50
    watch.curve([])
    clock.now += 4
    watch.curve([{"step": 1, "examples": 8, "tokens": 100}, {"step": 2, "examples": 8, "tokens": 60}])
    clock.now += 30
    watch.curve([{"step": 2, "gt_accuracy": 0.5}])
    clock.now += 1
    watch.curve([{"step": 3, "examples": 8, "tokens": 80}])
    assert [row["examples_per_s"] for row in watch.rows] == [4, 4, 8]
    assert [row["tokens_per_s"] for row in watch.rows] == [40, 40, 80]


def test_accuracies_join_the_row_of_their_step(watch: NodeWatch, clock: Clock, tmp_path: Path) -> None:
    clock.now += 1
    watch.curve([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}])
    watch.curve([{"step": 2, "gt_accuracy": 0.75}])
    write_curve(watch.rows, tmp_path / "side" / "curve.parquet")
    assert pq.read_table(tmp_path / "side" / "curve.parquet").to_pylist() == [
        {"step": 1, "loss": 0.5, "gt_accuracy": None},
        {"step": 2, "loss": 0.4, "gt_accuracy": 0.75},
    ]
