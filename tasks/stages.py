"""One Prefect task per stage. Prefect neither caches nor stores their results: the artifact store does.

A task run receives and returns small JSON only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State

from artifacts.keys import JSON
from tasks.execute import Executor
from tasks.pool import JobFailed
from w2s_core.stages import STAGES

REUSED = "Reused"
"""Name of the state of a node that proved done when its turn came."""

LEASE_S = 60
"""How long a device slot outlives a process that was killed while holding it."""

EXECUTORS: dict[str, Executor] = {}
"""Home to executor, of the flow run in this process; task runs name the home, since they take JSON only."""


def device_slot(name: str) -> AbstractContextManager[None]:
    """A slot of the global concurrency limit ``name``, for one training."""
    return concurrency(name, occupy=1, strict=True, lease_duration=LEASE_S)


def _run(home: str, order: Mapping[str, JSON]) -> State[Any]:
    """Execute one order; the state says whether it ran, was reused or failed."""
    executor = EXECUTORS[home]
    logger = get_run_logger()
    try:
        how = executor.execute(order)
    except JobFailed as error:
        if not error.is_expected:
            logger.error("%s", error.traceback)
        logger.error("%s failed: %s", order["name"], error)
        return Failed(message=str(error))
    logger.info("%s %s %s", order["name"], order["key"][:8], how)
    return Completed(name=REUSED if how == "reused" else None, message=order["key"])


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
