"""Runs of a grid in which every stage makes a few bytes at once: what is tested is who runs, not what it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from artifacts.manifest import Manifest, Output
from flows.drain import Drain, Ended, Outcome
from flows.home import Home
from flows.load import parse_grid
from flows.run import Session

GRID = {"name": "toy", "datasets": ["sst2"], "models": ["offline-xs", "offline-s", "offline-m"], "methods": ["xent"]}


def open_session(home: Path, **changes: Any) -> Session:
    """The toy grid, planned against the store of ``home``."""
    return Session.open(parse_grid({**GRID, **changes}, "toy"), Home(home))


def make(session: Session, order: Any, content: str = "") -> None:
    """Publish what a stage might have made; ``content`` decides the digests of its outputs, with the node id."""
    with session.store.draft(order["stage"], order["key"]) as draft:
        outputs = {}
        for name, path in order["outputs"].items():
            file = draft / path if path.endswith(".parquet") else draft / path / "model.safetensors"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"toy")
            digest = f"{name} {order['node']} {content}"
            outputs[name] = Output(digest=digest, files={file.relative_to(draft).as_posix(): 3})
        known = ("key", "node", "stage", "schema", "params", "labels", "inputs", "code")
        timings = {"started": "2026-01-01T00:00:00+00:00", "seconds": 3.6}
        session.store.publish(
            draft, Manifest(**{name: order[name] for name in known}, outputs=outputs, timings=timings)
        )


def drain(
    session: Session,
    *,
    fails: Callable[[Any], bool] = lambda order: False,
    content: Callable[[Any], str] = lambda order: "",
    n_at_once: int = 4,
) -> tuple[Outcome, list[str]]:
    """Run the plan of a session; returns what became of it, and the names of the nodes that were executed."""
    executed: list[str] = []

    def submit(order: Any, ended: Callable[[Ended], None]) -> None:
        if fails(order):
            ended(Ended(order, "failed", "it broke"))
            return
        if session.store.get(order["stage"], order["key"]) is not None and not order["remake"]:
            ended(Ended(order, "reused"))
            return
        make(session, order, content(order))
        executed.append(order["name"])
        ended(Ended(order, "ran"))

    run = Drain(session.plan, session.keys, session.store, submit, lambda event, node, seconds: None, n_at_once)
    return run.run(), executed
