"""Executes one order from the process that holds the flow: claim, device slot, worker process.

No Prefect here but for the device slot, which the caller passes in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from artifacts import files
from artifacts.keys import JSON
from artifacts.store import Store
from tasks.checkpoints import checkpoint_folder
from tasks.pool import Pool
from w2s_core.stages import STAGES

Slot = Callable[[], AbstractContextManager[None]]
"""Takes one of the machine's device slots for as long as a training lasts."""


@dataclass(slots=True)
class Executor:
    """What the executions of one process share."""

    store: Store
    home: Path
    pool: Pool
    device: str
    runtime: Mapping[str, JSON]
    """The fields of a ``RuntimeConfig``."""
    devices: Mapping[str, int] = field(default_factory=dict)
    """On how many devices a model is trained, by its name; on one, where it is not named."""
    slot: Slot = nullcontext
    stop: threading.Event = field(default_factory=threading.Event)
    """Set to stop waiting for claims."""

    def execute(self, order: Mapping[str, JSON]) -> Literal["ran", "reused"]:
        """Make sure that the artifact of ``order`` exists.

        Waits for another process that is making it. A claim is held, and a worker is there, before a device slot
        is asked for, so nobody waits while holding one.

        Raises:
            tasks.pool.JobFailed: the stage failed; nothing was stored.
        """
        if self._is_done(order):
            return self._reuse(order)
        with self.store.claim(order["stage"], order["key"], label=order["name"], stop=self.stop):
            if self._is_done(order):
                return self._reuse(order)
            stage = STAGES[order["stage"]]
            job = {
                "order": dict(order),
                "store": self.store.url,
                "home": str(self.home),
                "device": self.device,
                "runtime": dict(self.runtime),
                "n_devices": self.devices.get(order["labels"]["model"], 1) if stage.has_devices else 1,
            }
            with self.pool.worker() as worker, self.slot() if stage.is_training else nullcontext():
                worker.run("tasks.run_stage:run_order", job)
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
