"""Whole runs from two homes that share a store on S3: at once, and one killed while it holds a claim."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.harness import N_NODES
from tests.homes import DEADLINE_S, LONG, Runs, names
from tests.s3_server import Service

pytestmark = pytest.mark.slow


@pytest.fixture
def machines(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Runs]:
    """Two machines, as far as the store can tell."""
    monkeypatch.setenv("W2S_STORE", s3_url)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    return [Runs(tmp_path / "one"), Runs(tmp_path / "other")]


def executed(machines: list[Runs]) -> Counter[tuple[str, str]]:
    """How often each artifact was made, wherever."""
    return sum((machine.executed() for machine in machines), Counter[tuple[str, str]]())


def test_two_machines_with_one_grid_make_each_node_once(machines: list[Runs]) -> None:
    both = [machine.command("run", machine.grid(datasets=["sst2", "boolq"])) for machine in machines]
    outputs = [process.communicate(timeout=DEADLINE_S)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], outputs
    made = executed(machines)
    assert set(made.values()) == {1}
    assert len(made) == 2 * sum(N_NODES.values()) - N_NODES["pretrain"]


def test_crash_of_a_machine_leaves_its_claim_to_the_other_that_waits(machines: list[Runs]) -> None:
    one, other = machines
    process = one.command("run", one.grid(training=LONG))
    one.wait_for_training(process)
    waiting = other.command("run", other.grid(training=LONG))
    os.killpg(process.pid, signal.SIGKILL)
    finished = names(process.communicate()[0], "ran")

    output, _ = waiting.communicate(timeout=2 * DEADLINE_S)

    assert waiting.returncode == 0, output
    assert not set(finished) & set(names(output, "ran"))
    made = executed(machines)
    assert set(made.values()) == {1}
    assert len(made) == sum(N_NODES.values())


def test_crash_of_the_object_store_for_a_minute_fails_nothing(machines: list[Runs], s3_service: Service) -> None:
    one, _ = machines
    process = one.command("run", one.grid(training=LONG))
    one.wait_for_training(process)
    s3_service.is_away = True
    threading.Event().wait(60)
    s3_service.is_away = False
    output, _ = process.communicate(timeout=2 * DEADLINE_S)

    assert process.returncode == 0, output
    assert len(names(output, "ran")) == sum(N_NODES.values())
