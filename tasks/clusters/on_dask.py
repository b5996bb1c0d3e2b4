"""A Dask cluster, through Prefect's task runner: every task run is a Dask task; GPUs are resources of the workers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture
from prefect.states import State

from artifacts.errors import UsageError
from tasks.clusters import remote
from tasks.clusters.engine import Engine, Node
from tasks.devices import Machine
from tasks.history import send_all

GPU = "GPU"
"""Name of the resource of Dask's workers."""

SERVER = "PREFECT_API_URL"

CONNECT_TIMEOUT_S = 20


@contextmanager
def open_dask(address: str | None, machine: Machine | None) -> Iterator[Engine]:
    """Connect to the cluster whose scheduler is at ``address``, or open one on this machine.

    Raises:
        UsageError: it does not answer.
    """
    from prefect_dask import DaskTaskRunner

    if machine is not None:
        with _local(machine) as cluster:
            runner = DaskTaskRunner(address=cluster.scheduler_address, client_kwargs={"security": cluster.security})
            with runner:
                runner.client.wait_for_workers(machine.n_workers)
                try:
                    yield _Dask(runner)
                finally:
                    # What Prefect has to say goes before the processes do.
                    runner.client.run(_send_all, on_error="ignore")
        return
    with DaskTaskRunner(address=address, client_kwargs={"timeout": CONNECT_TIMEOUT_S}) as runner:
        try:
            runner.client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
        except (OSError, ValueError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise UsageError(f"runtime.cluster: no Dask cluster at {address} ({reason})") from error
        _check_server(runner.client.run(server_here).values())
        yield _Dask(runner)


def _local(machine: Machine) -> Any:
    """A cluster on this machine that nobody else may use, with one process per stage and its GPUs."""
    from distributed import Nanny, Scheduler, Security, SpecCluster

    security = Security.temporary()
    both = {"host": "127.0.0.1", "protocol": "tls://", "security": security, "dashboard": False}
    # Stages run in processes of their own, so there is nothing for Dask to limit here.
    common = {**both, "nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL, "preload": [__name__]}
    workers = {}
    for n in range(machine.n_workers):
        options: dict[str, Any] = dict(common)
        if machine.gpus:
            gpus = machine.gpus[n % len(machine.gpus)]
            options.update(env={"CUDA_VISIBLE_DEVICES": gpus}, resources={GPU: len(gpus.split(","))})
        workers[n] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {**both, "dashboard_address": "127.0.0.1:0"}}
    return SpecCluster(workers=workers, scheduler=scheduler, security=security, silence_logs=logging.CRITICAL)


def dask_setup(worker: Any) -> None:
    """Called by Dask in every worker of a cluster on this machine: Ctrl-C is for the run, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def server_here() -> str | None:
    """The server that this process reports to."""
    return os.environ.get(SERVER)


def _check_server(theirs: Iterable[str | None]) -> None:
    """Refuse processes that report to another server, or none: what Prefect keeps in one outlives a run.

    Raises:
        UsageError: there is one.
    """
    ours = server_here()
    others = {str(url) for url in theirs if url != ours}
    if others:
        raise UsageError(
            f"runtime.cluster: workers of the Dask cluster have {SERVER} = {min(others)}, this run has {ours}; set it, "
            "and PREFECT_API_AUTH_STRING, to those of one server that goes on, here and where the workers are started"
        )


async def _send_all() -> None:
    """As ``send_all``, which waits; this runs in the loop of a worker."""
    await asyncio.to_thread(send_all)


def describe(dask_worker: Any) -> tuple[str, int, int]:
    """Host, cores of the host and GPUs of the worker in whose process this runs."""
    return socket.gethostname(), len(os.sched_getaffinity(0)), int(dask_worker.state.total_resources.get(GPU, 0))


class _Dask:
    """A cluster that this process is connected to."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def nodes(self) -> list[Node]:
        described = self._runner.client.run(describe).values()
        n_here = Counter(host for host, _, _ in described)
        return [Node(host, max(1, n_cores // n_here[host]), n_gpus, 1) for host, n_cores, n_gpus in described]

    def submit(
        self, task: Task[..., Any], parameters: dict[str, Any], parents: list[Any], *, n_cpus: int, n_gpus: int
    ) -> PrefectFuture[Any]:
        import dask

        with dask.annotate(resources={GPU: n_gpus} if n_gpus else {}):
            future: PrefectFuture[Any] = self._runner.submit(task, parameters, parents)
        return future

    def result(self, future: Any) -> State[Any]:
        state: State[Any] = future.wrapped_future.result()
        return state

    def stop(self, run: str, futures: Sequence[Any]) -> None:
        client = self._runner.client
        with suppress(Exception):  # the cluster may be gone
            client.cancel([future.wrapped_future for future in futures])
            # A task that has begun is not ended by that.
            client.run(remote.stop, run, on_error="ignore")
