"""A Ray or Dask cluster, in whose processes task runs execute instead of in threads of the flow's process.

Works out what the cluster has, and asks it for the GPUs of each task run. How one is opened and spoken to is in
``on_ray`` and ``on_dask``, whose packages are optional; what a task run does there in ``remote``.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect import Task
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Failed, State

from artifacts.errors import UsageError
from artifacts.identity.keys import JSON
from artifacts.store.opening import S3
from artifacts.waiting import STOPPED
from tasks.clusters.engine import Engine, Node, Opening
from tasks.devices import MOST_CPU_WORKERS, check_runner, this_machine
from tasks.runtime import RuntimeConfig

LOOPBACK = ("://127.0.0.1", "://localhost")


class Cluster:
    """Executes the task runs of one process.

    Attributes:
        n_workers: how many at a time.
    """

    def __init__(self, engine: Engine, home: Path, store: str, runtime: RuntimeConfig, n_devices: int) -> None:
        nodes = engine.nodes()
        check_reach(nodes, store)
        check_gpus(nodes, runtime, n_devices)
        self._has_gpus = runtime.device != "cpu" and any(node.n_gpus for node in nodes)
        self._threads, self.n_workers = deal(nodes, runtime, self._has_gpus)
        self._engine = engine
        self._about: dict[str, JSON] = {
            "run": uuid4().hex,
            "home": str(home),
            "store": store,
            "runtime": runtime.model_dump(mode="json"),
            "threads": self._threads,
        }
        self._stopped = threading.Event()
        self._under_way: set[PrefectFuture[Any]] = set()

    @property
    def is_stopped(self) -> bool:
        """Whether the run is being stopped."""
        return self._stopped.is_set()

    def submit(
        self,
        task: Task[..., Any],
        order: Mapping[str, JSON],
        parents: list[PrefectFuture[Any]],
        done: Callable[[PrefectFuture[Any]], None],
    ) -> PrefectFuture[Any]:
        """Start a task run with the GPUs that its stage needs; ``done`` is called once, from a thread of its own."""
        n_gpus = gpus_needed(order) if self._has_gpus else 0
        there = {**self._about, "device": "cuda" if n_gpus else "cpu"}
        parameters = {"home": self._about["home"], "order": dict(order), "there": there}
        future = self._engine.submit(task, parameters, parents, n_cpus=self._threads, n_gpus=n_gpus)
        self._under_way.add(future)
        # Whatever a cluster calls back from must not be kept waiting.
        threading.Thread(target=done, args=(future,), daemon=True).start()
        return future

    def final_state(self, future: PrefectFuture[Any]) -> State[Any]:
        """Wait for the end of a task run."""
        try:
            return self._engine.result(future)
        except Exception as error:  # of many types: what Ray and Dask say of a process that is gone
            if self.is_stopped:
                return Cancelled(message=STOPPED)
            reason = (str(error).splitlines() or [""])[0]
            return Failed(message=f"its process in the cluster was lost ({type(error).__name__}: {reason})")
        finally:
            self._under_way.discard(future)

    def stop(self) -> None:
        """End all task runs of this process, in the middle of a stage if need be."""
        self._stopped.set()
        self._engine.stop(self._about["run"], list(self._under_way))


@contextmanager
def open_cluster(home: Path, store: str, runtime: RuntimeConfig, n_devices: int) -> Iterator[Cluster]:
    """The cluster that ``runtime`` names, or one on this machine for as long as the block lasts.

    Args:
        home: folder of the project.
        store: URL of the artifacts.
        runtime: how the grid is run.
        n_devices: on how many GPUs a model is trained at most.

    Raises:
        UsageError: it does not answer, has not what is asked for, or its machines do not reach what they need.
    """
    check_runner(runtime)
    machine = None
    if runtime.cluster is None:
        machine = this_machine(runtime, n_devices)
        runtime = runtime.model_copy(update={"threads": machine.threads})
    with _opening(runtime.runner)(runtime.cluster, machine) as engine:
        yield Cluster(engine, home, store, runtime, n_devices)


def _opening(runner: str) -> Opening:
    if runner == "ray":
        from tasks.clusters.on_ray import open_ray

        return open_ray
    from tasks.clusters.on_dask import open_dask

    return open_dask


def gpus_needed(order: Mapping[str, JSON]) -> int:
    """GPUs of a stage: those that its model is trained on, one for a model that is asked, none without a model."""
    n_gpus: int = 0 if order["runs"] == "cpu" else order["n_devices"]
    return n_gpus


def check_reach(nodes: Sequence[Node], store: str) -> None:
    """Refuse what is only on this machine, if the cluster has others.

    Raises:
        UsageError: they do not see the store, or do not reach the server.
    """
    elsewhere = sorted({node.host for node in nodes} - {socket.gethostname()})
    if not elsewhere:
        return
    machines = ", ".join(elsewhere[:3]) + (", …" if len(elsewhere) > 3 else "")
    if not store.startswith(S3):
        raise UsageError(
            f"runtime.cluster: other machines of the cluster ({machines}) do not see the store {store}; "
            "set W2S_STORE=s3://BUCKET/PREFIX"
        )
    url = os.environ.get("PREFECT_API_URL", "")
    if any(name in url for name in LOOPBACK):
        raise UsageError(
            f"runtime.cluster: other machines of the cluster ({machines}) do not reach the Prefect server {url}; "
            "set PREFECT_API_URL to one that they reach"
        )


def check_gpus(nodes: Sequence[Node], runtime: RuntimeConfig, n_devices: int) -> None:
    """Refuse GPUs that the cluster does not have: Ray and Dask would wait for them for ever.

    Raises:
        UsageError: there are none, or no node has as many as one training takes.
    """
    most = max((node.n_gpus for node in nodes), default=0)
    if runtime.device == "cuda" and not most:
        raise UsageError("runtime.device: 'cuda' is asked for, but the cluster has no GPU")
    if runtime.device != "cpu" and 0 < most < n_devices:
        raise UsageError(f"models: devices = {n_devices} is asked for, but no node of the cluster has more than {most}")


def deal(nodes: Sequence[Node], runtime: RuntimeConfig, has_gpus: bool) -> tuple[int, int]:
    """CPU threads of a stage, which every node has; and how many stages the cluster runs at a time.

    Raises:
        UsageError: there is no node.
    """
    if not nodes:
        raise UsageError("runtime.cluster: the cluster has no workers; start some")

    def shares(node: Node) -> int:
        return node.n_stages or (has_gpus and node.n_gpus) or min(node.n_cores, MOST_CPU_WORKERS)

    threads = runtime.threads or min(max(1, node.n_cores // shares(node)) for node in nodes)
    return threads, max(1, sum(node.n_stages or node.n_cores // threads for node in nodes))
