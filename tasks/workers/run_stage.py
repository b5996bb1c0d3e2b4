"""Runs one ordered stage in a worker process: check the code, call the entry, digest, publish.

The only place where stages, keys and store meet. No Prefect here: ``tasks.stages`` wraps this for it.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import importlib.metadata
import os
import platform
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from artifacts import files
from artifacts.errors import SourceChanged
from artifacts.identity.digests import ExternalDigests, digest_output
from artifacts.identity.fingerprint import Sources
from artifacts.identity.keys import JSON
from artifacts.identity.loaded import loaded
from artifacts.results.curves import CURVE
from artifacts.store.contract import Store
from artifacts.store.manifest import Manifest, Output
from artifacts.store.opening import open_store
from artifacts.waiting import show_in
from tasks import PACKAGE
from tasks.slots import holding
from tasks.workers.checkpoints import checkpoint_folder
from tasks.workers.entry import check_code, run_watched
from tasks.workers.isolated import run_isolated
from tasks.workers.kept import Kept
from tasks.workers.watch import NodeWatch, write_curve

RECORDED = ("torch", "transformers", "datasets", "pyarrow", "numpy", "peft", "accelerate")
"""Libraries whose version every manifest holds."""

KEPT = Kept()
"""What the stages of this process share."""


def run_order(job: Mapping[str, JSON]) -> dict[str, JSON]:
    """Execute ``job["order"]`` and publish what it made.

    Args:
        job: ``order`` as ``flows.plan.compare.Keys.order`` makes it, ``store`` (a URL), ``home`` (a path), ``device``,
            ``runtime`` (the fields of a ``RuntimeConfig``), ``n_devices`` (1 if it is left out), and ``slots``, the
            device slots that it needs (none if they are left out).

    Returns:
        ``{"seconds": float}``.

    Raises:
        SourceChanged: the code loaded here, or on disk when the stage ended, is not the code ordered, or an
            external input changed meanwhile; nothing is stored.
    """
    order = job["order"]
    home = Path(job["home"])
    show_in(home)
    check_code(order, loaded(PACKAGE), "loaded")
    store = open_store(job["store"], home / "cache" / "store", is_patient=True)
    n_devices = job.get("n_devices", 1)
    is_isolated = n_devices > 1 or (order["runs"] == "training" and job["runtime"]["isolation"] == "process")
    inputs = _input_paths(order, store)
    with store.draft(order["stage"], order["key"]) as draft:
        with holding(job.get("slots", ()), order["name"]):
            started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
            if is_isolated:
                result = run_isolated(job, inputs, draft, n_devices)
            else:
                result = run_watched(
                    order, inputs, draft, NodeWatch(order, home, job["device"], job["runtime"], kept=KEPT)
                )
        write_curve(result.curve, draft / CURVE)
        seconds = result.seconds_before + time.perf_counter() - clock
        check_code(order, Sources.on_disk(PACKAGE), "on disk")
        _check_external(order, home)
        store.publish(draft, _manifest(order, draft, result.metrics, started, seconds, job["device"], n_devices))
    files.remove(checkpoint_folder(home, order["key"]))
    print(f"published {order['stage']} {order['key']}", flush=True)  # to the worker's log
    return {"seconds": seconds}


def _check_external(order: Mapping[str, JSON], home: Path) -> None:
    digests = ExternalDigests(home / "cache" / "digests.json")
    for name, entry in order["inputs"].items():
        if entry["path"] is not None and digests.digest(Path(entry["path"])) != entry["digest"]:
            raise SourceChanged(
                f"{order['name']}: its input {name} ({entry['path']}) changed while it was read; "
                "nothing was stored, run the same command again"
            )


def _input_paths(order: Mapping[str, JSON], store: Store) -> dict[str, Path]:
    return {
        name: Path(entry["path"])
        if entry["path"] is not None
        else store.output_path(entry["stage"], entry["key"], entry["output"])
        for name, entry in order["inputs"].items()
    }


def _manifest(
    order: Mapping[str, JSON],
    draft: Path,
    metrics: dict[str, JSON],
    started: datetime.datetime,
    seconds: float,
    device: str,
    n_devices: int,
) -> Manifest:
    outputs = {}
    for name, relative in order["outputs"].items():
        path = draft / relative
        outputs[name] = Output(digest=digest_output(path), files=_sizes(draft, path))
    side = draft / "side"
    return Manifest(
        key=order["key"],
        node=order["node"],
        stage=order["stage"],
        schema=order["schema"],
        params=order["params"],
        labels=order["labels"],
        inputs=order["inputs"],
        code=order["code"],
        outputs=outputs,
        side=_sizes(draft, side) if side.exists() else {},
        metrics=metrics,
        timings={"started": started.isoformat(timespec="seconds"), "seconds": round(seconds, 3)},
        environment=_environment(order, device, n_devices),
    )


def _sizes(root: Path, path: Path) -> dict[str, int]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {file.relative_to(root).as_posix(): file.stat().st_size for file in files}


@functools.cache
def _versions() -> Mapping[str, str]:
    """Of the libraries that decide numbers; a process keeps what it has loaded."""
    return {name: importlib.metadata.version(name) for name in RECORDED}


def _environment(order: Mapping[str, JSON], device: str, n_devices: int) -> dict[str, JSON]:
    return {
        **({"flow_run": order["flow_run"]} if "flow_run" in order else {}),
        "python": platform.python_version(),
        **_versions(),
        "host": socket.gethostname(),
        "device": device,
        "devices": n_devices,
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
    }
