"""The local Prefect server of a home: joined or started by a run, stopped by the last run that leaves it.

Which runs use it is a shared ``flock`` of each; that it lives is a ``flock`` of its own. So the kernel tells the truth
after any crash, nothing ever needs unlocking, and a server that only killed runs have used ends by itself.
Deployments and automations are not here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from artifacts import files
from artifacts.errors import UsageError, W2sError
from artifacts.waiting import STOP, Wait, take
from flows.run.interrupts import INTERRUPTS
from flows.serve.api import POLL_S, is_healthy, wait_for_history
from flows.serve.environment import (
    load_settings,
    only_environment,
    own_environment,
    past_proxies,
    profile_api_url,
    reaching,
)
from tasks.history import HURRY_S, send_all

Report = Callable[[str], None]

START_TIMEOUT_S = 120
HISTORY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 20

QUIET = {
    # The terminal is ours; what Prefect logs is in its UI.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # What waits says so in the log of its task run.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "w2s",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
"""For every process that talks to a server; for one of the user's profile, a value that the user has set stays."""

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
    # A schedule that was made while the server was busy waits for the scheduler's next round; by default a minute.
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "10",
}
"""For the server's process; a value that the user has set stays, of these and of `HEARTBEAT` only."""

HEARTBEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"

LOGGED = {
    # To its log, where doctor looks for errors.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_DATEFMT": "%Y-%m-%dT%H:%M:%S",
}
"""For the server's process."""

LAUNCH = """printf '{"pid": %d, "port": %d, "started": "%s"}' $$ "$1" "$2" >&3; cd "$3"; shift 3; exec "$@\""""
"""The server writes its own record before it becomes Prefect, so whatever kills its parent, it is recorded.

It runs in its own folder: Prefect reads settings from files of the current one.
"""


USERS = "users.lock"


class Record(NamedTuple):
    """What ``server.json`` says of a live server."""

    pid: int
    port: int
    started: str
    """ISO 8601."""
    is_ending: bool = False
    """It has been told to end, so nobody joins it."""


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
        send_all()
        with _turn(self.folder):
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
        with _turn(self.folder):
            if files.is_locked(path):
                return
            record = _read(path)
            if record is not None:
                _reap(record.pid)
            self.report(f"the Prefect server has ended by itself; see {_log(self.folder)}")
            _join_or_start(self.folder, self.report, urlsplit(self.api_url).port)
        _wait_until_healthy(self.folder)


@contextlib.contextmanager
def local_server(
    home: Path,
    report: Report,
    *,
    port: int | None = None,
    default_port: int | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[Server]:
    """A Prefect server for this process, and the environment with which ``prefect``, imported inside, finds it.

    The server of the user's Prefect profile or environment if there is one; else the server of this home, which is
    started if it does not run. It listens on loopback only and asks for the password in ``<home>/prefect/auth``.

    Args:
        home: folder of the project.
        report: told in one line what takes time.
        port: the only port that will do.
        default_port: where to start a server, if ``port`` is None; by default any free port.
        meanwhile: called in a thread while a server starts, in the environment of its clients; waited for.

    Raises:
        UsageError: the server of the user's profile does not answer, or the port is taken.
        W2sError: a server of ours did not start, or does not answer.
    """
    url = profile_api_url(os.environ)
    if url is not None:
        if port is not None:
            raise UsageError(f"--port is for a server of this home, but your Prefect profile names {url}")
        with only_environment({**QUIET, **PATIENT, **reaching(url, os.environ, report)}):
            yield _profile_server(url, report)
        return
    folder, record = home.absolute() / "prefect", None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / USERS).open("w") as users:
        try:
            with _turn(folder):
                fcntl.flock(users, fcntl.LOCK_SH)
                record = _join_or_start(folder, report, port, default_port)
            url = f"http://127.0.0.1:{record.port}"
            environment = {
                **past_proxies(_own_environment(folder), report),
                "PREFECT_API_URL": f"{url}/api",
                "PREFECT_API_AUTH_STRING": _auth(folder),
            }
            leaving = INTERRUPTS.at_the_end(partial(_abandon, folder, users, record))
            with only_environment(environment), leaving:
                with _besides(meanwhile):
                    _wait_until_healthy(folder)
                with _drained():
                    yield Server(api_url=f"{url}/api", ui_url=url, folder=folder, users=users, report=report)
        finally:
            if files.is_at(users.fileno(), folder / USERS):
                # Whoever else starts or stops it is done soon, so there is no reason to leave it behind.
                with _turn(folder, stop=threading.Event()):
                    if _try_lock(users):
                        with INTERRUPTS.at_the_end(partial(_kill, folder / "server.json")):
                            _stop(folder / "server.json")
            elif record is not None:
                # The home has been removed, so nobody finds this server any more.
                _signal(record.pid, signal.SIGKILL)


def running_server(folder: Path) -> Record | None:
    """The live server of the home whose server lives in ``folder``, if nobody is just starting or stopping it."""
    path = folder / "server.json"
    if not path.exists():
        return None
    with (folder / "server.lock").open("a") as file:
        return _read(path) if _try_lock(file) and files.is_locked(path) else None


def _profile_server(url: str, report: Report) -> Server:
    settings = load_settings()
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
        if error is not None:
            raise UsageError(
                f"the server of your Prefect profile, {url}, does not answer ({type(error).__name__}); "
                "start it, or unset PREFECT_API_URL to use one of this home"
            )
        block = settings.results.default_storage_block
        if block is not None:
            # Prefect would look for it in the middle of the run.
            kind, _, name = block.partition("/")
            try:
                client.read_block_document_by_name(name, kind)
            except ObjectNotFound:
                raise UsageError(
                    f"PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK: {url} has no block {block!r} (TYPE/NAME); "
                    "make it there, or unset this and PREFECT_DEFAULT_RESULT_STORAGE_BLOCK"
                ) from None
    ui_url = settings.ui_url or url
    return Server(api_url=url, ui_url=ui_url, folder=None, users=None, report=report)


