"""Flows around the grids: the report of results as artifacts, and the maintenance of the store."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State

from artifacts.errors import W2sError
from artifacts.results.query import pgr_table, run_query
from artifacts.store.grids import KEPT_DAYS
from flows.home import Home
from flows.run.garbage import collect_garbage
from flows.run.shown import show_figures, show_table
from flows.run.states import leave_out_tracebacks, told

Level = Literal["pair", "seed", "dataset", "method"]

leave_out_tracebacks()


@flow(name="report", persist_result=False)
def report(grid: str = "", by: tuple[Level, ...] = ("pair", "dataset", "method"), figures: bool = True) -> State[Any]:
    """Show performance gap recovered, as tables and figures among the artifacts.

    Args:
        grid: Name of one grid; empty for all that were run.
        by: One table for each of these levels.
        figures: Draw the figures of each grid, too.
    """
    home = Home.from_environment()
    try:
        tables = {level: pgr_table(home.results, grid or None, level) for level in by}
        for level, table in tables.items():
            description = f"Performance gap recovered by {level}, {grid or 'all grids'}"
            show_table(table, f"{grid or 'all grids'} pgr by {level}", description)
        if figures:
            drawn = run_query(home.results, "SELECT DISTINCT grid FROM pgr WHERE ? IN ('', grid) ORDER BY grid", [grid])
            for name in drawn["grid"].to_pylist():
                show_figures(home, name)
    except W2sError as error:
        return told(Failed(message=str(error)), get_run_logger())
    rows = ", ".join(f"{table.num_rows} by {level}" for level, table in tables.items())
    return Completed(message=f"rows: {rows}")


@flow(name="store-maintenance", persist_result=False)
def maintain_store(
    verify: bool = True, gc: bool = True, dry_run: bool = True, keep_replaced_days: int = KEPT_DAYS
) -> State[Any]:
    """Check every artifact, and remove what no grid needs.

    Args:
        verify: Read everything in the store, and say what is not as its manifest says.
        gc: Remove what neither the last complete run of a grid nor any since needs.
        dry_run: Only say what would be removed.
        keep_replaced_days: For so long earlier definitions of a grid (NAME@N) stay.
    """
    home = Home.from_environment()
    said = []
    try:
        store = home.open_store()
        problems = list(store.verify()) if verify else []
        if problems:
            create_table_artifact(
                [problem._asdict() for problem in problems],
                key="store-problems",
                description=f"{len(problems)} artifacts are not as their manifests say",
            )
        if verify:
            said.append(f"{len(problems)} broken artifacts")
        if gc:
            removed = collect_garbage(home, store, dry_run=dry_run, keep_replaced=keep_replaced_days)
            total = sum(item.size_bytes for item in removed)
            said.append(f"{'would free' if dry_run else 'freed'} {total:,} bytes in {len(removed)} places")
            if removed:
                create_table_artifact(
                    [{"what": item.what, "bytes": f"{item.size_bytes:,}"} for item in removed],
                    key="store-not-needed" if dry_run else "store-removed",
                    description=f"{said[-1]}; nothing was removed" if dry_run else said[-1],
                )
    except W2sError as error:
        return told(Failed(message=str(error)), get_run_logger())
    if problems:
        message = "; ".join([*said, "a run of a grid makes what it needs of them anew"])
        return told(Failed(message=message), get_run_logger())
    return Completed(message="; ".join(said) or "nothing was asked for")
