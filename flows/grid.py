"""The flow of the command line, a whole grid as one flow run with a task run per node; and what every such flow needs.

Planning is in ``flows.plan``, the order of nodes in ``flows.drain``, what a node does in ``tasks``.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from artifacts.errors import W2sError
from flows.drain import Ended, Order, Outcome
from flows.home import Home
from flows.plan import Plan
from flows.resolve import resolve_models
from flows.run import Session
from flows.server import ensure_limit
from flows.shown import show_audits, show_plan
from tasks.devices import Machine, this_machine
from tasks.execute import Executor
from tasks.pool import Pool
from tasks.stages import EXECUTORS, REUSED, STAGE_TASKS, device_slot
from tasks.trackers import check_installed
from w2s_core.config import GridConfig

ORDERS_PER_WORKER = 4
"""Orders under way per worker: some of them wait for what another run is making."""

STOPPED = "the run was stopped; finished stages stay"

SESSION: ContextVar[Session | None] = ContextVar("session", default=None)
"""The session of the command line, when it runs the flow in its own process: what it planned is what runs."""


@flow(
    name="w2s-grid",
    flow_run_name="{config.name}",
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
    session = SESSION.get() or Session.open(config, folder)
    if not session.plan.pending:
        session.record_fresh()
        return Completed(message=nothing_to_do(session.plan))
    show_plan(session.plan)
    with executing(session) as executor, session.recorded():
        outcome = session.drain(session.plan, *TaskRuns(executor).submitting)
    show_audits(session.audits)
    return final_state(session.plan, outcome)


@contextmanager
def executing(session: Session) -> Iterator[Executor]:
    """The worker processes of this machine, for all task runs of this process; one that is there already is shared."""
    name = str(session.home.root)
    if name in EXECUTORS:
        yield EXECUTORS[name]
        return
    runtime = session.config.runtime
    check_installed(runtime.trackers)
    devices = {model.name: model.devices for model in resolve_models(session.config)}
    machine = this_machine(runtime, max(devices.values()))
    slots = device_limit(machine)
    ensure_limit(slots, machine.n_workers)
    with Pool(n_workers=machine.n_workers, threads=machine.threads, home=session.home.root, gpus=machine.gpus) as pool:
        executor = Executor(
            store=session.store,
            home=session.home.root,
            pool=pool,
            device=machine.device,
            runtime=runtime.model_dump(mode="json"),
            devices=devices,
            slot=partial(device_slot, slots),
        )
        EXECUTORS[name] = executor
        try:
            yield executor
        except BaseException:
            # Workers end at once when the pool closes; those who wait for another run have to be told.
            executor.stop.set()
            raise
        finally:
            del EXECUTORS[name]


def device_limit(machine: Machine) -> str:
    """Name of the global concurrency limit whose slots are the devices of this worker: ``gpu:<worker>``.

    A worker is a machine, unless ``W2S_WORKER`` says otherwise: several with a GPU each may be on one.
    """
    kind = "gpu" if machine.device == "cuda" else "cpu"
    return f"{kind}:{os.environ.get('W2S_WORKER') or socket.gethostname()}"


@dataclass(slots=True)
class TaskRuns:
    """Submits orders as task runs, which wait for nothing, but show in the UI whose outputs they read."""

    executor: Executor
    futures: dict[str, PrefectFuture[Any]] = field(default_factory=dict)
    """By node id."""

    @property
    def submitting(self) -> tuple[Callable[[Order, Callable[[Ended], None]], None], int]:
        """How ``Session.drain`` submits an order, and how many at once."""
        return self.submit, ORDERS_PER_WORKER * self.executor.pool.n_workers

    def submit(self, order: Order, ended: Callable[[Ended], None]) -> None:
        """Start a task run.

        Raises:
            W2sError: the run is being stopped.
        """
        if self.executor.stop.is_set():
            raise W2sError(STOPPED)
        labels = order["labels"]
        tags = [str(labels[name]) for name in ("dataset", "model", "method") if labels.get(name)]
        parents = [self.futures[id] for id in order["parents"] if id in self.futures]
        task = STAGE_TASKS[order["stage"]].with_options(tags=tags)
        future = self.futures[order["node"]] = task.submit(str(self.executor.home), order, wait_for=parents)
        future.add_done_callback(partial(_on_done, order, ended))


def _on_done(order: Order, ended: Callable[[Ended], None], future: PrefectFuture[Any]) -> None:
    try:
        future.wait()  # it is over, but only this makes it know its final state without asking the server
    except asyncio.CancelledError:
        # The flow was interrupted before this task run had begun.
        ended(Ended(order, "failed", STOPPED))
        return
    state = future.state
    if state.is_completed():
        ended(Ended(order, "reused" if state.name == REUSED else "ran"))
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
