"""What is asked of a server of a home over HTTP, without Prefect: does it answer, has it written everything."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from artifacts.waiting import STOP

POLL_S = 0.1
TERMINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


def is_healthy(port: int) -> bool:
    """Whether a server answers at a port of this machine."""
    try:
        return _request(f"http://127.0.0.1:{port}/api/health") is True
    except OSError:
        return False


def wait_for_history(api_url: str, flow_run_id: UUID, n_task_runs: int, timeout_s: float) -> bool:
    """Wait until a server of ours has written ``n_task_runs`` ended task runs of a flow run, and all events before.

    Returns:
        Whether it has; False after ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    task_runs = {
        "flow_runs": {"id": {"any_": [str(flow_run_id)]}},
        "task_runs": {"state": {"type": {"any_": TERMINAL}}},
    }
    if not _poll(lambda: _request(f"{api_url}/task_runs/count", task_runs) >= n_task_runs, deadline):
        return False
    # Events are written in the order in which they came, so this one is written last.
    marker = {
        "id": str(uuid4()),
        "occurred": datetime.datetime.now(datetime.UTC).isoformat(),
        "event": "w2s.history-written",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{flow_run_id}"},
    }
    events = {"filter": {"id": {"id": [marker["id"]]}}, "limit": 1}
    return _poll(lambda: _request(f"{api_url}/events", [marker]) is None, deadline) and _poll(
        lambda: _request(f"{api_url}/events/filter", events)["total"] > 0, deadline
    )


def _poll(is_done: Callable[[], bool], deadline: float) -> bool:
    while True:
        # A server that is busy writing may answer late.
        with contextlib.suppress(OSError):
            if is_done():
                return True
        if time.monotonic() > deadline or STOP.wait(POLL_S):
            return False


def _request(url: str, body: object = None) -> Any:
    """The JSON answer of a server of ours, asked past any proxy."""
    request = urllib.request.Request(
        url,
        data=None if body is None else json.dumps(body).encode(),
        method="POST" if body else "GET",
    )
    request.add_header("Content-Type", "application/json")
    auth = os.environ.get("PREFECT_API_AUTH_STRING", "")
    request.add_header("Authorization", "Basic " + base64.b64encode(auth.encode()).decode())
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=10) as answer:
        return json.loads(answer.read() or "null")
