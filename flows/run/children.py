"""How the flow runs of a grid's datasets are run: in threads of this process, or by the workers of a work pool.

Only the store says what is done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed, State

from artifacts.errors import W2sError
from flows.plan.grid import GridConfig
from tasks.clusters.cluster import Cluster
from tasks.stages import Threads

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

DEPLOYMENT = "dataset/dataset"
"""What workers run for one dataset."""

PAUSE = threading.Event()
"""Never set: to wait for what workers elsewhere do."""

TICK_S = 3.0
UNTAKEN_S = 60
"""How long runs may wait for a worker before the log says so."""

Children = Generator[tuple[str, State[Any]], None, None]
"""Dataset and final state of each flow run, as they end."""

PATIENCE_S = 300
"""How long a server may be away while workers go on without it."""


def work_pool() -> str | None:
    """The work pool from which the flow run of this process came; None for one that is served, or was called."""
    context = FlowRunContext.get()
    return context.flow_run.work_pool_name if context is not None and context.flow_run is not None else None


def run_here(
    datasets: Iterable[str], run: Callable[[str], State[Any]], runner: Threads | Cluster, tick: Callable[[], None]
) -> Children:
    """Run each in a thread, as many at a time as this process has stage workers.

    Args:
        datasets: names.
        run: runs one.
        runner: shared by all of them, and stopped when the caller ends early.
        tick: called every few seconds.
    """
    with ThreadPoolExecutor(runner.n_workers) as threads:
        running: dict[Future[State[Any]], str] = {
            threads.submit(copy_context().run, run, dataset): dataset for dataset in datasets
        }
        try:
            while running:
                ended, _ = wait(running, timeout=TICK_S, return_when=FIRST_COMPLETED)
                tick()
                for future in ended:
                    yield running.pop(future), future.result()
        except BaseException:
            runner.stop()
            for future in running:
                future.cancel()
            raise


def run_on_workers(config: GridConfig, datasets: Iterable[str], logger: Logger, tick: Callable[[], None]) -> Children:
    """Leave each to the workers of the deployment's work pool, whose limits decide how many run at a time.

    They go on when the caller ends early, unless its flow run is cancelled: then the server cancels them, too.

    Args:
        config: the grid.
        datasets: names.
        logger: told when nobody takes them.
        tick: called every few seconds.

    Raises:
        W2sError: there is no such deployment, or the server has been away for too long.
    """
    running = {_submit(config, dataset): dataset for dataset in datasets}
    submitted = time.monotonic()
    is_told = False
    while running:
        PAUSE.wait(TICK_S)
        tick()
        found = {run.id: run for run in _read(list(running))}
        for id in list(running):
            state = found[id].state if id in found else Crashed(message="its flow run was deleted")
            if state is not None and state.is_final():
                yield running.pop(id), state
        is_late = time.monotonic() - submitted > UNTAKEN_S
        if running and is_late and not is_told and all(run.start_time is None for run in found.values()):
            is_told = True
            logger.warning(
                "no worker has taken a dataset of this grid for %s s; one with a free slot is needed: "
                "prefect worker start --pool %s --work-queue datasets --limit 1",
                UNTAKEN_S,
                next(run.work_pool_name for run in found.values()),
            )


def _submit(config: GridConfig, dataset: str) -> UUID:
    try:
        run = run_deployment(
            DEPLOYMENT,
            parameters={"config": config.model_dump(mode="json"), "dataset": dataset},
            flow_run_name=f"{config.name} {dataset}",
            tags=[dataset],
            timeout=0,
        )
    except ObjectNotFound:
        raise W2sError(
            f"the server has no deployment {DEPLOYMENT}; `w2s deploy --pool {work_pool()}` makes it"
        ) from None
    assert isinstance(run, FlowRun)
    return run.id


def _read(ids: list[UUID]) -> list[FlowRun]:
    """These flow runs, from a server that may be away for a while."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with get_client(sync_client=True) as client:
                return client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)))
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise W2sError(f"the Prefect server does not answer ({type(error).__name__})") from error
            PAUSE.wait(TICK_S)
