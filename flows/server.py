"""The local Prefect server of a home: joined or started by a run, stopped by the last run that leaves it.

Which runs use it is a shared ``flock`` of each; that it lives is a ``flock`` of its own. So the kernel tells the truth
after any crash, and nothing ever needs unlocking. Deployments and automations are not here.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from artifacts.errors import UsageError, W2sError

Report = Callable[[str], None]

START_TIMEOUT_S = 120
HISTORY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 20
SEND_TIMEOUT_S = 20
POLL_S = 0.1
TERMINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")

QUIET = {
    # The terminal is ours; what Prefect logs is in its UI.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
"""For every process that talks to a server; a value that the user has set stays."""

PATIENT = {
    # What a server answers whose database is away. Pauses double from 2 s: six of them are two minutes.
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    "PREFECT_CLIENT_MAX_RETRIES": "6",
}
"""For those that talk to a server of the user's profile; a value that the user has set stays."""

SERVER = {
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    # One transaction for many task runs and events, instead of one for one or a few.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    # Whole seconds: less is read as 0, and then the server spins.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.5",
    # How long a training waits between two looks for a free device slot, at most.
    "PREFECT_SERVER_CONCURRENCY_MAXIMUM_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
    # Leases that are kept in memory are gone with the server, but the slots stay taken.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}
"""For the server's process; a value that the user has set stays."""

LAUNCH = """printf '{"pid": %d, "port": %d, "started": "%s"}' $$ "$1" "$2" >&3; shift 2; exec "$@\""""
"""The server writes its own record before it becomes Prefect, so whatever kills its parent, it is recorded."""


class Record(NamedTuple):
    """What ``server.json`` says of a live server."""

    pid: int
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Prefect server that this process uses."""

    api_url: str
    ui_url: str
    folder: Path | None
    """``<home>/prefect`` of a server of ours; None for the one of the user's profile."""
    users: IO[str] | None
    """Locked, shared, for as long as this process uses a server of ours."""
    report: Report

    def flush(self, flow_run_id: UUID, n_task_runs: int) -> None:
        """Before the last run leaves, wait until the server has recorded ``n_task_runs`` of a flow run.

        Does nothing when other runs go on, or when the server is not ours to stop.
        """
        if self.folder is None or self.users is None:
            return
        _send_all()
        with _locked(self.folder / "server.lock"):
            is_last = _try_lock(self.users)
            fcntl.flock(self.users, fcntl.LOCK_SH)
        if not is_last or wait_for_history(self.api_url, flow_run_id, n_task_runs, timeout_s=1):
            return
        self.report(f"waiting until Prefect has written its history (at most {HISTORY_TIMEOUT_S} s)")
        if not wait_for_history(self.api_url, flow_run_id, n_task_runs, HISTORY_TIMEOUT_S):
            self.report("Prefect's history of this run is incomplete; artifacts and results are not affected")

    def revive(self) -> None:
        """If a server of ours has ended by itself, start it again where it was: whoever uses it tries again there.

        Raises:
            W2sError: it does not start.
        """
        if self.folder is None:
            return
        path = self.folder / "server.json"
        with _locked(self.folder / "server.lock"):
            if _is_alive(path):
                return
            record = _read(path)
            if record is not None:
                _reap(record.pid)
            log, auth = _log(self.folder), _auth(self.folder)
            self.report(f"the Prefect server has ended by itself; see {log}")
            _join_or_start(self.folder, log, auth, self.report, urlsplit(self.api_url).port, None)


@contextlib.contextmanager
def local_server(
    home: Path, report: Report, *, port: int | None = None, default_port: int | None = None
) -> Iterator[Server]:
    """A Prefect server for this process, and the environment with which ``prefect``, imported inside, finds it.

    The server of the user's Prefect profile or environment if there is one; else the server of this home, which is
    started if it does not run. It listens on loopback only and asks for the password in ``<home>/prefect/auth``.

    Args:
        home: folder of the project.
        report: told in one line what takes time.
        port: the only port that will do.
        default_port: where to start a server, if ``port`` is None; by default any free port.

    Raises:
        UsageError: the server of the user's profile does not answer, or the port is taken.
        W2sError: a server of ours did not start, or does not answer.
    """
    url = profile_api_url(os.environ)
    if url is not None:
        if port is not None:
            raise UsageError(f"--port is for a server of this home, but your Prefect profile names {url}")
        with _environment({**QUIET, **PATIENT, **os.environ}):
            yield _profile_server(url, report)
        return
    folder = home.absolute() / "prefect"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "users.lock").open("w") as users:
        try:
            with _locked(folder / "server.lock"):
                fcntl.flock(users, fcntl.LOCK_SH)
                auth = _auth(folder)
                record = _join_or_start(folder, _log(folder), auth, report, port, default_port)
            url = f"http://127.0.0.1:{record.port}"
            environment = {
                **_own_environment(folder),
                "PREFECT_API_URL": f"{url}/api",
                "PREFECT_API_AUTH_STRING": auth,
            }
            with _environment(environment), _drained():
                yield Server(api_url=f"{url}/api", ui_url=url, folder=folder, users=users, report=report)
        finally:
            with _locked(folder / "server.lock"):
                if _try_lock(users):
                    _stop(folder / "server.json")


