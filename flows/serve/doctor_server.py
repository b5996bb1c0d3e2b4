"""For ``w2s doctor``: whether the Prefect server does what it is there for, by its schedules and by its log.

Whether it answers is looked at in ``flows.serve.doctor``.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.serve.findings import OK, PROBLEM, WARNING, Finding

GRACE_S = 90
"""How long a schedule, or a server, may be there before runs have to be: the server looks once a minute."""

HORIZON_S = 100 * 24 * 3600
"""How far ahead Prefect schedules."""

MANY = 200
"""Deployments that are looked at; the server gives no more at a time."""

RECORD = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+ \| (\w+) +\| (.*)")
"""First line of what the server logs; see ``flows.serve.server.LOGGED``."""

RAISED = re.compile(r"[\w.]+: .")
"""Last line of a traceback."""

Post = Callable[[str, object], Any]
"""Answer of the server to a body at a path; None if it refuses."""


def check_schedules(post: Post, started: str | None, advice: str) -> Iterator[Finding]:
    """Whether deployments with an active schedule have runs to come.

    Args:
        post: asks the server.
        started: when the server started, if that is known.
        advice: what to do where there are none.
    """
    deployments = post("/deployments/filter", {"limit": MANY})
    if deployments is None:
        yield Finding("schedules", WARNING, "the server does not say which there are", advice)
        return
    idle, n_active = [], 0
    for deployment in deployments:
        schedules = [schedule for schedule in deployment["schedules"] if schedule["active"]]
        if deployment["paused"] or not schedules:
            continue
        n_active += 1
        newest = max(schedule["updated"] for schedule in schedules)
        if any(time and _age_s(time) < GRACE_S for time in (newest, started)):
            continue
        if all(schedule["schedule"].get("interval", 0) > HORIZON_S for schedule in schedules):
            continue
        if post("/flow_runs/count", _to_come(deployment["id"])) == 0:
            idle.append(deployment["name"])
    for name in idle:
        yield Finding(
            "schedules",
            PROBLEM,
            f"deployment {name} has an active schedule, and no run to come",
            f"{advice} (all is well if the schedule has ended, or its next time is more than 100 days away)",
        )
    if n_active and not idle:
        yield Finding("schedules", OK, f"deployments with an active one: {n_active}")


def _to_come(deployment: str) -> object:
    now = datetime.datetime.now(datetime.UTC).isoformat()
    return {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"after_": now}},
    }


def _age_s(time: str) -> float:
    return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(time)).total_seconds()


def check_log(log: Path, started: str | None, advice: str) -> Iterator[Finding]:
    """Errors that the server of the home has logged since it started."""
    if not started or not log.exists():
        return
    errors: list[str] = []
    reason = ""
    is_error = False
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            record = RECORD.match(line)
            if record is not None:
                time, level, text = record.groups()
                is_error = level in ("ERROR", "CRITICAL") and time >= started[: len(time)]
                if is_error:
                    errors.append(text)
                    reason = ""
            elif is_error and RAISED.match(line):
                reason = line.strip()
    if errors:
        last = " ".join(f"{errors[-1]} {reason}".split())
        yield Finding("server log", WARNING, f"{log}: errors since it started: {len(errors)}; the last: {last}", advice)
