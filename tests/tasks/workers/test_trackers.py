"""Curves in TensorBoard and Weights & Biases: the latter as a package of ten lines that writes down what it is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import UsageError
from tasks.runtime import RuntimeConfig
from tasks.workers.trackers import Trackers, check_installed
from tasks.workers.watch import NodeWatch

WANDB = """
import json
from pathlib import Path
class Run:
    def __init__(self, **about):
        self.told = [about]
        self.file = about["dir"] + "/told.json"
    def log(self, values, step):
        if "broken" in values:
            raise ConnectionError("no route to host\\nat all")
        self.told.append({**values, "step": step})
    def finish(self):
        Path(self.file).write_text(json.dumps(self.told))
def init(**about):
    return Run(**about)
"""


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Installed; the file in which it has written down a run that is finished."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    yield tmp_path / "logs" / "trackers" / "told.json"
    sys.modules.pop("wandb", None)


def watch(home: Path, *trackers: str) -> NodeWatch:
    runtime: dict[str, Any] = RuntimeConfig(trackers=trackers).model_dump(mode="json")
    return NodeWatch({"node": "id", "key": "key", "name": "sst2 train_gt", "inputs": {}}, home, "cpu", runtime)


def test_tracker_is_told_the_rows_of_the_curve_under_the_name_of_the_node(wandb: Path, tmp_path: Path) -> None:
    check_installed(["wandb"])
    node = watch(tmp_path, "wandb")
    node.curve([])
    node.curve([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}])
    node.curve([{"step": 2, "gt_accuracy": 0.75}])
    node.close()
    about, *rows = json.loads(wandb.read_text())
    assert (about["project"], about["name"]) == ("w2s", "sst2 train_gt")
    assert rows == [{"loss": 0.5, "step": 1}, {"loss": 0.25, "step": 2}, {"gt_accuracy": 0.75, "step": 2}]


def test_tracker_that_fails_is_left_with_one_line(wandb: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    trackers = Trackers(["wandb"], tmp_path, run="a run", device="cpu", say=lines.append)
    for _ in range(2):
        trackers.log([{"step": 1, "broken": 1.0}])
    trackers.close()
    assert lines == ["nothing more goes to wandb (ConnectionError: no route to host)"]


def test_stage_without_a_curve_begins_no_run(tmp_path: Path) -> None:
    watch(tmp_path, "tensorboard", "wandb").close()
    assert not (tmp_path / "logs").exists()


def test_tensorboard_writes_into_the_logs(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    node = watch(tmp_path, "tensorboard")
    node.curve([{"step": 1, "loss": 0.5}])
    node.close()
    assert list((tmp_path / "logs" / "trackers" / "sst2 train_gt").glob("events.*"))


def test_tracker_that_is_not_installed_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(UsageError, match=r"^runtime\.trackers: wandb is not installed; pip install wandb$"):
        check_installed(["wandb"])
