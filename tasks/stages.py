"""One Prefect task per stage. Prefect neither caches nor stores their results: the artifact store does.

A task run receives and returns small JSON only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed, State

from artifacts.errors import Stopped, W2sError
from artifacts.identity.keys import JSON
from artifacts.store.contract import Store
from artifacts.store.opening import open_store
from artifacts.waiting import STOPPED
from tasks.clusters import remote
from tasks.shown import in_words, show_curve
from tasks.workers.execute import Executor
from tasks.workers.pool import JobFailed
from tasks.workers.watch import progress_dir
from w2s_core.stages import STAGES

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

REUSED = "Reused"
"""Name of the state of a node that proved done when its turn came."""

LOSS_EVERY_S = 10.0
"""How often a training's loss is logged; a shorter one has its curve in the store."""

EXECUTORS: dict[str, Executor] = {}
"""Home to executor, of the flow run in this process; task runs name the home, since they take JSON only."""


class Threads:
    """Executes the task runs of one process in its threads; ``tasks.clusters.cluster.Cluster`` does so elsewhere."""

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


def _run(home: str, order: Mapping[str, JSON], there: Mapping[str, JSON] | None = None) -> State[Any]:
    """Execute one order; the state says whether it ran, was reused, failed, or was stopped with its run.

    Args:
        home: folder of the project, where the flow runs.
        order: what to execute.
        there: in a process of a cluster, what it has to know of the run.
    """
    logger = get_run_logger()
    executor = EXECUTORS.get(home)
    try:
        if there is None:
            if executor is None:
                raise Stopped(STOPPED)  # it was submitted in the moment in which the run was stopped
            with _losses_logged(order, executor.home, logger):
                how = executor.execute(order)
        else:
            with _losses_logged(order, remote.home_here(home), logger):
                how = remote.PROCESS.execute(order, there)
    except (JobFailed, W2sError) as error:
        is_stopped = executor is not None and executor.stop.is_set() if there is None else _is_stopped(there)
        if is_stopped or isinstance(error, Stopped):
            # Whatever it says of its end, such as that its worker died, is a consequence.
            return Cancelled(message=STOPPED)
        if isinstance(error, JobFailed) and not error.is_expected:
            logger.error("%s", error.traceback)
        logger.error("%s failed: %s", order["name"], error)
        return Failed(message=str(error))
    words = [how, _shown(home, order, there, how, logger), f"artifact {order['key'][:12]}"]
    # Prefect logs the message; another line would say the same.
    return Completed(name=REUSED if how == "reused" else None, message=", ".join(filter(None, words)))


def _shown(home: str, order: Mapping[str, JSON], there: Mapping[str, JSON] | None, how: str, logger: Logger) -> str:
    """What a state says of what was made; the curve of a training that ran becomes an artifact."""
    try:
        store = _store(home, there)
        made = store.get(order["stage"], order["key"])
    except (W2sError, OSError):
        return ""  # whoever reads it next will say so
    if made is None:
        return ""
    if how == "ran" and (problem := show_curve(store, made, order["name"], order["grid"])):
        logger.warning("%s: its curve is not shown (%s)", order["name"], problem)
    return in_words(made.metrics)


def _store(home: str, there: Mapping[str, JSON] | None) -> Store:
    if there is None:
        return EXECUTORS[home].store
    return open_store(there["store"], remote.home_here(home) / "cache" / "store")


def _is_stopped(there: Mapping[str, JSON]) -> bool:
    return remote.PROCESS.is_stopped(there["run"])


@contextlib.contextmanager
def _losses_logged(order: Mapping[str, JSON], home: Path, logger: Logger) -> Iterator[None]:
    """Log where a training is, from the file in which its worker process tells."""
    if order["runs"] != "training":
        yield
        return
    over = threading.Event()

    def follow() -> None:
        while not over.wait(LOSS_EVERY_S):
            # There is no file before it starts, nor when it has ended meanwhile.
            with contextlib.suppress(OSError, ValueError):
                told = json.loads((progress_dir(home) / f"{order['key']}.json").read_text())
                if told.get("loss") is not None:
                    at = told["unit"], told["done"], told["total"]
                    logger.info("%s: %s %s/%s, loss %.4f", order["name"], *at, told["loss"])

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
