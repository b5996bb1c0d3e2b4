"""The flow of the deployments: a grid from its form, with one child flow run per dataset that has work.

A child is the same grid restricted to one dataset: the same nodes, so the same keys. Only the parent writes the grid
down, so that children leave no grids behind. Neither has more task runs than the UI can show.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import prefect
import pyarrow.compute as pc
from prefect import flow
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from artifacts.errors import W2sError
from artifacts.query import pgr_table
from flows.children import Children, run_here, run_on_workers, work_pool
from flows.drain import Report
from flows.forms import GridForm
from flows.grid import TaskRuns, counts_told, executing, final_state, nothing_to_do
from flows.home import Home
from flows.orphans import crash_orphans
from flows.run import Session
from flows.shown import Progress, show_audits, show_figures, show_plan, show_table
from tasks.clusters import Cluster
from tasks.stages import Threads
from w2s_core.config import GridConfig

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

REPORT: ContextVar[Report | None] = ContextVar("report", default=None)
"""Where a child in the parent's process reports its nodes."""


def reported_to() -> Report | None:
    """The ``REPORT``; see ``flows.grid.planned``."""
    return REPORT.get()


def _run_name() -> str:
    """The name of the grid that was asked for, or of the preset or file that it starts from."""
    form = prefect.runtime.flow_run.parameters["grid"]
    values = form if isinstance(form, dict) else form.model_dump()
    return values.get("name") or Path(values.get("file") or values.get("preset") or "quick").stem


@flow(
    name="grid",
    flow_run_name=_run_name,
    task_runner=ThreadPoolTaskRunner(),  # type: ignore[arg-type]
    persist_result=False,
)
def run_by_dataset(grid: GridForm) -> State[Any]:
    """Run what a grid lacks, one flow run per dataset, and land the results.

    One that came from a work pool leaves the datasets to the workers there; any other runs them in its own process.

    Args:
        grid: A preset, and what is to be different.
    """
    if work_pool() is not None and not os.environ.get("W2S_HOME"):
        return Failed(
            message=f"W2S_HOME: not set for the worker, so the results would be lost in {Path.cwd()}; name a folder"
        )
    home = Home.from_environment()
    logger = get_run_logger()
    crash_orphans()
    try:
        session = Session.open(grid.to_config(), home)
        if not session.plan.pending:
            session.record_fresh()
            return Completed(message=nothing_to_do(session.plan))
        logger.info("%s of %s stages to run", len(session.plan.pending), len(session.plan.planned))
        show_plan(session.plan)
        return _run(session, logger)
    except W2sError as error:
        return Failed(message=str(error))


def _run(session: Session, logger: Logger) -> State[Any]:
    progress = Progress(len(session.plan.pending))
    session.listeners.append(progress)
    with executing(session) as runner, session.recorded() as update:
        shared = session.drain(session.plan.shared, *TaskRuns(runner).submitting)
        progress.show()
        # What failed here would fail again in every dataset.
        failures = {failure.node.name: failure.message for failure in shared.failed}
        session.look_again()
        if not failures:
            failures = _run_datasets(session, runner, progress, update, logger)
    show_audits(session.audits)
    if session.plan.graph.pairs:
        name = session.config.name
        table = pgr_table(session.home.results, name, "pair")
        show_table(table, "pgr", f"Performance gap recovered, grid {name}")
        if table.num_rows:
            try:
                show_figures(session.home, name, "figures")
            except W2sError as error:  # the grid is no less done
                logger.warning("%s", error)
    return _final_state(session, progress, failures)


def _run_datasets(
    session: Session, runner: Threads | Cluster, progress: Progress, update: Callable[[], None], logger: Logger
) -> dict[str, str]:
    """Run a child for each dataset that has work.

    Returns:
        Dataset to message, of those that failed.
    """
    pending = _pending(session)
    failures: dict[str, str] = {}
    try:
        with closing(_children(session, list(pending), runner, progress, logger)) as children:
            for dataset, state in children:
                logger.info("%s: %s", dataset, state.message)
                if not state.is_completed():
                    failures[dataset] = state.message or state.name or "failed"
                session.look_again()
                if work_pool() is not None:
                    progress.add(_counts(state, pending[dataset], _pending(session)[dataset]))
                    progress.show()
                update()
                _show_dataset(session, dataset)
    finally:
        session.look_again()
    return failures


def _pending(session: Session) -> Counter[str]:
    """How many stages each dataset lacks."""
    labels = [entry.node.labels for entry in session.plan.pending]
    return Counter(str(label["dataset"]) for label in labels if "dataset" in label)


def _children(
    session: Session, datasets: list[str], runner: Threads | Cluster, progress: Progress, logger: Logger
) -> Children:
    if work_pool() is not None:
        return run_on_workers(session.config, datasets, logger, progress.show)
    REPORT.set(progress)
    return run_here(datasets, lambda dataset: _run_child(session, dataset), runner, progress.show)


def _counts(state: State[Any], n_before: int, n_after: int) -> dict[str, int]:
    """What became of the stages of a child elsewhere: by its last words, and by what the store has now."""
    told = counts_told(state.message or "")
    n_done = n_before - n_after
    n_ran = min(told.get("ran", n_done), n_done)
    return {**told, "ran": n_ran, "reused": n_done - n_ran}


def _run_child(session: Session, dataset: str) -> State[Any]:
    with prefect.tags(dataset):
        state: State[Any] = run_dataset(session.config, dataset, str(session.home.root), return_state=True)
    return state


@flow(
    name="dataset",
    flow_run_name="{config.name} {dataset}",
    task_runner=ThreadPoolTaskRunner(),  # type: ignore[arg-type]
    persist_result=False,
)
def run_dataset(config: GridConfig, dataset: str, home: str | None = None) -> State[Any]:
    """Run what one dataset of a grid lacks; the flow run of the grid writes it down.

    Args:
        config: the grid.
        dataset: one of its datasets.
        home: folder of the project; default: ``W2S_HOME``.
    """
    folder = Home(Path(home)) if home is not None else Home.from_environment()
    try:
        # The grid is under way.
        session = Session.open(config.model_copy(update={"datasets": (dataset,)}), folder, is_patient=True)
        report = reported_to()
        if report is not None:
            session.listeners.append(report)
        with executing(session) as runner:
            outcome = session.drain(session.plan, *TaskRuns(runner).submitting)
        return final_state(session.plan, outcome)
    except W2sError as error:
        return Failed(message=str(error))


def _show_dataset(session: Session, dataset: str) -> None:
    """The PGR of one dataset, as soon as it is there."""
    if not session.plan.graph.pairs:
        return
    name = session.config.name
    table = pgr_table(session.home.results, name, "pair")
    table = table.filter(pc.equal(table["dataset"], dataset))
    if table.num_rows:
        show_table(table, f"pgr {dataset}", f"Performance gap recovered, grid {name}, dataset {dataset}")


def _final_state(session: Session, progress: Progress, failures: dict[str, str]) -> State[Any]:
    counts = progress.counts
    n_reused = len(session.plan.planned) - sum(counts.values()) + counts.get("reused", 0)
    done = f"{counts.get('ran', 0)} stages ran, {n_reused} reused"
    pending = session.plan.pending
    if failures:
        first, message = next(iter(failures.items()))
        return Failed(
            message=f"{counts.get('failed', 0)} failed, {len(pending)} not done, {done}; first: {first}: {message}"
        )
    if pending:
        return Failed(
            message=f"{len(pending)} not done, {done}; what the workers made is not in this store under these keys; "
            "give all of them the same W2S_STORE and the same code"
        )
    return Completed(message=done)
