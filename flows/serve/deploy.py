"""``w2s deploy``: all that a server and a store need before workers can serve them; may be repeated at any time.

What users have set in the UI since (schedules, parameters, limits, the pool's template) stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from rich.console import Console

from artifacts.errors import UsageError, W2sError
from artifacts.store.s3.objects import Objects
from flows.home import Home
from flows.serve.deployments import pooled
from flows.serve.environment import only_environment, profile_api_url, reaching
from flows.serve.serving import install_zombie_automation


def deploy(home: Home, console: Console, pool: str, datasets: str | None) -> None:
    """Make the store's bucket, the work pool (of type process, unless it is there), the deployments, the automation.

    Args:
        home: names the store.
        console: where to say what there is.
        pool: the work pool.
        datasets: the work pool of the datasets, if another.

    Raises:
        UsageError: the environment names no server.
        W2sError: the server or the store refuses, or cannot be reached.
    """
    url = profile_api_url(os.environ)
    if url is None:
        raise UsageError(
            "PREFECT_API_URL: no server is named; `w2s deploy` is for one with workers, `w2s up` has its own"
        )
    if home.store_url.startswith("s3:"):
        Objects(home.store_url).create_bucket()
    deployments = pooled(pool, datasets)
    try:
        with only_environment(reaching(url, os.environ, console.print)):
            asyncio.run(_deploy(deployments))
    except httpx.HTTPError as error:
        cause = str(error).partition("\n")[0] or type(error).__name__
        raise W2sError(f"the Prefect server at {url} failed ({cause})") from error
    for deployment in deployments:
        place = f"work pool {deployment.work_pool_name}, queue {deployment.work_queue_name}"
        console.print(f"{deployment.name}: {place}", highlight=False)


async def _deploy(deployments: Sequence[RunnerDeployment]) -> None:
    async with get_client() as client:
        for pool in {str(deployment.work_pool_name) for deployment in deployments}:
            with contextlib.suppress(ObjectAlreadyExists):
                await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    for deployment in deployments:
        await deployment.aapply()
    await install_zombie_automation()
