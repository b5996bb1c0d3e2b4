"""What the terminal shows while a grid runs: live rows on a terminal, one line per node elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from flows.home import Home
from flows.plan.graph import Node
from flows.report.status import read_progress

ENDED = ("ran", "reused", "failed", "blocked")


class Display:
    """Follows the nodes of a run; use as a context manager, and call it with every report.

    Args:
        console: where to show them.
        home: the project.
        n_nodes: how many will be reported.
        left: says how long they will still take, if that is known.
    """

    def __init__(self, console: Console, home: Home, n_nodes: int, left: Callable[[], str] = str) -> None:
        self._console = console
        self._home = home
        self._n_nodes = n_nodes
        self._left = left
        self._lock = threading.Lock()
        self._started: dict[str, tuple[Node, float]] = {}
        self._counts: Counter[str] = Counter()
        self._total = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._total.add_task("nodes", total=n_nodes)
        self._live = (
            Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: str, node: Node, seconds: float) -> None:
        """Take a report of ``flows.run.drain.Drain``."""
        now = time.monotonic()
        with self._lock:
            if event == "submitted":
                self._started[node.id] = (node, now)
                return
            self._started.pop(node.id, None)
            self._counts[event] += 1
            self._total.update(self._task, completed=sum(self._counts[e] for e in ENDED))
        if event in ("failed", "blocked") or self._live is None:
            n_ended = sum(self._counts.values())
            took = f" {seconds:.1f} s" if event == "ran" else ""
            self._console.print(
                f"[{n_ended}/{self._n_nodes}] {event} {node.name}{took}",
                markup=False,
                highlight=False,
            )

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        with self._lock:
            under_way = list(self._started.values())
            counts = dict(self._counts)
        progress = read_progress(self._home)
        n_waiting = 0
        for node, started in under_way:
            told = progress.get(node.id)
            if told is None:
                n_waiting += 1
                continue
            table.add_row(
                Text(node.name),
                Text(f"{told['done']}/{told['total']} {told['unit']}"),
                f"{now - started:.0f} s",
            )
        words = [f"{counts[event]} {event}" for event in ENDED if counts.get(event)]
        if n_waiting:
            words.append(f"{n_waiting} starting or waiting")
        if left := self._left():
            words.append(left)
        return Group(table, self._total, Text(", ".join(words), style="dim"))
