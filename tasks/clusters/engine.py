"""What a cluster engine (Ray, Dask) offers; implementations import this, ``cluster`` chooses one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from prefect import Task
from prefect.futures import PrefectFuture
from prefect.states import State

from tasks.devices import Machine


class Node(NamedTuple):
    """A machine of a Ray cluster, or a process of a Dask cluster."""

    host: str
    n_cores: int
    n_gpus: int
    n_stages: int | None
    """How many it runs at a time; None where its cores and GPUs decide."""


class Engine(Protocol):
    """What differs between Ray and Dask."""

    def nodes(self) -> list[Node]:
        """What the cluster consists of."""

    def submit(
        self, task: Task[..., Any], parameters: dict[str, Any], parents: list[Any], *, n_cpus: int, n_gpus: int
    ) -> PrefectFuture[Any]:
        """Start a task run as soon as so much is free."""

    def result(self, future: Any) -> State[Any]:
        """Wait for the end of a task run; raises what became of its process."""

    def stop(self, run: str, futures: Sequence[Any]) -> None:
        """End the task runs of this process, some of which may be over."""


Opening = Callable[[str | None, Machine | None], AbstractContextManager[Engine]]
"""Connects to the cluster at an address, or opens one on this machine, with so many workers."""
