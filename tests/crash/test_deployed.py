"""Runs that were started from a deployment, with what they need killed under them.

Each ends right after one retry by hand at most, repeats no finished stage, and leaves nothing that says Running.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import N_NODES
from tests.homes import LONG
from tests.test_up import running
from tests.up import Up

pytestmark = pytest.mark.slow

SETTINGS = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""The least that Prefect takes: what is silent for three of these is dead."""

FLOW = "prefect.engine"
SERVING = "flows.serve.serving"
SERVER = "prefect_server.py"
WORKER = "tasks.workers.worker"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that outlives what the tests kill."""
    yield from running(Up(tmp_path_factory.mktemp("up"), SETTINGS))


@pytest.fixture
def own_up(tmp_path: Path) -> Iterator[Up]:
    yield from running(Up(tmp_path, SETTINGS))


def start(up: Up, name: str, data_seed: int, **changes: Any) -> tuple[str, dict[str, Any]]:
    """A run in the middle of a training, and the form that it was started with.

    Every test has rows of its own, so all that it executes is in it alone.
    """
    before = up.executed()
    grid = {"file": up.grid(name, **{"training": LONG, "data_seed": data_seed, **changes})}
    id = up.submit("grid/quick-grid", grid=grid)
    up.wait_until(lambda: up.executed() != before and up.pids(FLOW), "executing")
    up.wait_for_training()
    return id, grid


def assert_each_once(up: Up) -> None:
    """No finished stage was run again, by any run so far."""
    assert set(up.executed().values()) == {1}


def complete(up: Up, id: str) -> None:
    """Wait for a run that has to be complete."""
    state = up.wait_for(id)["state"]
    assert state["type"] == "COMPLETED", state


def assert_nothing_left(up: Up, *ids: str) -> None:
    """Nothing says Running for longer than it takes to see that it does not."""
    for id in ids:
        up.wait_until(lambda id=id: not up.unfinished(id), f"finished: {up.unfinished(id)}")


def test_crash_of_the_flow_process_and_retry_from_the_ui_completes_the_same_run(up: Up) -> None:
    id, _ = start(up, "retried", 1)
    up.kill(FLOW)
    crashed = up.wait_for(id)["state"]

    up.retry(id)
    complete(up, id)

    assert crashed["type"] == "CRASHED"
    assert_each_once(up)
    assert_nothing_left(up, id)


def test_crash_of_the_flow_process_leaves_nothing_running_and_a_new_run_goes_on(up: Up) -> None:
    id, grid = start(up, "left", 2)
    up.kill(FLOW)

    assert up.wait_for(id)["state"]["type"] == "CRASHED"
    complete(up, up.submit("grid/quick-grid", grid=grid))
    assert_each_once(up)
    assert_nothing_left(up, id)
    assert {child["state"]["type"] for child in up.children(id)} == {"CRASHED"}


def test_crash_of_a_worker_fails_its_stage_and_a_new_run_makes_it(up: Up) -> None:
    id, grid = start(up, "worker", 3)
    up.kill(WORKER)

    state = up.wait_for(id)["state"]
    assert state["type"] == "FAILED"
    assert "was killed by SIGKILL" in state["message"]
    complete(up, up.submit("grid/quick-grid", grid=grid))
    assert_each_once(up)
    assert_nothing_left(up, id)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_crash_of_the_server_is_mended_and_its_run_completes(up: Up, number: signal.Signals) -> None:
    id, _ = start(up, f"server-{number.name.lower()}", 10 + number)
    [server] = up.pids(SERVER)
    os.kill(server, number)
    up.wait_until(lambda: up.pids(SERVER) not in ([], [server]) and up.answers(), "started again")

    if up.wait_for(id)["state"]["type"] != "COMPLETED":
        up.retry(id)
        complete(up, id)

    assert_each_once(up)
    assert_nothing_left(up, id)


def test_crash_of_everything_leaves_nothing_running_once_it_is_up_again(own_up: Up) -> None:
    id, grid = start(own_up, "power-cut", 1)
    assert own_up.process is not None
    for command in ("flows.cli.main", SERVING, SERVER, FLOW, WORKER):
        own_up.kill(command)
    own_up.process.communicate()

    own_up.start()

    complete(own_up, own_up.submit("grid/quick-grid", grid=grid))
    assert own_up.wait_for(id)["state"]["type"] == "CRASHED"
    assert_each_once(own_up)
    assert len(own_up.executed()) == sum(N_NODES.values())
    assert_nothing_left(own_up, id)
