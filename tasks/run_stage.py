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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts import files
from artifacts.curves import CURVE
from artifacts.digests import ExternalDigests, digest_output
from artifacts.errors import SourceChanged
from artifacts.fingerprint import Fingerprint, Sources, changed, fingerprint
from artifacts.keys import JSON
from artifacts.loaded import loaded
from artifacts.manifest import Manifest, Output
from artifacts.store import Store, open_store
from tasks.checkpoints import DiskCheckpoints, checkpoint_folder
from tasks.isolated import Result, run_isolated
from tasks.trackers import Trackers
from w2s_core.stages import STAGES

PACKAGE = "w2s_core"
RECORDED = ("torch", "transformers", "datasets", "pyarrow", "numpy", "peft", "accelerate")
"""Libraries whose version every manifest holds."""

ROUNDING = ("micro_tokens", "gradient_checkpointing")
"""Runtime knobs on which the last bits of a training may depend."""

PROGRESS_EVERY_S = 0.5


class NodeWatch:
    """Keeps a stage's curve and checkpoints, and writes its progress where ``w2s status`` looks.

    Args:
        order: what is executed.
        home: folder of the project.
        device: ``"cpu"`` or ``"cuda"``.
        runtime: fields of a ``RuntimeConfig``.
        n_devices: how many processes train together; where there are several, no checkpoints are kept.
    """

    def __init__(
        self, order: Mapping[str, JSON], home: Path, device: str, runtime: Mapping[str, JSON], n_devices: int = 1
    ) -> None:
        self.device = device
        self.n_devices = n_devices
        self.micro_tokens: int = runtime["micro_tokens"]
        self.gradient_checkpointing: bool = runtime["gradient_checkpointing"]
        self.scratch = home / "cache" / "scratch"
        files.make_folder(self.scratch)
        self.eval_at: list[float] = runtime["eval_at"]
        self.rows: list[dict[str, float]] = []
        self._trackers = Trackers(
            runtime["trackers"], home / "logs" / "trackers", run=order["name"], device=device, say=self.say
        )
        self._about = {"node": order["node"], "key": order["key"], "name": order["name"]}
        self.checkpoints: DiskCheckpoints | None = None
        if n_devices == 1:
            self.checkpoints = DiskCheckpoints(
                checkpoint_folder(home, order["key"]),
                node=order["node"],
                runtime={name: runtime[name] for name in ROUNDING},
                device=device,
                curve=self.rows,
                say=self.say,
            )
        self._file = progress_dir(home) / f"{order['key']}.json"
        self._written = 0.0
        self._told = time.monotonic()

    def progress(self, done: int, total: int, unit: str) -> None:
        """Write how far the stage is, at a readable rate."""
        now = time.monotonic()
        if now - self._written < PROGRESS_EVERY_S and done < total:
            return
        self._written = now
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(f".{os.getpid()}")
        told = {**self._about, "done": done, "total": total, "unit": unit}
        if self.rows:
            told["loss"] = self.rows[-1].get("loss")
        temporary.write_text(json.dumps(told))
        temporary.replace(self._file)

    def curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Keep rows of the training curve, with the speed since the call before."""
        seconds = time.monotonic() - self._told
        self._told += seconds
        speeds = {
            f"{name}_per_s": sum(row[name] for row in rows) / seconds
            for name in ("examples", "tokens")
            if rows and seconds > 0 and all(name in row for row in rows)
        }
        self._trackers.log({**row, **speeds} for row in rows)
        for row in rows:
            if self.rows and self.rows[-1]["step"] == row["step"]:
                self.rows[-1].update(row)
            else:
                self.rows.append({**row, **speeds})

    def say(self, line: str) -> None:
        """Write to the worker's log."""
        print(f"{self._about['name']}: {line}", flush=True)

    @property
    def seconds_before(self) -> float:
        """What the stage took until the checkpoint that it went on from."""
        return 0.0 if self.checkpoints is None else self.checkpoints.seconds_before

    def close(self) -> None:
        """Forget the progress, and finish what is being written; the stage is over."""
        if self.checkpoints is not None:
            self.checkpoints.wait()
        self._trackers.close()
        self._file.unlink(missing_ok=True)


def progress_dir(home: Path) -> Path:
    """Where running stages write how far they are, one file each."""
    return home / "cache" / "progress"


def run_order(job: Mapping[str, JSON]) -> dict[str, JSON]:
    """Execute ``job["order"]`` and publish what it made.

    Args:
        job: ``order`` as ``flows.plan.Keys.order`` makes it, ``store`` (a URL), ``home`` (a path), ``device``,
            ``runtime`` (the fields of a ``RuntimeConfig``), and ``n_devices`` (1 if it is left out).

    Returns:
        ``{"seconds": float}``.

    Raises:
        SourceChanged: the code loaded here, or on disk when the stage ended, is not the code ordered, or an
            external input changed meanwhile; nothing is stored.
    """
    order = job["order"]
    home = Path(job["home"])
    check_code(order, loaded(PACKAGE), "loaded")
    store = open_store(job["store"], home / "cache" / "store", is_patient=True)
    n_devices = job.get("n_devices", 1)
    is_isolated = n_devices > 1 or (STAGES[order["stage"]].is_training and job["runtime"]["isolation"] == "process")
    started = datetime.datetime.now(datetime.UTC)
    clock = time.perf_counter()
    inputs = _input_paths(order, store)
    with store.draft(order["stage"], order["key"]) as draft:
        if is_isolated:
            result = run_isolated(job, inputs, draft, n_devices)
        else:
            result = run_watched(order, inputs, draft, NodeWatch(order, home, job["device"], job["runtime"]))
        _write_curve(result.curve, draft / CURVE)
        seconds = result.seconds_before + time.perf_counter() - clock
        check_code(order, Sources.on_disk(PACKAGE), "on disk")
        _check_external(order, home)
        store.publish(draft, _manifest(order, draft, result.metrics, started, seconds, job["device"], n_devices))
    files.remove(checkpoint_folder(home, order["key"]))
    print(f"published {order['stage']} {order['key']}", flush=True)  # to the worker's log
    return {"seconds": seconds}


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
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
        pq.write_table(pa.table(columns), path, compression="zstd")


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
        environment=_environment(device, n_devices),
    )


def _sizes(root: Path, path: Path) -> dict[str, int]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {file.relative_to(root).as_posix(): file.stat().st_size for file in files}


def _environment(device: str, n_devices: int) -> dict[str, JSON]:
    versions = {name: importlib.metadata.version(name) for name in RECORDED}
    return {
        "python": platform.python_version(),
        **versions,
        "host": socket.gethostname(),
        "device": device,
        "devices": n_devices,
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
    }