def running_server(folder: Path) -> Record | None:
    """The live server of the home whose server lives in ``folder``, if nobody is just starting or stopping it."""
    path = folder / "server.json"
    if not path.exists():
        return None
    with (folder / "server.lock").open("w") as file:
        return _read(path) if _try_lock(file) and _is_alive(path) else None


def profile_api_url(environ: Mapping[str, str]) -> str | None:
    """The API URL of the user's Prefect environment or active profile."""
    return profile_setting(environ, "PREFECT_API_URL")


def profile_setting(environ: Mapping[str, str], name: str) -> str | None:
    """A setting of the user's Prefect environment or active profile, read without importing Prefect."""
    if environ.get(name):
        return environ[name]
    home = Path(environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    path = Path(environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    if not path.exists():
        return None
    file = tomllib.loads(path.read_text())
    active = environ.get("PREFECT_PROFILE") or file.get("active")
    value: str | None = file.get("profiles", {}).get(active, {}).get(name)
    return value


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
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)


def ensure_limit(name: str, n_slots: int) -> None:
    """Create the global concurrency limit ``name``, or set its number of slots."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client:
        try:
            client.upsert_global_concurrency_limit_by_name(name, n_slots)
        except ObjectAlreadyExists:
            # Another run created it between the client's look and its request.
            client.upsert_global_concurrency_limit_by_name(name, n_slots)


def _profile_server(url: str, report: Report) -> Server:
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise UsageError(
            f"the server of your Prefect profile, {url}, does not answer ({type(error).__name__}); "
            "start it, or unset PREFECT_API_URL to use one of this home"
        )
    ui_url = get_current_settings().ui_url or url
    return Server(api_url=url, ui_url=ui_url, folder=None, users=None, report=report)


def _own_environment(folder: Path) -> dict[str, str]:
    """The process's environment without another Prefect home, and past any proxy."""
    environ = {**QUIET, **os.environ}
    for name in ("PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_API_KEY"):
        environ.pop(name, None)
    for name in ("NO_PROXY", "no_proxy"):
        environ[name] = ",".join(filter(None, [environ.get(name), "127.0.0.1"]))
    return {
        **environ,
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    }


@contextlib.contextmanager
def _environment(environment: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    _set_environment(environment)
    try:
        yield
    finally:
        _set_environment(before)


@contextlib.contextmanager
def _drained() -> Iterator[None]:
    """However the block ends, nothing is left for a server that may be stopped next.

    Prefect's threads would go on trying to send it, and keep the process from ending.
    """
    try:
        yield
    finally:
        if "prefect" in sys.modules:
            _send_all()


def _send_all() -> None:
    """Let Prefect's threads in this process send the events and logs that they hold."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for service in (EventsWorker, APILogWorker):
        service.drain_all(timeout=SEND_TIMEOUT_S)


def _set_environment(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]


def _log(folder: Path) -> Path:
    return folder.parent / "logs" / "server.log"


def _auth(folder: Path) -> str:
    """``user:password`` of this home's servers, made on first use; readable by its owner only."""
    path = folder / "auth"
    if not path.exists():
        temporary = folder / "auth.new"
        temporary.touch(mode=0o600)
        temporary.write_text(f"w2s:{secrets.token_urlsafe(24)}")
        temporary.replace(path)
    return path.read_text().strip()


def _join_or_start(
    folder: Path, log: Path, auth: str, report: Report, port: int | None, default_port: int | None
) -> Record:
    path = folder / "server.json"
    if not _is_alive(path):
        _start(folder, path, log, auth, _free_port(port or default_port or _port_before(path)))
        report("starting a Prefect server")
    deadline = time.monotonic() + START_TIMEOUT_S
    while _is_alive(path):
        record = _read(path)
        if record is not None and port not in (None, record.port):
            raise UsageError(f"a run has started this home's server on port {record.port}; leave --port out to join it")
        if record is not None and _is_healthy(record.port):
            return record
        if time.monotonic() > deadline:
            raise W2sError(f"the Prefect server did not answer within {START_TIMEOUT_S} s; see {log}")
        time.sleep(POLL_S)
    raise W2sError(f"the Prefect server ended while it started; see {log}, then try again")


def _start(folder: Path, path: Path, log: Path, auth: str, port: int) -> None:
    """Start a server that holds a ``flock`` on its record at ``path`` until it ends."""
    environment = {
        **SERVER,
        **_own_environment(folder),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
    }
    server = [sys.executable, "-m", "prefect", "server", "start"]
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    log.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", LAUNCH, "sh", str(port), started, *server],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, record.fileno(), 3),
            ],
            # Ctrl-C of a run is not for the server, which other runs may use.
            setsid=True,
        )


