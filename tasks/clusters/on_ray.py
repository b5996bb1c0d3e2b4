"""A Ray cluster, through Prefect's task runner: every task run is a Ray task, in a process that sees its GPUs only."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture
from prefect.states import State

from artifacts.errors import UsageError
from tasks.clusters.engine import Engine, Node
from tasks.devices import Machine
from tasks.history import send_all

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    # Without it, Ray takes an address that other machines reach, whatever it is told. Read on import.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""Of a cluster on this machine, which nobody else may use; a value that the user has set stays."""

TOKEN = "RAY_AUTH_TOKEN"

CONNECT_TIMEOUT_S = 20

OBJECT_STORE_BYTES = 100 << 20
"""Task runs exchange a few hundred bytes; by default Ray would take a third of the memory."""


@contextmanager
def open_ray(address: str | None, machine: Machine | None) -> Iterator[Engine]:
    """Connect to the cluster at ``address``, or open one on this machine.

    Raises:
        UsageError: it does not answer.
    """
    if machine is not None:
        for name, value in {**SETTINGS, TOKEN: secrets.token_hex(32)}.items():
            # They stay: Ray reads them once per process.
            os.environ.setdefault(name, value)
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "namespace": "prefect"}
    folder = None
    if machine is None:
        try:
            _knock(address)
            ray.init(address, **quiet)
        except Exception as error:  # of many types: of gRPC, of Ray, of versions that do not fit
            reason = (str(error).splitlines() or [""])[0]
            raise UsageError(
                f"runtime.cluster: no Ray cluster at {address} ({type(error).__name__}: {reason})"
            ) from error
    else:
        # Short, since sockets lie in it.
        folder = tempfile.mkdtemp(prefix="w2s-ray-")
        ray.init(
            "local",
            **quiet,
            num_cpus=machine.n_workers * machine.threads,
            num_gpus=sum(len(gpus.split(",")) for gpus in machine.gpus),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
    try:
        with _runner() as runner:
            yield _Ray(runner)
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _knock(address: str | None) -> None:
    """Raise ``OSError`` if nothing listens at an address: Ray would go on trying, and fill the terminal."""
    host, colon, port = str(address).rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()


def _runner() -> Any:
    from prefect_ray import RayTaskRunner

    class Runner(RayTaskRunner[Any]):
        """Ray may end a process after any task run, without a word."""

        @staticmethod
        def _run_prefect_task(*parents: Any, **about: Any) -> Any:
            try:
                return RayTaskRunner._run_prefect_task(*parents, **about)
            finally:
                send_all()

    return Runner()


class _Ray:
    """The cluster that this process is connected to."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def nodes(self) -> list[Node]:
        import ray

        return [
            Node(node["NodeManagerHostname"], int(has["CPU"]), int(has.get("GPU", 0)), n_stages=None)
            for node in ray.nodes()
            if node["Alive"] and (has := node["Resources"]).get("CPU", 0) >= 1
        ]

    def submit(
        self, task: Task[..., Any], parameters: dict[str, Any], parents: list[Any], *, n_cpus: int, n_gpus: int
    ) -> PrefectFuture[Any]:
        from prefect_ray.context import remote_options

        # A stage that takes all memory would do so again and again.
        with remote_options(num_cpus=n_cpus, num_gpus=n_gpus, max_retries=0):
            future: PrefectFuture[Any] = self._runner.submit(task, parameters, parents)
        return future

    def result(self, future: Any) -> State[Any]:
        import ray

        state: State[Any] = ray.get(future.wrapped_future)
        return state

    def stop(self, run: str, futures: Sequence[Any]) -> None:
        import ray

        for future in futures:
            with suppress(Exception):  # it may be over, or the cluster may be gone
                ray.cancel(future.wrapped_future, force=True)