def _own_environment(folder: Path) -> dict[str, str]:
    """The process's environment, less what is not for a server of ours; the terminal is ours, too."""
    return {**own_environment(os.environ, folder, {*SERVER, HEARTBEAT}), **QUIET}


@contextlib.contextmanager
def _besides(work: Callable[[], object]) -> Iterator[None]:
    """Do ``work`` in a thread during the block, which ends, in whatever way, when both have.

    For work that imports: an import of this thread that is interrupted while another goes on may keep the lock of all
    imports, and an interpreter that ends while a library is being loaded is aborted by it.
    """
    with INTERRUPTS.put_off():
        thread = threading.Thread(target=work, name="besides")
        thread.start()
        try:
            yield
        finally:
            thread.join()


@contextlib.contextmanager
def _drained() -> Iterator[None]:
    """However the block ends, nothing is left for a server that may be stopped next.

    Prefect's threads would go on trying to send it, and keep the process from ending.
    """
    try:
        yield
    finally:
        if "prefect" in sys.modules:
            send_all()


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


def _join_or_start(folder: Path, report: Report, port: int | None, default_port: int | None = None) -> Record:
    """The server that lives, or one that is just starting; whoever asks has its `_turn`."""
    path = folder / "server.json"
    record = _read(path)
    if record is not None and record.is_ending:
        # The run that told it so was killed.
        _stop(path)
    if not files.is_locked(path):
        _start(folder, path, _free_port(port or default_port or _port_before(path)))
        report("starting a Prefect server")
    with Wait(lambda: "the Prefect server of this home to start") as wait:
        while (record := _read(path)) is None and files.is_locked(path):
            wait.pause(POLL_S)
    if record is None:
        raise W2sError(f"the Prefect server ended while it started; see {_log(folder)}, then try again")
    if port not in (None, record.port):
        raise UsageError(f"a run has started this home's server on port {record.port}; leave --port out to join it")
    return record


def _wait_until_healthy(folder: Path) -> None:
    """Wait until the server answers that this process has joined."""
    path, log = folder / "server.json", _log(folder)
    deadline = time.monotonic() + START_TIMEOUT_S
    with Wait(lambda: f"the Prefect server of this home to answer (log: {log})") as wait:
        while not ((record := _read(path)) and is_healthy(record.port)):
            if not files.is_locked(path):
                raise W2sError(f"the Prefect server ended while it started; see {log}, then try again")
            if time.monotonic() > deadline:
                raise W2sError(f"the Prefect server did not answer within {START_TIMEOUT_S} s; see {log}")
            wait.pause(POLL_S)


def _start(folder: Path, path: Path, port: int) -> None:
    """Start a server that holds a ``flock`` on its record at ``path`` until it ends."""
    log, auth = _log(folder), _auth(folder)
    environment = {
        **SERVER,
        # What it leaves out is reported for its clients.
        **past_proxies(_own_environment(folder), lambda line: None),
        **LOGGED,
        # It serves our pages, too, wherever this program was started from.
        "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
    }
    server = [sys.executable, "-P", str(Path(__file__).with_name("prefect_server.py")), "server", "start"]
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    log.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", LAUNCH, "sh", str(port), started, str(folder), *server],
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
    began = time.monotonic()
    sent = pid = record = None
    while files.is_locked(path):
        record = _read(path) or record
        is_late = time.monotonic() - began > (HURRY_S if STOP.is_set() else STOP_TIMEOUT_S)
        wanted = signal.SIGKILL if is_late else signal.SIGTERM
        if record is not None and sent != wanted:
            pid, sent = record.pid, wanted
            with contextlib.suppress(OSError):  # for the case that this process is killed now; it ends all the same
                path.write_text(json.dumps(record._replace(is_ending=True)._asdict()))
            _signal(pid, sent)
        time.sleep(POLL_S)
    path.unlink(missing_ok=True)
    if pid is not None:
        _reap(pid)


def _kill(path: Path) -> None:
    """End the server of the record at ``path`` at once: this process is about to end, and was stopping it."""
    record = _read(path)
    if record is not None:
        _signal(record.pid, signal.SIGKILL)


def _abandon(folder: Path, users: IO[str], server: Record) -> None:
    """End the server at once, unless others use it: this process is about to end."""
    if files.is_at(users.fileno(), folder / USERS):
        with (folder / "server.lock").open("a") as lock:
            if not (_try_lock(lock) and _try_lock(users) and files.is_locked(folder / "server.json")):
                return
    _signal(server.pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    """Send a signal to a server and all that it has started: it leads a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _reap(pid: int) -> None:
    # Only the run that started it is its parent.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _read(path: Path) -> Record | None:
    """The record of a live server; None where there is none, and for the instant before it is written."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    return Record(**json.loads(text)) if text.endswith("}") else None


def _port_before(path: Path) -> int:
    """Where a server that was killed had been, if that is free still: runs may wait for it there; else 0."""
    record = _read(path) if path.exists() else None
    try:
        return 0 if record is None else _free_port(record.port)
    except UsageError:
        return 0


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
def _turn(folder: Path, stop: threading.Event = STOP) -> Iterator[None]:
    """Be the only process that joins, starts or stops the server of this folder."""
    what = f"another run that starts or stops the Prefect server of {folder.parent}"
    with INTERRUPTS.put_off():
        lock = take(folder / "server.lock", what=what, longest_s=POLL_S, stop=stop)
        try:
            yield
        finally:
            lock.release(remove=False)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
