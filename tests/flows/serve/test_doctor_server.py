"""``w2s doctor`` says of a Prefect server that answers whether its schedules fire, and what it has logged."""

from __future__ import annotations

import datetime
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import pytest

from flows.home import Home
from flows.serve.doctor import check_server
from flows.serve.findings import OK, PROBLEM, WARNING, Finding
from tests.flows.serve.test_doctor import found, home, no_profile, serving

__all__ = ["home", "no_profile"]

HOUR_S = 3600
LONG_AGO = "2026-01-01T00:00:00Z"


def deployment(**changes: Any) -> dict[str, Any]:
    """As a server describes one that has a schedule."""
    schedule = {"active": True, "updated": LONG_AGO, "schedule": {"cron": "* * * * *"}}
    schedule |= {name: changes.pop(name) for name in list(changes) if name in schedule}
    return {"id": "1", "name": "nightly", "paused": False, "schedules": [schedule], **changes}


def schedules(home: Home, monkeypatch: pytest.MonkeyPatch, n_to_come: int, **changes: Any) -> Finding | None:
    about = {"version": version("prefect"), "deployments": [deployment(**changes)], "n_to_come": n_to_come}
    with serving(**about) as url:
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
        return found(check_server, home).get("schedules")


def test_active_schedule_without_a_run_to_come_is_a_problem_that_names_the_deployment(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = schedules(home, monkeypatch, 0)

    assert wrong is not None
    assert wrong[1:3] == (PROBLEM, "deployment nightly has an active schedule, and no run to come")
    assert schedules(home, monkeypatch, 3) == Finding("schedules", OK, "deployments with an active one: 1")


@pytest.mark.parametrize(
    "changes",
    [
        {"paused": True},
        {"active": False},
        {"schedules": []},
        {"updated": "now"},
        {"schedule": {"interval": 200 * 24 * HOUR_S}},
    ],
    ids=["deployment paused", "schedule paused", "no schedule", "just set", "far apart"],
)
def test_no_run_to_come_is_no_problem_where_none_has_to_be(
    changes: dict[str, Any], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "updated" in changes:  # when the test runs, not when all were collected
        changes = {"updated": datetime.datetime.now(datetime.UTC).isoformat()}
    looked = schedules(home, monkeypatch, 0, **changes)

    assert looked is None or looked.verdict == OK


LOG = """
2026-01-02T03:04:05.678 | ERROR   | docket - of an earlier server
2026-03-04T00:00:01.000 | WARNING | docket - slow
2026-03-04T00:00:02.000 | ERROR   | docket.dependencies - \u21a9 [    47ms] schedule_deployments(){}
Traceback (most recent call last):
  File "x.py", line 1, in f
sqlite3.IntegrityError: first

Traceback (most recent call last):
sqlalchemy.exc.InvalidRequestError: Can't evaluate bulk DML statement
2026-03-04T00:00:03.000 | INFO    | uvicorn - more: of no interest
"""


@contextmanager
def own_server(home: Home, port: int, started: str) -> Iterator[None]:
    """A server of the home that lives, as its files have it."""
    folder = home.root / "prefect"
    folder.mkdir(parents=True)
    home.logs.mkdir()
    (folder / "auth").write_text("w2s:secret")
    (home.logs / "server.log").write_text(LOG)
    with (folder / "server.json").open("w") as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        record.write(f'{{"pid": 77, "port": {port}, "started": "{started}"}}')
        record.flush()
        yield


@pytest.mark.parametrize(("started", "n"), [("2026-03-04T00:00:00+0000", 1), ("2026-01-01T00:00:00+0000", 2)])
def test_errors_that_the_server_has_logged_since_it_started_are_named(home: Home, started: str, n: int) -> None:
    with serving(version=version("prefect")) as url, own_server(home, int(url.rpartition(":")[2]), started):
        wrong = found(check_server, home)["server log"]

    assert wrong.verdict == WARNING
    assert wrong.found == (
        f"{home.logs}/server.log: errors since it started: {n}; the last: docket.dependencies - \u21a9 [ 47ms] "
        "schedule_deployments(){} sqlalchemy.exc.InvalidRequestError: Can't evaluate bulk DML statement"
    )
    assert wrong.advice is not None
    assert "kill 77" in wrong.advice


def test_errors_of_earlier_servers_are_past(home: Home) -> None:
    started = "2026-03-04T00:00:03+0000"
    with serving(version=version("prefect")) as url, own_server(home, int(url.rpartition(":")[2]), started):
        assert "server log" not in found(check_server, home)
