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

from artifacts.keys import JSON
from artifacts.store import Store
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
    micro_tokens: int
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
            return "reused"
        with self.store.claim(order["stage"], order["key"], label=order["name"], stop=self.stop):
            if self._is_done(order):
                return "reused"
            job = {
                "order": dict(order),
                "store": str(self.store.root),
                "home": str(self.home),
                "device": self.device,
                "micro_tokens": self.micro_tokens,
            }
            with self.pool.worker() as worker:
                is_training = STAGES[order["stage"]].is_training
                with self.slot() if is_training else nullcontext():
                    worker.run("tasks.run_stage:run_order", job)
        return "ran"

    def _is_done(self, order: Mapping[str, JSON]) -> bool:
        manifest = self.store.get(order["stage"], order["key"])
        if manifest is None:
            return False
        evicted = any(output.evicted for output in manifest.outputs.values())
        return not (order["remake"] and evicted)
