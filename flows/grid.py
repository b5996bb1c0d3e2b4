"""The flow: run what a grid lacks, one task run per node.

Planning is in ``flows.plan``, the order of nodes in ``flows.drain``, what a node does in ``tasks``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.drain import Ended, Order, Outcome
from flows.home import Home
from flows.plan import Plan, Status
from flows.run import Session
from flows.server import ensure_limit
from tasks.devices import this_machine
from tasks.execute import Executor
from tasks.pool import Pool
from tasks.stages import EXECUTORS, REUSED, STAGE_TASKS, device_slot
from w2s_core.config import GridConfig

ORDERS_PER_WORKER = 4
"""Orders under way per worker: some of them wait for what another run is making."""

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
        return Completed(message=f"nothing to do: all {len(session.plan.planned)} stages are fresh")
    _show_reused(session.plan)
    machine = this_machine(config.runtime)
    slots = f"w2s-device:{socket.gethostname()}"
    ensure_limit(slots, machine.n_workers)
    name = str(session.home.root)
    with Pool(n_workers=machine.n_workers, threads=machine.threads, home=session.home.root, gpus=machine.gpus) as pool:
        executor = Executor(
            store=session.store,
            home=session.home.root,
            pool=pool,
            device=machine.device,
            micro_tokens=config.runtime.micro_tokens,
            slot=partial(device_slot, slots),
        )
        EXECUTORS[name] = executor
        try:
            outcome = session.run(_TaskRuns(name).submit, ORDERS_PER_WORKER * machine.n_workers)
        except BaseException:
            # Workers end at once when the pool closes; those who wait for another run have to be told.
            executor.stop.set()
            raise
        finally:
            del EXECUTORS[name]
    return _final_state(session.plan, outcome)


@dataclass(slots=True)
class _TaskRuns:
    """Submits orders as task runs, which wait for nothing, but show in the UI whose outputs they read."""

    home: str
    futures: dict[str, PrefectFuture[Any]] = field(default_factory=dict)
    """By node id."""

    def submit(self, order: Order, ended: Callable[[Ended], None]) -> None:
        labels = order["labels"]
        tags = [str(labels[name]) for name in ("dataset", "model", "method") if labels.get(name)]
        parents = [self.futures[id] for id in order["parents"] if id in self.futures]
        task = STAGE_TASKS[order["stage"]].with_options(tags=tags)
        future = self.futures[order["node"]] = task.submit(self.home, order, wait_for=parents)
        future.add_done_callback(partial(_on_done, order, ended))


def _on_done(order: Order, ended: Callable[[Ended], None], future: PrefectFuture[Any]) -> None:
    future.wait()  # it is over, but only this makes it know its final state without asking the server
    state = future.state
    if state.is_completed():
        ended(Ended(order, "reused" if state.name == REUSED else "ran"))
    else:
        ended(Ended(order, "failed", state.message or state.name or "failed"))


def _show_reused(plan: Plan) -> None:
    fresh = [entry for entry in plan.planned.values() if entry.status is Status.FRESH]
    rows = [
        {
            "stage": entry.node.stage,
            "node": entry.node.name,
            "key": entry.key[:12] if entry.key else "",
            "hours saved": round(entry.manifest.timings["seconds"] / 3600, 4) if entry.manifest else 0,
        }
        for entry in fresh
    ]
    create_table_artifact(
        table=rows,
        key="reused",
        description=f"{len(fresh)} stages reused ({plan.hours_saved:.2f} h saved), {len(plan.pending)} to run",
    )


def _final_state(plan: Plan, outcome: Outcome) -> State[Any]:
    n_reused = len(plan.planned) - len(plan.pending) + len(outcome.reused)
    done = f"{len(outcome.ran)} stages ran, {n_reused} reused"
    if not outcome.failed:
        return Completed(message=done)
    first = outcome.failed[0]
    return Failed(
        message=f"{len(outcome.failed)} failed, {len(outcome.blocked)} not tried, {done}; "
        f"first: {first.node.name}: {first.message}"
    )
