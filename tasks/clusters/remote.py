"""Executes orders in a process of a cluster, where no flow is: what it needs is made there on first use, and kept.

As in the flow's own process, ``w2s_core`` runs in a worker process below, so that what was hashed is what runs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from artifacts.errors import W2sError
from artifacts.identity.keys import JSON
from artifacts.store.opening import open_store
from tasks.devices import this_machine
from tasks.runtime import RuntimeConfig
from tasks.workers.execute import Executor
from tasks.workers.pool import STOPPED, JobFailed, Pool, WorkerDied


def home_here(home: str) -> Path:
    """The project's folder on this machine: its own ``W2S_HOME``, or as where the flow runs."""
    return Path(os.environ.get("W2S_HOME") or home).absolute()


class Process:
    """What this process of a cluster keeps from one order to the next.

    It executes one at a time: a cluster whose processes have threads does not share out a machine by them.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._pool: Pool | None = None
        self._about: tuple[JSON, ...] = ()
        """What ``_pool`` was started with."""
        self._under_way: Executor | None = None
        self._run: str | None = None
        """The run that the order under way belongs to."""
        self._stopped: set[str] = set()

    def execute(self, order: Mapping[str, JSON], there: Mapping[str, JSON]) -> Literal["ran", "reused"]:
        """Make sure that the artifact of ``order`` exists.

        Args:
            order: what to execute.
            there: what ``tasks.clusters.cluster`` says of the run.

        Raises:
            JobFailed: the stage failed, or this machine has not what it needs; nothing was stored.
        """
        with self._turn:
            try:
                self._run = there["run"]
                self._under_way = self._executor(order, there)
                if self.is_stopped(there["run"]):
                    raise WorkerDied(STOPPED)
                return self._under_way.execute(order)
            except (W2sError, OSError) as error:
                kind = type(error).__name__
                raise JobFailed(f"{error}", kind=kind, traceback="", is_expected=True) from error
            finally:
                self._under_way = None

    def is_stopped(self, run: str) -> bool:
        """Whether orders of this run are refused."""
        return run in self._stopped

    def stop(self, run: str) -> None:
        """End the order under way if it is of this run, and refuse the run's others; from any thread."""
        self._stopped.add(run)
        executor = self._under_way
        if executor is not None and self._run == run:
            executor.stop.set()
            executor.pool.stop()
            self._pool = None

    def _executor(self, order: Mapping[str, JSON], there: Mapping[str, JSON]) -> Executor:
        home, threads = home_here(there["home"]), there["threads"]
        runtime = RuntimeConfig(**there["runtime"]).model_copy(update={"device": there["device"]})
        machine = this_machine(runtime, order["n_devices"])
        gpus = machine.gpus[:1]
        about = (str(home), threads, *gpus)
        # A cluster may give other GPUs to every order; what takes none runs wherever there is a worker.
        if self._pool is None or (self._about != about if gpus else self._about[:2] != about):
            if self._pool is not None:
                self._pool.stop()
            self._pool = Pool(n_workers=1, threads=threads, home=home, gpus=gpus, label=f"{os.getpid()}-")
            self._about = about
        return Executor(
            store=open_store(there["store"], home / "cache" / "store", is_patient=True),
            home=home,
            pool=self._pool,
            device=machine.device,
            runtime=there["runtime"],
        )


PROCESS = Process()
"""The one of this process."""


def stop(run: str) -> None:
    """As ``Process.stop``, for this process."""
    PROCESS.stop(run)
