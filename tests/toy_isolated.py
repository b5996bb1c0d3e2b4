"""Jobs for the tests of ``tasks.workers.isolated``: one training, in the worker or in processes of its own."""

from __future__ import annotations

from pathlib import Path

from artifacts.identity.fingerprint import Sources, fingerprint
from artifacts.identity.keys import JSON
from tasks import PACKAGE
from tasks.workers.entry import run_watched
from tasks.workers.isolated import run_isolated
from tasks.workers.watch import NodeWatch


def train(job: dict[str, JSON]) -> JSON:
    """What the training gave.

    Args:
        job: ``home``, ``params``, ``inputs``, ``runtime`` and ``draft`` of the training, and ``n_devices``: 0 trains in
            this process; ``code``: digest of the ordered code, if it is another than that on disk.
    """
    entry = "w2s_core.entries.train:train_gt"
    code = fingerprint(Sources.on_disk(PACKAGE), entry, job["params"])
    order = {
        "entry": entry,
        "params": job["params"],
        "node": "node",
        "key": "key",
        "name": "a training",
        "code": {"digest": job.get("code", code.digest), "parts": code.parts},
    }
    inputs, draft = {name: Path(path) for name, path in job["inputs"].items()}, Path(job["draft"])
    draft.mkdir(parents=True)
    if job["n_devices"] == 0:
        return run_watched(order, inputs, draft, NodeWatch(order, Path(job["home"]), "cpu", job["runtime"]))._asdict()
    whole = {"order": order, "home": job["home"], "device": "cpu", "runtime": job["runtime"]}
    return run_isolated(whole, inputs, draft, job["n_devices"])._asdict()
