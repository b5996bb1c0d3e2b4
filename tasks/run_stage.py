"""Runs one ordered stage in a worker process: check the code, call the entry, digest, publish.

The only place where stages, keys and store meet. No Prefect here: ``tasks.stages`` wraps this for it.
"""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.digests import ExternalDigests, digest_output
from artifacts.errors import SourceChanged
from artifacts.fingerprint import Fingerprint, Sources, changed, fingerprint
from artifacts.keys import JSON
from artifacts.loaded import loaded
from artifacts.manifest import Manifest, Output
from artifacts.store import Store

PACKAGE = "w2s_core"
CURVE_FILE = "side/curve.parquet"
RECORDED = ("torch", "transformers", "datasets", "pyarrow", "numpy", "peft", "accelerate")
"""Libraries whose version every manifest holds."""

PROGRESS_EVERY_S = 0.5


class NodeWatch:
    """Keeps a stage's curve for its artifact, and writes its progress where ``w2s status`` looks."""

    def __init__(self, order: Mapping[str, JSON], home: Path, device: str, micro_tokens: int) -> None:
        self.device = device
        self.micro_tokens = micro_tokens
        self.rows: list[dict[str, float]] = []
        self._about = {"node": order["node"], "key": order["key"], "name": order["name"]}
        self._file = progress_dir(home) / f"{order['key']}.json"
        self._written = 0.0

    def progress(self, done: int, total: int, unit: str) -> None:
        """Write how far the stage is, at a readable rate."""
        now = time.monotonic()
        if now - self._written < PROGRESS_EVERY_S and done < total:
            return
        self._written = now
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({**self._about, "done": done, "total": total, "unit": unit}))
        temporary.replace(self._file)

    def curve(self, row: Mapping[str, float]) -> None:
        """Keep one row of the training curve."""
        self.rows.append(dict(row))

    def close(self) -> None:
        """Forget the progress; the stage is over."""
        self._file.unlink(missing_ok=True)


def progress_dir(home: Path) -> Path:
    """Where running stages write how far they are, one file each."""
    return home / "cache" / "progress"


def run_order(job: Mapping[str, JSON]) -> dict[str, JSON]:
    """Execute ``job["order"]`` and publish what it made.

    Args:
        job: ``order`` as ``flows.plan.Keys.order`` makes it, ``store`` and ``home`` (paths), ``device`` and
            ``micro_tokens``.

    Returns:
        ``{"seconds": float}``.

    Raises:
        SourceChanged: the code loaded here, or on disk when the stage ended, is not the code ordered, or an
            external input changed meanwhile; nothing is stored.
    """
    order = job["order"]
    home = Path(job["home"])
    _check_code(order, loaded(PACKAGE), "loaded")
    store = Store(Path(job["store"]))
    watch = NodeWatch(order, home, job["device"], job["micro_tokens"])
    started = datetime.datetime.now(datetime.UTC)
    clock = time.perf_counter()
    module, _, function = order["entry"].partition(":")
    entry = getattr(importlib.import_module(module), function)
    with store.draft(order["stage"], order["key"]) as draft:
        try:
            metrics = entry(order["params"], _input_paths(order, store), draft, watch)
        finally:
            watch.close()
        _write_curve(watch.rows, draft / CURVE_FILE)
        seconds = time.perf_counter() - clock
        _check_code(order, Sources.on_disk(PACKAGE), "on disk")
        _check_external(order, home)
        store.publish(draft, _manifest(order, draft, metrics, started, seconds, job["device"]))
    print(f"published {order['stage']} {order['key']}", flush=True)  # to the worker's log
    return {"seconds": seconds}


def _check_code(order: Mapping[str, JSON], sources: Sources, where: str) -> None:
    found: Fingerprint = fingerprint(sources, order["entry"], order["params"])
    if found.digest != order["code"]["digest"]:
        parts = ", ".join(changed(order["code"]["parts"], found.parts)[:3])
        raise SourceChanged(
            f"{order['name']}: the code {where} is not the code that was planned ({parts}); "
            "nothing was stored, run the same command again"
        )


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


def _write_curve(rows: list[dict[str, float]], path: Path) -> None:
    if rows:
        path.parent.mkdir()
        pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")


def _manifest(
    order: Mapping[str, JSON],
    draft: Path,
    metrics: dict[str, JSON],
    started: datetime.datetime,
    seconds: float,
    device: str,
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
        environment=_environment(device),
    )


def _sizes(root: Path, path: Path) -> dict[str, int]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {file.relative_to(root).as_posix(): file.stat().st_size for file in files}


def _environment(device: str) -> dict[str, JSON]:
    versions = {name: importlib.metadata.version(name) for name in RECORDED}
    return {
        "python": platform.python_version(),
        **versions,
        "host": socket.gethostname(),
        "device": device,
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
    }
