"""The flow of the deployments: a grid from its form, with one child flow run per dataset that has work.

A child is the same grid restricted to one dataset: the same nodes, so the same keys. Only the parent writes the grid
down, so that children leave no grids behind. Neither has more task runs than the UI can show.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import prefect
from prefect import flow
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from artifacts.errors import Stopped, W2sError
from artifacts.waiting import STOPPED
from flows.home import Home
from flows.plan.forms import GridForm
from flows.plan.grid import GridConfig
from flows.run.children import Children, run_here, run_on_workers, work_pool
from flows.run.drain import Report
from flows.run.grid import TaskRuns, counts_told, executing, final_state, nothing_to_do
from flows.run.orphans import crash_orphans
from flows.run.session import Session
from flows.run.shown import Logger, PgrTable, Progress, show_audits, show_plan, show_results
from flows.run.states import leave_out_tracebacks, run_name, told, typed_name
from tasks.clusters.cluster import Cluster
from tasks.stages import Threads

REPORT: ContextVar[Report | None] = ContextVar("report", default=None)
"""Where a child in the parent's process reports its nodes."""


leave_out_tracebacks()


def reported_to() -> Report | None:
    """The ``REPORT``; see ``flows.run.grid.planned``."""
    return REPORT.get()


def _run_name() -> str:
    """The name that somebody typed, or what the grid is; of a grid that is refused, the preset or file."""
    typed = typed_name()
    if typed is not None:
        return typed
    form = GridForm.model_validate(prefect.runtime.flow_run.parameters["grid"])
    try:
        return run_name(form.to_config())
    except W2sError:
        return form.name or Path(form.file or form.preset).stem


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
    logger = get_run_logger()
    if work_pool() is not None and not os.environ.get("W2S_HOME"):
        message = f"W2S_HOME: not set for the worker, so the results would be lost in {Path.cwd()}; name a folder"
        return told(Failed(message=message), logger)
    home = Home.from_environment()
    crash_orphans()
    try:
        session = Session.open(grid.to_config(), home)
        if (changed := session.changed) is not None:
            logger.warning("%s", changed)
        if not session.plan.pending and session.record_fresh():
            if session.plan.graph.pairs:
                show_results(home, session.config.name, logger, figures=True)
            return Completed(message=nothing_to_do(session.plan))
        forecast = session.forecast()
        logger.info("%s of %s stages to run; %s", len(session.plan.pending), len(session.plan.planned), forecast)
        show_plan(session.plan, session.config.name, forecast)
        return told(_run(session, logger), logger)
    except Stopped:
        return Cancelled(message=STOPPED)
    except W2sError as error:
        return told(Failed(message=str(error)), logger)


def _run(session: Session, logger: Logger) -> State[Any]:
    name = session.config.name
    pgr = PgrTable(session.home, name)
    with session.remaining() as remaining, executing(session) as runner, session.recorded() as update:
        progress = Progress(name, len(session.plan.pending), remaining)
        session.listeners.append(progress)
        shared = session.drain(session.plan.shared, *TaskRuns(runner, name).submitting)
        progress.show()
        # What failed here would fail again in every dataset.
        undone: dict[str, State[Any]] = {
            failure.node.name: Failed(message=failure.message) for failure in shared.failed
        }
        session.look_again()
        if not undone:
            undone = _run_datasets(session, runner, progress, pgr, update, logger)
        progress.settle(len(session.plan.pending))
        progress.show()
    show_audits(session.audits, name)
    if session.plan.graph.pairs:
        show_results(session.home, name, logger, pgr, figures=True)
    return _final_state(session, progress, undone)


def _run_datasets(
    session: Session,
    runner: Threads | Cluster,
    progress: Progress,
    pgr: PgrTable,
    update: Callable[[], None],
    logger: Logger,
) -> dict[str, State[Any]]:
    """Run a child for each dataset that has work.

    Returns:
        Dataset to final state, of those that are not done.
    """
    pending = _pending(session)
    undone: dict[str, State[Any]] = {}
    try:
        with closing(_children(session, list(pending), runner, progress, logger)) as children:
            for dataset, state in children:
                logger.info("%s: %s", dataset, state.message)
                if not state.is_completed():
                    undone[dataset] = state
                session.look_again()
                if work_pool() is not None:
                    progress.add(_counts(state, pending[dataset], _pending(session)[dataset]))
                    progress.remaining.settle(entry.node.id for entry in session.plan.pending)
                    progress.show()
                update()
                if session.plan.graph.pairs:
                    pgr.show()
    finally:
        session.look_again()
    return undone


def _pending(session: Session) -> Counter[str]:
    """How many stages each dataset lacks."""
    labels = [entry.node.labels for entry in session.plan.pending]
    return Counter(str(label["dataset"]) for label in labels if "dataset" in label)


def _children(
    session: Session, datasets: list[str], runner: Threads | Cluster, progress: Progress, logger: Logger
) -> Children:
    def tick() -> None:
        progress.show()
        session.look_for_news()

    if work_pool() is not None:
        return run_on_workers(session.config, datasets, logger, tick)
    REPORT.set(progress)
    return run_here(datasets, lambda dataset: _run_child(session, dataset), runner, tick)


def _counts(state: State[Any], n_before: int, n_after: int) -> dict[str, int]:
    """What became of the stages of a child elsewhere: by its last words, and by what the store has now."""
    said = counts_told(state.message or "")
    n_done = n_before - n_after
    n_ran = min(said.get("ran", n_done), n_done)
    return {**said, "ran": n_ran, "reused": n_done - n_ran}


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
    logger = get_run_logger()
    try:
        # The grid is under way.
        session = Session.open(config.model_copy(update={"datasets": (dataset,)}), folder, is_patient=True)
        report = reported_to()
        if report is not None:
            session.listeners.append(report)
        with executing(session) as runner:
            outcome = session.drain(session.plan, *TaskRuns(runner, config.name).submitting)
        return told(final_state(session.plan, outcome), logger)
    except Stopped:
        return Cancelled(message=STOPPED)
    except W2sError as error:
        return told(Failed(message=str(error)), logger)


def _final_state(session: Session, progress: Progress, undone: dict[str, State[Any]]) -> State[Any]:
    counts = progress.counts
    n_reused = len(session.plan.planned) - sum(counts.values()) + counts.get("reused", 0)
    done = f"{counts.get('ran', 0)} stages ran, {n_reused} reused"
    pending = session.plan.pending
    failed = {name: state for name, state in undone.items() if not state.is_cancelled()}
    if failed:
        first, state = next(iter(failed.items()))
        return Failed(
            message=f"{counts.get('failed', 0)} failed, {len(pending)} not done, {done}; "
            f"first: {first}: {state.message or state.name}"
        )
    if undone:
        return Cancelled(message=f"cancelled: {', '.join(undone)}; {len(pending)} not done, {done}")
    if pending:
        return Failed(
            message=f"{len(pending)} not done, {done}; what the workers made is not in this store under these keys; "
            "give all of them the same W2S_STORE and the same code"
        )
    return Completed(message=done)
