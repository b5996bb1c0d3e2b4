"""What runs in the process of a home's server: Prefect's own, whose writers take turns on SQLite, and which ends.

Prefect begins a transaction without the lock of the writer. If it reads before it writes, and another one commits in
between, SQLite cannot let it go on and does not wait: one request in ten beside a running grid was answered 503. Begun
with the lock, it waits for its turn, as long as a minute.

The last run that leaves stops the server. One that was killed cannot, and the next may have nothing to do, so the
server looks for itself whether anybody uses it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from pathlib import Path
from typing import IO, Any

DEFERRED, IMMEDIATE = "BEGIN DEFERRED", "BEGIN IMMEDIATE"

LOOK_S, UNUSED_LOOKS = 2.0, 5
"""A run that goes on soon after one that was killed finds the server still there."""

END_S = 20.0

TURN, USERS = Path("server.lock"), Path("users.lock")
"""In the folder of the server, which is the current one: see ``flows.serve.server``."""


def take_turns() -> None:
    """From now on, what this process has a transaction for begins with the lock of the writer.

    What only reads has no transaction in Prefect, and waits for nobody.
    """
    from sqlalchemy import Engine, event

    event.listen(Engine, "before_cursor_execute", _begin_with_lock, retval=True)


def end_unused() -> None:
    """End this process when no run has used it for a while.

    From the last look on it keeps the turn, so whoever would join waits until it has ended, and starts another.
    """
    n_looks, pause = 0, threading.Event()
    with TURN.open("a") as turn, USERS.open("a") as users:
        while n_looks < UNUSED_LOOKS:
            fcntl.flock(turn, fcntl.LOCK_UN)
            pause.wait(LOOK_S)
            n_looks = n_looks + 1 if _take(turn) and _take(users) else 0
            fcntl.flock(users, fcntl.LOCK_UN)
        os.kill(os.getpid(), signal.SIGTERM)
        pause.wait(END_S)
        os.killpg(0, signal.SIGKILL)


def serve_reports() -> None:
    """From now on, Prefect's application has the pages of results, too, for those who know its password."""
    from prefect.server.api import server

    from flows.serve.reports import routes

    create, pages = server.create_app, routes(Path.cwd().parent, os.environ["PREFECT_SERVER_API_AUTH_STRING"])

    def create_app(*arguments: Any, **options: Any) -> Any:
        app = create(*arguments, **options)
        app.router.routes[:0] = pages
        return app

    server.create_app = create_app


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _begin_with_lock(
    connection: object, cursor: object, statement: str, parameters: Any, context: object, is_many: bool
) -> tuple[str, Any]:
    return (IMMEDIATE if statement == DEFERRED else statement), parameters


def main() -> None:
    """Be ``prefect``, with the arguments of this process."""
    from prefect.cli import app

    take_turns()
    serve_reports()
    threading.Thread(target=end_unused, name="unused", daemon=True).start()
    app()


if __name__ == "__main__":
    main()
