"""One Prefect task per stage. Prefect neither caches nor stores their results: the artifact store does.

A task run receives and returns small JSON only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State

from artifacts.keys import JSON
from tasks import remote
from tasks.execute import Executor
from tasks.pool import JobFailed
from tasks.run_stage import progress_dir
from w2s_core.stages import STAGES

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

REUSED = "Reused"
"""Name of the state of a node that proved done when its turn came."""

LOSS_EVERY_S = 10.0
"""How often a training's loss is logged; a shorter one has its curve in the store."""

LEASE_S = 60
"""How long a device slot outlives a process that was killed while holding it."""

EXECUTORS: dict[str, Executor] = {}
"""Home to executor, of the flow run in this process; task runs name the home, since they take JSON only."""


class Threads:
    """Executes the task runs of one process in its threads; ``tasks.clusters.Cluster`` does so elsewhere."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.n_workers = executor.pool.n_workers

    @property
    def is_stopped(self) -> bool:
        """Whether the run is being stopped."""
        return self._executor.stop.is_set()

    def submit(
        self,
        task: Task[..., Any],
        order: Mapping[str, JSON],
        parents: list[PrefectFuture[Any]],
        done: Callable[[PrefectFuture[Any]], None],
    ) -> PrefectFuture[Any]:
        """Start a task run; ``done`` is called once, from any thread."""
        future = task.submit(str(self._executor.home), order, wait_for=parents)
        future.add_done_callback(done)
        return future

    def final_state(self, future: PrefectFuture[Any]) -> State[Any]:
        """The final state of a task run that is over, without asking the server."""
        future.wait()
        return future.state

    def stop(self) -> None:
        """End all task runs of this process, in the middle of a stage if need be."""
        self._executor.stop.set()
        self._executor.pool.stop()


def device_slot(name: str) -> AbstractContextManager[None]:
    """A slot of the global concurrency limit ``name``, for one training.

    A training goes on where its lease could not be renewed: a server that was away is no reason to lose it.
    """
    return concurrency(name, occupy=1, strict=True, lease_duration=LEASE_S, raise_on_lease_renewal_failure=False)


def _run(home: str, order: Mapping[str, JSON], there: Mapping[str, JSON] | None = None) -> State[Any]:
    """Execute one order; the state says whether it ran, was reused or failed.

    Args:
        home: folder of the project, where the flow runs.
        order: what to execute.
        there: in a process of a cluster, what it has to know of the run.
    """
    logger = get_run_logger()
    try:
        if there is None:
            executor = EXECUTORS[home]
            with _losses_logged(order, executor.home, logger):
                how = executor.execute(order)
        else:
            with _losses_logged(order, remote.home_here(home), logger):
                how = remote.PROCESS.execute(order, there)
    except JobFailed as error:
        if not error.is_expected:
            logger.error("%s", error.traceback)
        logger.error("%s failed: %s", order["name"], error)
        return Failed(message=str(error))
    # Prefect logs the message; another line would say the same.
    return Completed(name=REUSED if how == "reused" else None, message=f"{how}, artifact {order['key'][:12]}")


@contextlib.contextmanager
def _losses_logged(order: Mapping[str, JSON], home: Path, logger: Logger) -> Iterator[None]:
    """Log where a training is, from the file in which its worker process tells."""
    if not STAGES[order["stage"]].is_training:
        yield
        return
    over = threading.Event()

    def follow() -> None:
        while not over.wait(LOSS_EVERY_S):
            # There is no file before it starts, nor when it has ended meanwhile.
            with contextlib.suppress(OSError, ValueError):
                told = json.loads((progress_dir(home) / f"{order['key']}.json").read_text())
                if told.get("loss") is not None:
                    logger.info("%s %s/%s, loss %.4f", told["unit"], told["done"], told["total"], told["loss"])

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


STAGE_TASKS: dict[str, Task[..., Any]] = {
    stage: task(
        _run,
        name=stage,
        task_run_name="{order[name]}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0,
    )
    for stage in STAGES
}
