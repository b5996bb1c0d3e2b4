"""``w2s up`` as a process of its own, and its server's API, for tests with real servers."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flows.run.interrupts import GRACE
from tests.homes import DEADLINE_S, GRACE_S, ROOT, TICK, Runs

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Up(Runs):
    """One home, with ``w2s up`` running in it between ``start`` and ``stop``.

    Args:
        folder: where all of it is.
        settings: variables of ``W2S_`` and ``PREFECT_`` for its processes; others are not passed on.
        code: folder of the code that it runs.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, code: Path = ROOT) -> None:
        super().__init__(folder, code)
        self.settings = dict(settings or {})
        self.port = free_port()
        self.url = self.settings.get("PREFECT_API_URL", f"http://127.0.0.1:{self.port}/api").removesuffix("/api")
        self.process: subprocess.Popen[str] | None = None

    def environ(self) -> dict[str, str]:
        """As in a terminal, but that no settings of the developer's are there."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("W2S_", "PREFECT_"))}
        places = {"W2S_HOME": str(self.home), "W2S_SLOTS": str(self.folder / "slots"), "HOME": str(self.folder)}
        environ[GRACE] = GRACE_S
        return {**environ, **self.settings, **places}

    def start(self) -> list[str]:
        """Start ``w2s up`` and wait until it serves; what it said."""
        where = () if "PREFECT_API_URL" in self.settings else ("--port", str(self.port))
        self.process = self.command("up", *where)
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line.rstrip())
            if line.startswith("Ctrl-C"):
                return said
        raise AssertionError("\n".join(said))

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """What Ctrl-C does; exit code and the last words."""
        assert self.process is not None
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=DEADLINE_S)
        code, self.process = self.process.returncode, None
        return code, output

    def auth(self) -> str:
        """User and password of the server."""
        return self.settings.get("PREFECT_API_AUTH_STRING") or (self.home / "prefect" / "auth").read_text().strip()

    def api(self, path: str, body: object = None, method: str | None = None) -> Any:
        """The answer of the server to its user, who asks once."""
        auth = base64.b64encode(self.auth().encode()).decode()
        request = urllib.request.Request(
            f"{self.url}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Basic {auth}"},
            method=method,
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=600) as answer:
            return json.loads(answer.read() or "null")

    def answers(self) -> bool:
        """Whether the server can be asked."""
        try:
            return self.api("/health") is True
        except OSError:
            return False

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api(f"/deployments/name/{name}")
        return found

    def submit(self, name: str, typed: str | None = None, /, **parameters: Any) -> str:
        """Create a flow run of a deployment, as the form does, with a name that was typed; its id."""
        id = self.deployment(name)["id"]
        body = {"parameters": parameters, **({} if typed is None else {"name": typed})}
        run: str = self.api(f"/deployments/{id}/create_flow_run", body)["id"]
        return run

    def cancel(self, run: str) -> None:
        """What the button of the UI does."""
        self.api(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def wait_for(self, run: str) -> dict[str, Any]:
        """The flow run when it has ended."""
        for _ in range(DEADLINE_S * 2):
            found: dict[str, Any] = self.api(f"/flow_runs/{run}")
            if found["state"]["type"] in ENDED:
                return found
            TICK.wait(0.5)
        raise AssertionError(f"flow run {run} has not ended: {found['state']}\n{self.log()}")

    def children(self, run: str) -> list[dict[str, Any]]:
        """The flow runs that a flow run has started."""
        parents = self.api("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        ids = [task["id"] for task in parents]
        found: list[dict[str, Any]] = self.api(
            "/flow_runs/filter", {"flow_runs": {"parent_task_run_id": {"any_": ids}}, "sort": "NAME_ASC"}
        )
        return found

    def task_runs(self, run: str) -> list[dict[str, Any]]:
        """The task runs of a flow run."""
        found: list[dict[str, Any]] = self.api("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return found

    def logs(self, *runs: str) -> list[dict[str, Any]]:
        """What flow runs, which are over, and their task runs have logged."""
        self.wait_until(lambda: not self.pids("prefect.engine"), "without the process of a flow run")
        found: list[dict[str, Any]] = self.api("/logs/filter", {"logs": {"flow_run_id": {"any_": list(runs)}}})
        return found

    def artifacts(self, run: str) -> dict[str, Any]:
        """Key to data of the artifacts of a flow run."""
        found = self.api("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        return {artifact["key"]: artifact["data"] for artifact in found if artifact["key"]}

    def log(self) -> str:
        """What went wrong where the deployments are served."""
        path = self.home / "logs" / "serving.log"
        return path.read_text() if path.exists() else ""

    def unfinished(self, run: str) -> list[str]:
        """What Prefect still shows as going on of a flow run, its children and their task runs."""
        runs = [self.api(f"/flow_runs/{run}"), *self.children(run)]
        ids = {"flow_runs": {"id": {"any_": [found["id"] for found in runs]}}}
        found = runs + self.api("/task_runs/filter", ids)
        return [f"{each['name']}: {each['state']['name']}" for each in found if each["state"]["type"] not in ENDED]

    def retry(self, run: str) -> None:
        """What the button of the UI does."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        self.api(f"/flow_runs/{run}/set_state", {"state": state, "force": True})

    def wait_until(self, is_so: Callable[[], object], what: str) -> None:
        """Until something is true, that other processes make true."""
        for _ in range(DEADLINE_S * 5):
            if is_so():
                return
            TICK.wait(0.2)
        raise AssertionError(f"not {what}\n{self.log()}")
