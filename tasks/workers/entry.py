"""Calls a stage's entry, in a worker or in processes of its own."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from artifacts.errors import SourceChanged
from artifacts.identity.fingerprint import Fingerprint, Sources, changed, fingerprint
from artifacts.identity.keys import JSON

if TYPE_CHECKING:  # a process of its own imports this before it records the sources of w2s_core
    from tasks.workers.watch import NodeWatch


class Result(NamedTuple):
    """What an entry gave."""

    metrics: dict[str, Any]
    curve: list[dict[str, float]]
    seconds_before: float
    """What the training took until the checkpoint that it went on from."""


def run_watched(order: Mapping[str, JSON], inputs: Mapping[str, Path], draft: Path, watch: NodeWatch) -> Result:
    """Run the entry of ``order`` in this process, and close ``watch``."""
    try:
        metrics = entry_of(order)(order["params"], inputs, draft, watch)
    finally:
        watch.close()
    return Result(metrics, watch.rows, watch.seconds_before)


def entry_of(order: Mapping[str, JSON]) -> Callable[..., dict[str, JSON]]:
    """The function that ``order`` names; see ``w2s_core.stages``."""
    module, _, function = order["entry"].partition(":")
    return getattr(importlib.import_module(module), function)


def check_code(order: Mapping[str, JSON], sources: Sources, where: str) -> None:
    """Raise ``SourceChanged`` unless ``sources`` are the code that was ordered.

    Args:
        where: what they are, for the message: ``"loaded"`` or ``"on disk"``.
    """
    found: Fingerprint = fingerprint(sources, order["entry"], order["params"])
    if found.digest != order["code"]["digest"]:
        parts = ", ".join(changed(order["code"]["parts"], found.parts)[:3])
        raise SourceChanged(
            f"{order['name']}: the code {where} is not the code that was planned ({parts}); "
            "nothing was stored, run the same command again"
        )


JOB, RESULT, FAILURE = "job.json", "result.json", "failure.json"
