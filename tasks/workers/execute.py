"""Executes one order from the process that holds the flow: claim, then a worker process, which takes a device slot.

No Prefect here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from artifacts import files
from artifacts.identity.keys import JSON
from artifacts.store.contract import Store
from tasks.slots import Slots
from tasks.workers.checkpoints import checkpoint_folder
from tasks.workers.pool import Pool


@dataclass(slots=True)
class Executor:
    """What the executions of one process share."""

    store: Store
    home: Path
    pool: Pool
    device: str
    runtime: Mapping[str, JSON]
    """The fields of a ``RuntimeConfig``."""
    slots: Callable[[Sequence[str], int], Slots] = lambda gpus, n_devices: ()
    """The device slots that a training needs in a worker that sees these GPUs, on so many devices."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set to stop waiting for claims."""

    def execute(self, order: Mapping[str, JSON]) -> Literal["ran", "reused"]:
        """Make sure that the artifact of ``order`` exists.

        Waits for another process that is making it. A claim is held before a worker asks for a device slot, so nobody
        waits while holding one.

        Raises:
            Stopped: ``stop`` was set while it waited.
            tasks.workers.pool.JobFailed: the stage failed; nothing was stored.
        """
        if self._is_done(order):
            return self._reuse(order)
        with self.store.claim(order["stage"], order["key"], label=order["name"], stop=self.stop):
            if self._is_done(order):
                return self._reuse(order)
            job = {
                "order": dict(order),
                "store": self.store.url,
                "home": str(self.home),
                "device": self.device,
                "runtime": dict(self.runtime),
                "n_devices": order["n_devices"],
            }
            with self.pool.worker() as worker:
                slots = self.slots(worker.gpus, order["n_devices"]) if order["runs"] == "training" else ()
                worker.run("tasks.workers.run_stage:run_order", {**job, "slots": slots})
        return "ran"

    def _reuse(self, order: Mapping[str, JSON]) -> Literal["reused"]:
        # Another run, perhaps of another home, has finished what was begun here.
        files.remove(checkpoint_folder(self.home, order["key"]))
        return "reused"

    def _is_done(self, order: Mapping[str, JSON]) -> bool:
        manifest = self.store.get(order["stage"], order["key"])
        if manifest is None:
            return False
        evicted = any(output.evicted for output in manifest.outputs.values())
        return not (order["remake"] and evicted)
