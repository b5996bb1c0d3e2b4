"""What is left of a run, followed by its reports, and said in a file of the home for ``w2s status``."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from artifacts import files
from artifacts.errors import W2sError
from flows.home import Home
from flows.plan.cost import Left
from flows.plan.graph import Node

TELL_EVERY_S = 5.0

ENDED = ("ran", "reused", "failed", "blocked")
"""What ``flows.run.drain`` reports of a node that is over."""


class Remaining:
    """How long a run will still take; call it with every report of it. Use as a context manager: the file goes with it.

    Args:
        home: the project.
        grid: name of the grid.
        left: what is pending, before it runs.
    """

    def __init__(self, home: Home, grid: str, left: Left) -> None:
        self._file = _folder(home) / f"{grid}.json"
        self._left = left
        self._lock = threading.Lock()
        self._next = 0.0

    def __enter__(self) -> Remaining:
        self._tell()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._next = float("inf")
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def __call__(self, event: str, node: Node, seconds: float) -> None:
        """Take a report of ``flows.run.drain.Drain``; from any thread."""
        if event in ENDED:
            with self._lock:
                self._left.over(node.id, seconds)
            self._tell()

    def settle(self, ids: Iterable[str]) -> None:
        """No more than these nodes are left."""
        with self._lock:
            self._left.settle(ids)
        self._tell()

    def told(self) -> str:
        """How long it will still take; empty where that is not known."""
        with self._lock:
            return self._left.told()

    def _tell(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + TELL_EVERY_S
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with contextlib.suppress(OSError, W2sError):  # no run fails for that
            self._file.parent.mkdir(parents=True, exist_ok=True)
            files.write_text(self._file, json.dumps({"left": self.told(), "at": at}))


def remaining(home: Home, grid: str) -> str:
    """What the run of a grid from this home said last, and when; empty where it said nothing."""
    try:
        said = json.loads((_folder(home) / f"{grid}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return f"{said['left']} at {said['at']}" if said["left"] else ""


def _folder(home: Home) -> Path:
    return home.root / "cache" / "left"
