"""A job that executes an order and is killed in the middle of it; a worker imports it by name."""

from __future__ import annotations

import os
import signal

from artifacts.identity.keys import JSON
from tasks.workers import checkpoints, run_stage
from tasks.workers.run_stage import run_order
from tasks.workers.watch import NodeWatch


class Mortal(NodeWatch):
    """Counts steps, and kills its process after some number of them."""

    n_steps = 0
    die_after: int | None = None

    def progress(self, done: int, total: int, unit: str) -> None:
        """Tell as always; every step's checkpoint is written before the next, so that none is left out."""
        super().progress(done, total, unit)
        if unit == "steps":
            Mortal.n_steps += 1
            self.checkpoints.wait()
            if done == Mortal.die_after:
                os.kill(os.getpid(), signal.SIGKILL)


def run_mortal(job: dict[str, JSON]) -> JSON:
    """Execute ``job["job"]`` with a checkpoint at every step; the number of steps that were made.

    Args:
        job: ``job`` as ``run_order`` takes it, and ``die_after``: a number of steps, or None.
    """
    Mortal.n_steps, Mortal.die_after = 0, job["die_after"]
    checkpoints.EVERY_S, checkpoints.MOST_TIME = 0.0, float("inf")
    run_stage.NodeWatch = Mortal  # type: ignore[misc]
    run_order(job["job"])
    return Mortal.n_steps
