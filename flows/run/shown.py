"""What a flow run shows in the Prefect UI beside its logs: artifacts of plan, progress, PGR, figures and audits.

Everything here is a copy for people; what is true is in the store and in ``results.duckdb``.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from artifacts.errors import W2sError
from artifacts.identity.keys import JSON
from artifacts.store.manifest import Manifest
from flows.home import Home
from flows.plan.compare import Plan, Planned, Status
from flows.plan.graph import Node
from flows.report.figures import SMALL, write_figures
from flows.report.page.page import fresh_page
from flows.report.tables import HEADINGS, cell

if TYPE_CHECKING:
    import pyarrow as pa

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

MOST_ROWS = 1_000
"""Of a table of nodes: the UI shows no more at once, and the server keeps every row of every run."""

ENDED = ("ran", "reused", "failed", "blocked")
"""What ``flows.run.drain`` reports of a node that is over."""


def show_plan(plan: Plan) -> None:
    """A table of the nodes, those that will run first: fresh, stale and why, or what it depends on."""
    fresh = (entry for entry in plan.planned.values() if entry.status is Status.FRESH)
    shown = list(islice(chain(plan.pending, fresh), MOST_ROWS))
    n_left = len(plan.planned) - len(shown)
    create_table_artifact(
        table=[_planned_row(entry) for entry in shown],
        key="plan",
        description=f"{plan.count(Status.STALE)} of {len(plan.planned)} stages are stale and will run, "
        f"{plan.count(Status.DEPENDS)} depend on those, {plan.count(Status.FRESH)} are fresh "
        f"({plan.hours_saved:.2f} h saved)" + (f"; {n_left} are not shown here" if n_left else ""),
    )


def _planned_row(entry: Planned) -> dict[str, JSON]:
    is_fresh = entry.status is Status.FRESH
    seconds = entry.made.seconds if is_fresh and entry.made else None
    return {
        "status": entry.status.value,
        "stage": entry.node.stage,
        "node": entry.node.name,
        "why": entry.reason,
        "hours saved": "" if seconds is None else f"{seconds / 3600:.4f}",
    }


def show_audits(audits: Iterable[Manifest]) -> None:
    """A table of what the audits found, if there are any."""
    rows = [{"dataset": audit.labels["dataset"], **audit.metrics} for audit in audits]
    if rows:
        n_sound = sum(row["verdict"] == "ok" for row in rows)
        create_table_artifact(
            table=rows, key="audit", description=f"{n_sound} of {len(rows)} datasets are sound in every check"
        )


def show_table(table: pa.Table, key: str, description: str) -> None:
    """A table in the words and digits of the terminal."""
    rows = [{HEADINGS.get(name, name): cell(name, value) for name, value in row.items()} for row in table.to_pylist()]
    create_table_artifact(table=rows, key=artifact_key(key), description=description)


def show_figures(home: Home, grid: str, key: str) -> None:
    """The figures of a grid, which are written to the home; the page holds copies of them.

    Raises:
        UsageError: there is nothing to draw, or the files cannot be written.
    """
    written = write_figures(home.results, grid, home.figures(grid), SMALL)
    lines = [f"In `{home.figures(grid)}` on {socket.gethostname()}: {', '.join(path.name for path in written)}."]
    for path in written:
        if path.suffix == ".png":
            image = base64.b64encode(path.read_bytes()).decode()
            lines.append(f"![{path.stem} of {grid}](data:image/png;base64,{image})")
    create_markdown_artifact("\n\n".join(lines), key=artifact_key(key), description=f"Figures, grid {grid}")


def show_report(home: Home, grid: str, logger: Logger) -> None:
    """Where the page of a grid's results is, which is written if it is older than they are; where it cannot be, why."""
    try:
        path = fresh_page(home, grid)
    except W2sError as error:  # the grid is no less done
        logger.warning("no report: %s", error)
        return
    place = f"`{path}` on {socket.gethostname()}"
    # The server of a home serves its pages; another knows nothing of them.
    is_served = os.environ.get("PREFECT_HOME") == str(home.root / "prefect")
    create_markdown_artifact(
        f"[Results of {grid}](/report/{grid}), {place}" if is_served else f"Results of {grid}: {place}",
        key=artifact_key(f"{grid} report"),
        description=f"Charts, tables and what made them, grid {grid}",
    )


def artifact_key(name: str) -> str:
    """A name in the letters that Prefect allows for artifacts."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


class Progress:
    """How many stages of a grid are over, as an artifact; call it with every report of ``flows.run.drain``."""

    def __init__(self, n_nodes: int) -> None:
        self._n_nodes = n_nodes
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._n_elsewhere = 0
        self._shown = 0
        self._artifact = create_progress_artifact(
            progress=0 if n_nodes else 100, key="progress", description=f"0 of {n_nodes} stages"
        )

    def __call__(self, event: str, node: Node, seconds: float) -> None:
        """Count a node that is over; from any thread."""
        with self._lock:
            self._counts[event] += event in ENDED

    def add(self, counts: Mapping[str, int]) -> None:
        """Count nodes that are over, by what became of them."""
        with self._lock:
            self._counts.update(counts)

    def settle(self, n_left: int) -> None:
        """Count as reused what other runs have made of it, by how many nodes are left to do."""
        with self._lock:
            n_done = self._n_nodes - n_left
            self._n_elsewhere = max(0, n_done - self._counts["ran"] - self._counts["reused"])

    @property
    def counts(self) -> Mapping[str, int]:
        """How many nodes ran, were reused, failed or were not tried."""
        with self._lock:
            return self._counts + Counter(reused=self._n_elsewhere)

    def show(self) -> None:
        """Bring the artifact up to date, if there is something new."""
        counts = self.counts
        n_ended = sum(counts.values())
        if n_ended == self._shown:
            return
        self._shown = n_ended
        words = ", ".join(f"{counts[event]} {event}" for event in ENDED if counts.get(event))
        assert isinstance(self._artifact, UUID)
        update_progress_artifact(
            artifact_id=self._artifact,
            progress=100 * min(1.0, n_ended / self._n_nodes),
            description=f"{n_ended} of {self._n_nodes} stages: {words}",
        )
