"""The flow of the command line, a whole grid as one flow run with a task run per node; and what every such flow needs.

Planning is in ``flows.plan.compare``, the order of nodes in ``flows.run.drain``, what a node does in ``tasks``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import prefect
from prefect import flow
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from artifacts.errors import Stopped
from artifacts.waiting import STOP, STOPPED
from flows.home import Home
from flows.plan.compare import Plan
from flows.plan.grid import GridConfig
from flows.run.drain import Ended, Order, Outcome
from flows.run.orphans import crash_orphans
from flows.run.session import Session
from flows.run.shown import show_audits, show_plan, show_results
from flows.run.states import run_name, typed_name
from tasks.clusters.cluster import Cluster, open_cluster
from tasks.devices import this_machine
from tasks.slots import slots_needed
from tasks.stages import EXECUTORS, REUSED, STAGE_TASKS, Threads
from tasks.workers.execute import Executor
from tasks.workers.pool import Pool
from tasks.workers.trackers import check_installed as check_trackers

ORDERS_PER_WORKER = 4
"""Orders under way per worker: some of them wait for what another run is making."""

SESSION: ContextVar[Session | None] = ContextVar("session", default=None)
"""The session of the command line, when it runs the flow in its own process: what it planned is what runs."""

RUNNERS: dict[str, Threads | Cluster] = {}
"""Home to what executes the task runs of this process."""


def planned() -> Session | None:
    """The ``SESSION``; a flow that goes to a cluster along with its task runs can name no context variable."""
    return SESSION.get()


def _run_name() -> str:
    config = prefect.runtime.flow_run.parameters["config"]
    return typed_name() or run_name(GridConfig.model_validate(config))


@flow(
    name="w2s-grid",
    flow_run_name=_run_name,
    task_runner=ThreadPoolTaskRunner(),  # type: ignore[arg-type]
    persist_result=False,
)
def run_grid(config: GridConfig, home: str | None = None) -> State[Any]:
    """Run what a grid lacks, and land the results.

    Args:
        config: the grid.
        home: folder of the project; default: ``W2S_HOME``.
    """
    folder = Home(Path(home)) if home is not None else Home.from_environment()
    crash_orphans()
    session = planned() or Session.open(config, folder)
    name, logger = session.config.name, get_run_logger()
    if not session.plan.pending and session.record_fresh():
        if session.plan.graph.pairs:
            show_results(folder, name, logger, figures=False)
        return Completed(message=nothing_to_do(session.plan))
    forecast = session.forecast()
    logger.info("%s of %s stages to run; %s", len(session.plan.pending), len(session.plan.planned), forecast)
    show_plan(session.plan, name, forecast)
    try:
        with executing(session) as runner, session.recorded():
            outcome = session.drain(session.plan, *TaskRuns(runner, name).submitting)
    except Stopped as error:
        return Cancelled(message=str(error))
    show_audits(session.audits, name)
    if session.plan.graph.pairs:
        show_results(folder, name, logger, figures=False)
    return final_state(session.plan, outcome)


def stop_runs() -> None:
    """End what the flows of this process execute, in the middle of a stage if need be."""
    for runner in list(RUNNERS.values()):
        runner.stop()


@contextmanager
def executing(session: Session) -> Iterator[Threads | Cluster]:
    """What executes all task runs of this process: worker processes here, or a cluster; what is there is shared."""
    name = str(session.home.root)
    if name in RUNNERS:
        yield RUNNERS[name]
        return
    runtime = session.config.runtime
    check_trackers(runtime.trackers)
    n_devices = max(node.n_devices for node in session.plan.graph.nodes.values())
    if runtime.runner == "threads":
        opened = _threads(session, n_devices)
    else:
        opened = open_cluster(session.home.root, session.store.url, runtime, n_devices)
    with opened as runner:
        RUNNERS[name] = runner
        try:
            if STOP.is_set():
                raise Stopped(STOPPED)
            yield runner
        except BaseException:
            # Workers would end with the block; those who wait for another run, or are elsewhere, have to be told.
            runner.stop()
            raise
        finally:
            del RUNNERS[name]


@contextmanager
def _threads(session: Session, n_devices: int) -> Iterator[Threads]:
    """The worker processes of this machine."""
    name, runtime = str(session.home.root), session.config.runtime
    machine = this_machine(runtime, n_devices)
    with Pool(n_workers=machine.n_workers, threads=machine.threads, home=session.home.root, gpus=machine.gpus) as pool:
        executor = Executor(
            store=session.store,
            home=session.home.root,
            pool=pool,
            device=machine.device,
            runtime=runtime.model_dump(mode="json"),
            slots=partial(slots_needed, machine),
        )
        EXECUTORS[name] = executor
        try:
            yield Threads(executor)
        finally:
            del EXECUTORS[name]


@dataclass(slots=True)
class TaskRuns:
    """Submits orders as task runs, which wait for nothing, but show in the UI whose outputs they read."""

    runner: Threads | Cluster
    grid: str
    """Its name, under which they show what they made."""
    futures: dict[str, PrefectFuture[Any]] = field(default_factory=dict)
    """By node id."""

    @property
    def submitting(self) -> tuple[Callable[[Order, Callable[[Ended], None]], None], int]:
        """How ``Session.drain`` submits an order, and how many at once."""
        return self.submit, ORDERS_PER_WORKER * self.runner.n_workers

    def submit(self, order: Order, ended: Callable[[Ended], None]) -> None:
        """Start a task run.

        Raises:
            Stopped: the run is being stopped.
        """
        if self.runner.is_stopped:
            raise Stopped(STOPPED)
        labels = order["labels"]
        tags = [str(labels[name]) for name in ("dataset", "model", "method") if labels.get(name)]
        parents = [self.futures[id] for id in order["parents"] if id in self.futures]
        task = STAGE_TASKS[order["stage"]].with_options(tags=tags)
        done = partial(self._on_done, order, ended)
        known = {"grid": self.grid, "flow_run": str(prefect.runtime.flow_run.id)}
        self.futures[order["node"]] = self.runner.submit(task, {**order, **known}, parents, done)

    def _on_done(self, order: Order, ended: Callable[[Ended], None], future: PrefectFuture[Any]) -> None:
        try:
            state = self.runner.final_state(future)
        except asyncio.CancelledError:
            # The flow was interrupted before this task run had begun.
            ended(Ended(order, "stopped"))
            return
        except Exception as error:  # of many types: what Prefect's client says of a server that is away
            # Whatever it is, the run has to hear of it, or it waits for ever.
            reason = (str(error).splitlines() or [""])[0]
            message = f"the Prefect server was away when it ended ({type(error).__name__}: {reason}); run it again"
            ended(Ended(order, "failed", message))
            return
        if state.is_completed():
            ended(Ended(order, "reused" if state.name == REUSED else "ran"))
        elif state.is_cancelled():
            ended(Ended(order, "stopped"))
        else:
            ended(Ended(order, "failed", state.message or state.name or "failed"))


def nothing_to_do(plan: Plan) -> str:
    """What a flow run says that found every stage done."""
    return f"nothing to do: all {len(plan.planned)} stages are fresh"


def final_state(plan: Plan, outcome: Outcome) -> State[Any]:
    """How a flow run ends that brought ``plan`` to its end."""
    n_reused = len(plan.planned) - len(plan.pending) + len(outcome.reused)
    done = f"{len(outcome.ran)} stages ran, {n_reused} reused"
    if not outcome.failed:
        return Completed(message=done)
    first = outcome.failed[0]
    return Failed(
        message=f"{len(outcome.failed)} failed, {len(outcome.blocked)} not tried, {done}; "
        f"first: {first.node.name}: {first.message}"
    )


def counts_told(message: str) -> dict[str, int]:
    """The counts in what ``final_state`` says, by how the stages ended; all that a run elsewhere can tell."""
    words = {"failed": "failed", "not tried": "blocked", "stages ran": "ran"}
    said, _, _ = message.partition("; first: ")
    return {words[word]: int(count) for count, word in re.findall(rf"(\d+) ({'|'.join(words)})\b", said)}
