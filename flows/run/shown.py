"""What a flow run shows in the Prefect UI beside its logs: artifacts of plan, progress, PGR, cost, figures and audits.

Everything here is a copy for people; what is true is in the store and in ``results.duckdb``. Keys begin with the grid,
so that each has its own latest; curves of trainings are shown by their task runs (``tasks.shown``).
"""

from __future__ import annotations

import base64
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.artifacts import (
    TableArtifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from artifacts.errors import W2sError
from artifacts.identity.keys import JSON
from artifacts.results.query import pgr_table, run_query
from artifacts.store.manifest import Manifest
from flows.home import Home
from flows.plan.compare import Plan, Planned, Status
from flows.plan.cost import duration
from flows.plan.graph import Node
from flows.report.figures import SMALL, write_figures
from flows.report.page.page import fresh_page
from flows.report.remaining import ENDED, Remaining
from flows.report.tables import HEADINGS, cell
from tasks.shown import artifact_key

if TYPE_CHECKING:
    import pyarrow as pa

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

MOST_ROWS = 1_000
"""Of a table of nodes: the UI shows no more at once, and the server keeps every row of every run."""

FLAGS = {
    "undefined": "undefined: the ceiling is no better than the supervisor",
    "unstable": "unstable: the gap is not told from none",
}
"""What the table of PGR says in the place of its flags."""


def show_plan(plan: Plan, grid: str, forecast: str) -> None:
    """A table of the nodes, those that will run first: fresh, stale and why, or what it depends on."""
    fresh = (entry for entry in plan.planned.values() if entry.status is Status.FRESH)
    shown = list(islice(chain(plan.pending, fresh), MOST_ROWS))
    n_left = len(plan.planned) - len(shown)
    create_table_artifact(
        table=[_planned_row(entry) for entry in shown],
        key=artifact_key(f"{grid} plan"),
        description=f"{plan.count(Status.STALE)} of {len(plan.planned)} stages are stale and will run, "
        f"{plan.count(Status.DEPENDS)} depend on those, {plan.count(Status.FRESH)} are fresh "
        f"({plan.hours_saved:.2f} h saved)"
        + (f"; {n_left} are not shown here" if n_left else "")
        + (f". Time: {forecast}" if plan.pending else ""),
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


def show_audits(audits: Iterable[Manifest], grid: str) -> None:
    """A table of what the audits found, if there are any; it says first which datasets are not sound."""
    found = [{"dataset": audit.labels["dataset"], **audit.metrics} for audit in audits]
    if found:
        create_table_artifact(
            table=[_row(audit) for audit in found],
            key=artifact_key(f"{grid} audit"),
            description=unsound(found),
        )


def unsound(audits: Sequence[Mapping[str, JSON]]) -> str:
    """Which datasets have something wrong, and what; ``audits`` are their names and metrics."""
    wrong = [f"{audit['dataset']} ({audit['verdict']}: {audit['reasons']})" for audit in audits if _is_wrong(audit)]
    if not wrong:
        return f"all datasets ({len(audits)}) are sound in every check"
    return f"{len(wrong)} of {len(audits)} datasets are not sound in every check: {'; '.join(wrong)}"


def _is_wrong(audit: Mapping[str, JSON]) -> bool:
    return bool(audit["verdict"] != "ok")


def show_table(table: pa.Table, key: str, description: str) -> None:
    """A table in the words and digits of the terminal."""
    create_table_artifact(table=_rows(table), key=artifact_key(key), description=description)


def _rows(table: pa.Table) -> list[dict[str, JSON]]:
    """Without columns that say nothing of any row."""
    found = table.to_pylist()
    said = {name for row in found for name, value in row.items() if value is not None}
    return [_row({name: value for name, value in row.items() if name in said}) for row in found]


def _row(values: Mapping[str, JSON]) -> dict[str, JSON]:
    """In words, rounded, an interval beside its number."""
    row: dict[str, JSON] = {}
    for name, value in values.items():
        if name.removesuffix("_low").removesuffix("_high") in values.keys() - {name}:
            continue
        text = FLAGS.get(value, value) if name == "flag" else cell(name, value)
        low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
        if low is not None and high is not None:
            text = f"{text} ({cell(name, low)} to {cell(name, high)})"
        row[HEADINGS.get(name, name)] = "" if text is None else text
    return row


class PgrTable:
    """The PGR of a grid as an artifact of this flow run, which grows while its datasets end."""

    def __init__(self, home: Home, grid: str) -> None:
        self._home = home
        self._grid = grid
        self._artifact: UUID | None = None
        self._rows: list[dict[str, JSON]] = []

    def show(self) -> None:
        """Bring the artifact up to what the results have, if that is not what it shows."""
        rows = _rows(pgr_table(self._home.results, self._grid, "pair"))
        if rows == self._rows:
            return
        self._rows = rows
        description = (
            f"Performance gap recovered, grid {self._grid}: {len(rows)} of dataset, pair and method. In brackets "
            "95 % intervals"
        )
        if self._artifact is None:
            created = create_table_artifact(table=rows, key=artifact_key(f"{self._grid} pgr"), description=description)
            assert isinstance(created, UUID)
            self._artifact = created
            return
        with get_client(sync_client=True) as client:
            update = ArtifactUpdate(data=TableArtifact(table=rows).format(), description=description)
            client.update_artifact(self._artifact, update)


def show_results(home: Home, grid: str, logger: Logger, pgr: PgrTable | None = None, *, figures: bool) -> None:
    """All that there is of a grid with pairs: PGR, cost, the page, and figures if they are wanted.

    What cannot be shown is said in the log: the grid is no less done.

    Args:
        home: the project.
        grid: its name.
        logger: of the flow run.
        pgr: what this flow run shows of it already.
        figures: draw these, too.
    """
    try:
        (pgr or PgrTable(home, grid)).show()
        show_costs(home, grid)
        if figures and pgr_table(home.results, grid, "pair").num_rows:
            show_figures(home, grid)
    except W2sError as error:
        logger.warning("%s", error)
    show_report(home, grid, logger)


def show_costs(home: Home, grid: str) -> None:
    """Hours of each stage and model, and what sharing and caching saved.

    Raises:
        UsageError: there are no results.
    """
    found = run_query(home.results, "FROM costs WHERE grid = ?", [grid]).to_pylist()
    if not found:
        return
    stages = run_query(
        home.results, "SELECT * EXCLUDE grid FROM stage_costs WHERE grid = ? ORDER BY hours DESC", [grid]
    )
    rows = [{**row, **{n: round(v, 4) for n, v in row.items() if isinstance(v, float)}} for row in stages.to_pylist()]
    create_table_artifact(
        table=[{HEADINGS.get(name, name.replace("_", " ")): value for name, value in row.items()} for row in rows],
        key=artifact_key(f"{grid} costs"),
        description=saved(grid, found[0]),
    )


def saved(grid: str, costs: Mapping[str, JSON]) -> str:
    """A row of the view ``costs`` in words."""
    said = (
        f"Grid {grid}: {_hours(costs['hours'])} of stages; its latest run spent {_hours(costs['hours_computed'])} of "
        f"them and found {_hours(costs['hours_reused'])} done"
    )
    if costs["hours_unshared"] is None:
        return said
    return (
        f"{said}. Pairs would have cost {_hours(costs['hours_unshared'])}, each by itself: sharing saved "
        f"{_hours(costs['hours_saved_by_sharing'])}"
    )


def _hours(hours: float) -> str:
    return duration(3600 * hours)


def show_figures(home: Home, grid: str) -> None:
    """The figures of a grid, which are written to the home if those are older; the page holds copies of them.

    Raises:
        UsageError: there is nothing to draw, or the files cannot be written.
    """
    written = _drawn(home, grid) or write_figures(home.results, grid, home.figures(grid), SMALL)
    lines = [f"In `{home.figures(grid)}` on {socket.gethostname()}: {', '.join(path.name for path in written)}."]
    for path in written:
        if path.suffix == ".png":
            image = base64.b64encode(path.read_bytes()).decode()
            lines.append(f"![{path.stem} of {grid}](data:image/png;base64,{image})")
    create_markdown_artifact(
        "\n\n".join(lines), key=artifact_key(f"{grid} figures"), description=f"Figures, grid {grid}"
    )


def _drawn(home: Home, grid: str) -> list[Path]:
    """The figures, if all are there and as new as the results; else none."""
    paths = [home.figures(grid) / f"{name}.{kind}" for name in SMALL for kind in ("svg", "png")]
    try:
        results = home.results.stat().st_mtime
        return paths if all(path.stat().st_mtime > results for path in paths) else []
    except OSError:
        return []


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


class Progress:
    """How many stages of a grid are over, as an artifact; call it with every report of ``flows.run.drain``.

    Args:
        grid: its name.
        n_nodes: how many will be over.
        remaining: says how long that will take, and is told the reports.
    """

    def __init__(self, grid: str, n_nodes: int, remaining: Remaining) -> None:
        self.remaining = remaining
        self._n_nodes = n_nodes
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._n_elsewhere = 0
        self._shown = 0
        self._artifact = create_progress_artifact(
            progress=0 if n_nodes else 100,
            key=artifact_key(f"{grid} progress"),
            description=self._words(Counter()),
        )

    def __call__(self, event: str, node: Node, seconds: float) -> None:
        """Count a node that is over; from any thread."""
        with self._lock:
            self._counts[event] += event in ENDED
        self.remaining(event, node, seconds)

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
        assert isinstance(self._artifact, UUID)
        update_progress_artifact(
            artifact_id=self._artifact,
            progress=100 * min(1.0, n_ended / self._n_nodes),
            description=self._words(counts),
        )

    def _words(self, counts: Mapping[str, int]) -> str:
        ended = ", ".join(f"{counts[event]} {event}" for event in ENDED if counts.get(event))
        line = f"{sum(counts.values())} of {self._n_nodes} stages" + (f": {ended}" if ended else "")
        left = self.remaining.told()
        return f"{line}; {left}" if left else line