def _stop(path: Path) -> None:
    """End the server of the record at ``path``, if it lives, and drop the record."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    sent = pid = None
    while _is_alive(path):
        record = _read(path)
        wanted = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        if record is not None and sent != wanted:
            pid, sent = record.pid, wanted
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sent)
        time.sleep(POLL_S)
    path.unlink(missing_ok=True)
    if pid is not None:
        _reap(pid)


def _reap(pid: int) -> None:
    # Only the run that started it is its parent.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _is_alive(path: Path) -> bool:
    """Whether a server holds its record at ``path``; whoever asks holds ``server.lock``."""
    try:
        with path.open("r+") as record:
            return not _try_lock(record)
    except FileNotFoundError:
        return False


def _read(path: Path) -> Record | None:
    """The record of a live server; None for the instant before it is written."""
    text = path.read_text()
    if not text.endswith("}"):
        return None
    record = json.loads(text)
    return Record(pid=record["pid"], port=record["port"])


def _port_before(path: Path) -> int:
    """Where a server that was killed had been, if that is free still: runs may wait for it there; else 0."""
    record = _read(path) if path.exists() else None
    try:
        return 0 if record is None else _free_port(record.port)
    except UsageError:
        return 0


def _is_healthy(port: int) -> bool:
    try:
        return _request(f"http://127.0.0.1:{port}/api/health") is True
    except OSError:
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


def _free_port(wanted: int) -> int:
    """``wanted``, or any free port for 0.

    Raises:
        UsageError: something else listens there.
    """
    with socket.socket() as probe:
        # As the server does: connections of an earlier one that are still being closed do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise UsageError(f"port {wanted} cannot be used ({error.strerror}); name another with --port") from None
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the ``flock`` of ``path``, for as long as it takes to join or stop a server."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
