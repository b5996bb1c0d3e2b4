"""``w2s up``: the server of a home with its UI, and the deployments served, until Ctrl-C.

Light: Prefect is imported by the server and by ``flows.serve.serving``, each in a process of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from artifacts.errors import Stopped, UsageError, W2sError
from flows.home import Home, Places
from flows.run.interrupts import INTERRUPTS, grace_s
from flows.serve.server import Report, Server, local_server

PORT = 4200
"""Where the UI is, unless another port is asked for or a run of this home has started the server elsewhere."""

SERVER_STOPS_S = 3.0
"""What of the time to end in order is left for the server, when flow runs have been cancelled."""

LOOK_S = 1
"""How often it is looked whether the server lives."""


def up(home: Home, console: Console, port: int | None) -> None:
    """Serve until Ctrl-C or SIGTERM, then leave nothing behind.

    Args:
        home: the project.
        console: where to say what there is.
        port: of the server; None for `PORT`.

    Raises:
        UsageError: it runs already, or the port is taken.
        W2sError: the server or what serves the deployments ended by itself, or the home is gone.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    try:
        with (
            _only_one(home),
            local_server(home.root, say, port=port, default_port=PORT) as server,
            _serving(home) as process,
        ):
            _announce(server, say)
            places = Places(home)
            while process.poll() is None:
                places.check()
                server.revive()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_S)
            raise W2sError(f"what serves the deployments ended; see {_log(home)}")
    except (KeyboardInterrupt, Stopped):
        say("stopped; finished stages stay")
        INTERRUPTS.have_ended()


def _announce(server: Server, say: Report) -> None:
    say(f"Prefect UI: {server.ui_url}")
    if server.folder is not None:
        say(f"results: {server.ui_url}/report")
        say(f"log in with what is in {server.folder / 'auth'}")
    say("Ctrl-C stops the server, and the runs that it has started")


@contextlib.contextmanager
def _only_one(home: Home) -> Iterator[None]:
    """Hold this home's lock for as long as it is up.

    Raises:
        UsageError: another process holds it.
    """
    path = home.root / "prefect" / "up.lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UsageError(f"w2s up runs already for {home.root} (process {lock.read() or 'starting'})") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextlib.contextmanager
def _serving(home: Home) -> Iterator[subprocess.Popen[str]]:
    """The process that serves the deployments, when it is ready; at the end it is gone, with all that it started.

    Raises:
        W2sError: it ended before it was ready.
    """
    log = _log(home)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "W2S_HOME": str(home.root),
        "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
        # What the flow runs log is in the UI.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    }
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.serve.serving"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env=environment,
            # Ctrl-C is for this process, which then stops that one and its flow runs in order.
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        with INTERRUPTS.at_the_end(lambda: os.killpg(process.pid, signal.SIGKILL)):
            if not process.stdout.readline():
                raise W2sError(f"the deployments could not be served; see {log}")
            yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    """Let it cancel its flow runs; whatever is left of its session after that is killed."""
    try:
        process.terminate()
        process.communicate(timeout=max(grace_s() - SERVER_STOPS_S, 0))
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _log(home: Home) -> Path:
    return home.logs / "serving.log"
