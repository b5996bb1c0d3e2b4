"""Schedules of a real server: they fire, their runs complete and share work, and pausing them stops it."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import N_NODES
from tests.test_up import running
from tests.up import Up

pytestmark = pytest.mark.slow

N_ALL = sum(N_NODES.values())


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    yield from running(Up(tmp_path))


def scheduled(up: Up, id: str, *types: str) -> list[dict[str, Any]]:
    """The flow runs that the schedule of a deployment has made, with a state of one of these types, in order."""
    query = {
        "deployments": {"id": {"any_": [id]}},
        "flow_runs": {"state": {"type": {"any_": types}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    found: list[dict[str, Any]] = up.api("/flow_runs/filter", query)
    return [run for run in found if run["auto_scheduled"]]


def time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def test_cron_of_every_minute_runs_a_grid_until_it_is_paused(up: Up) -> None:
    id = up.deployment("grid/quick-grid")["id"]
    grid = {"preset": "quick", "file": up.grid("nightly")}
    [schedule] = up.api(
        f"/deployments/{id}/schedules",
        [{"schedule": {"cron": "* * * * *"}, "active": True, "parameters": {"grid": grid}}],
    )

    up.wait_until(lambda: scheduled(up, id, "RUNNING", "COMPLETED"), "started by the schedule")
    [first] = scheduled(up, id, "RUNNING", "COMPLETED")
    states = [up.wait_for(run)["state"] for run in (first["id"], up.submit("grid/quick-grid", grid=grid))]

    assert time(first["expected_start_time"]).second == 0
    assert [state["type"] for state in states] == ["COMPLETED"] * 2, states
    assert Counter(stage for stage, _ in up.executed()) == N_NODES
    assert set(up.executed().values()) == {1}
    assert "deployments with an active one: 1" in up.run("doctor")[1]

    up.stop()
    up.start()
    up.wait_until(lambda: len(scheduled(up, id, "COMPLETED")) == 2, "run again after a restart")

    [_, third] = scheduled(up, id, "COMPLETED")
    assert third["state"]["message"] == f"nothing to do: all {N_ALL} stages are fresh"
    assert scheduled(up, id, "SCHEDULED")

    up.api(f"/deployments/{id}/schedules/{schedule['id']}", {"active": False}, "PATCH")

    up.wait_until(lambda: not scheduled(up, id, "SCHEDULED"), "paused")
