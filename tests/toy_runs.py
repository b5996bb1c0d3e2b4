"""Runs of a grid in which every stage makes a few bytes at once: what is tested is who runs, not what it makes."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.store.manifest import Manifest, Output
from flows.home import Home
from flows.plan.load import parse_grid
from flows.run.drain import Drain, Ended, Outcome, Submit
from flows.run.session import Session
from tests.empty_results import place

GRID = {
    "name": "toy",
    "datasets": ["sst2"],
    "models": ["offline-xs", "offline-s", "offline-m"],
    "methods": ["xent"],
    "audit": False,
}

TABLES = {
    "score": {"id": ["a", "b"], "prob": [0.2, 0.9], "gt_label": pa.array([0, 1], pa.int8())},
    "weak_labels": {"id": ["a", "b"], "weak_prob": [0.2, 0.9]},
}
"""What the results file copies; other outputs are three bytes."""

METRICS = {"n": 2, "accuracy": 1.0, "auroc": 1.0, "brier": 0.025, "ece": 0.05}


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
            if order["stage"] in TABLES:
                pq.write_table(pa.table(TABLES[order["stage"]]), file)
            else:
                file.write_bytes(b"toy")
            digest = f"{name} {order['node']} {content}"
            outputs[name] = Output(digest=digest, files={file.relative_to(draft).as_posix(): file.stat().st_size})
        known = ("key", "node", "stage", "schema", "params", "labels", "inputs", "code")
        timings = {"started": "2026-01-01T00:00:00+00:00", "seconds": 3.6}
        metrics = METRICS if order["stage"] == "score" else {}
        identity = {name: order[name] for name in known}
        session.store.publish(draft, Manifest(**identity, outputs=outputs, timings=timings, metrics=metrics))


def submitter(
    session: Session,
    executed: list[str],
    fails: Callable[[Any], bool] = lambda order: False,
    content: Callable[[Any], str] = lambda order: "",
) -> Submit:
    """Executes orders at once, and adds the names of those that it executed to ``executed``.

    So that results land fast, there are some of before.
    """
    place(session.home.results)

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

    return submit


def finished(home: Path) -> None:
    """Lay a home there whose toy grid is done and has landed; a run takes ten times as long."""
    shutil.copytree(_finished(), home, dirs_exist_ok=True)


@cache
def _finished() -> Path:
    """Made once per process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    session = open_session(folder)
    session.run(submitter(session, []), n_at_once=4)
    return folder


def drain(session: Session, **how: Any) -> tuple[Outcome, list[str]]:
    """Run the plan of a session; returns what became of it, and the names of the nodes that were executed."""
    executed: list[str] = []
    submit = submitter(session, executed, **how)
    run = Drain(session.plan, session.keys, session.store, submit, lambda event, node, seconds: None, n_at_once=4)
    return run.run(), executed
