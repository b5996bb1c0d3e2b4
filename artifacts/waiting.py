"""Waiting that is seen and that ends, for locks and for all else: it says what for, and gives up when it is told to.

What is waited for (claims, device slots, servers, object stores) is elsewhere. Whoever looks from another process, such
as ``w2s status``, sees it on a board: a folder with a locked file for each wait, gone when the wait or its process is.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from artifacts import files
from artifacts.errors import Stopped

NOTICE_S = 5.0
"""How long something may take before it is said."""

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5

STOP = threading.Event()
"""Set once, when this process is to end: whatever waits in it gives up."""

NOW = threading.Event()
NOW.set()
"""For what is to be had at once or not at all: who waits with it gives up as soon as it would wait."""

STOPPED = "the run was stopped; finished stages stay"

log = logging.getLogger("w2s.waiting")
"""Gets one line per wait; whoever runs stages shows it in the terminal and in the log of the task run."""

logging.getLogger("w2s").setLevel(logging.INFO)

BOARD = Path("cache", "waits")
"""Where in a project's folder the board is."""

_board: Path | None = None
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Notice:
    """A wait that others see."""

    what: str
    pid: int
    since: str
    """ISO time in UTC."""


def show_in(home: Path) -> None:
    """Show what this process waits for in a project's folder, from now on."""
    global _board
    _board = home / BOARD


def notices(home: Path) -> list[Notice]:
    """What live processes wait for, longest first."""
    board, found = home / BOARD, []
    for name in files.names(board):
        # One that is no longer locked is over; its process may have been killed.
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            if files.is_locked(board / name):
                found.append(Notice(**json.loads(files.read_text(board / name))))
    return sorted(found, key=lambda notice: notice.since)


class Wait:
    """One wait, in pauses; use as a context manager.

    Args:
        what: says in a few words what for, and who has it; asked when it is said.
        stop: give up when this is set.
    """

    def __init__(self, what: Callable[[], str], stop: threading.Event = STOP) -> None:
        self._what = what
        self._stop = stop
        self._began, self._since = time.monotonic(), now()
        self._pause_s = FIRST_PAUSE_S
        self._is_said = False
        self._lock: files.Lock | None = None

    def __enter__(self) -> Wait:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.release(remove=True)

    def pause(self, longest_s: float = LONGEST_PAUSE_S) -> None:
        """Wait a moment, each time a longer one, up to ``longest_s``.

        Raises:
            Stopped: nothing more is to be waited for.
        """
        self.sleep(min(self._pause_s, longest_s))
        self._pause_s *= 2

    def sleep(self, seconds: float) -> None:
        """Wait so long.

        Raises:
            Stopped: nothing more is to be waited for.
        """
        self.look()
        self._stop.wait(seconds)
        self.look()

    def look(self) -> None:
        """Say what is waited for, once it has taken some seconds.

        Raises:
            Stopped: nothing more is to be waited for.
        """
        if self._stop.is_set():
            raise Stopped(f"stopped while waiting for {self._what()}")
        if not self._is_said and time.monotonic() - self._began >= NOTICE_S:
            self._is_said = True
            self._say()

    def _say(self) -> None:
        what = self._what()
        log.info("waiting for %s", what)
        if _board is None:
            return
        notice = Notice(what, os.getpid(), self._since)
        # Nobody has to see it: a board that is full or gone stops no work.
        with contextlib.suppress(OSError):
            _board.mkdir(parents=True, exist_ok=True)
            self._lock = files.lock(_board / f"{os.getpid()}-{next(_numbers)}")
            if self._lock is not None:
                self._lock.write(json.dumps(asdict(notice)))


def take(
    *paths: Path,
    what: str,
    label: str = "",
    stop: threading.Event = STOP,
    longest_s: float = LONGEST_PAUSE_S,
) -> files.Lock:
    """Take the first free lock of several, after those who have them now.

    Args:
        paths: the lock files, in folders that exist.
        what: what one of them stands for, to say while waiting.
        label: what it is taken for, to say to others who wait.
        stop: give up when this is set.
        longest_s: how long it may take until a lock that was let go is noticed.

    Raises:
        Stopped: ``stop`` was set.
    """
    with Wait(lambda: f"{what}, {_holders(paths)}", stop) as wait:
        while (lock := next(filter(None, map(files.lock, paths)), None)) is None:
            wait.pause(longest_s)
    lock.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now(), "label": label}))
    return lock


def now() -> str:
    """ISO time in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _holders(paths: Sequence[Path]) -> str:
    held = []
    for path in paths:
        # Let go, or taken and not yet written, while this looked.
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            of = json.loads(files.read_text(path))
            by = f"process {of['pid']} on {of['host']}"
            held.append(f"{by} ({of['label']}) since {of['since']}" if of["label"] else f"{by} since {of['since']}")
    return f"held by {' and '.join(held) or 'another process'}"
