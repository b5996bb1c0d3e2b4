"""What a stage's entry reports to while it runs: progress, curve, checkpoints, trackers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts import files
from artifacts.identity.keys import JSON
from tasks.workers.checkpoints import DiskCheckpoints, checkpoint_folder
from tasks.workers.kept import Kept
from tasks.workers.trackers import Trackers
from w2s_core.watch import Asking

if TYPE_CHECKING:
    from w2s_core.data.tokens import Tokens
    from w2s_core.models.classifier import Classifier

ROUNDING = ("micro_tokens", "gradient_checkpointing")
"""Runtime knobs on which the last bits of a training may depend."""


PROGRESS_EVERY_S = 1.0
"""Each takes some milliseconds of the disk, as a rename over a file does."""


class NodeWatch:
    """Keeps a stage's curve and checkpoints, and writes its progress where ``w2s status`` looks.

    Args:
        order: what is executed.
        home: folder of the project.
        device: ``"cpu"`` or ``"cuda"``.
        runtime: fields of a ``RuntimeConfig``.
        n_devices: how many processes train together; where there are several, no checkpoints are kept.
        kept: what is handed from stage to stage in this process, if it runs several.
    """

    def __init__(
        self,
        order: Mapping[str, JSON],
        home: Path,
        device: str,
        runtime: Mapping[str, JSON],
        n_devices: int = 1,
        kept: Kept | None = None,
    ) -> None:
        self._digests: dict[str, str] = {}
        self._kept = kept
        self.keeps_tokens = kept is not None
        if kept is not None:
            self._digests = {name: entry["digest"] for name, entry in order["inputs"].items()}
            kept.begin(self._digests.values())
        self.device = device
        self.n_devices = n_devices
        self.micro_tokens: int = runtime["micro_tokens"]
        self.gradient_checkpointing: bool = runtime["gradient_checkpointing"]
        self.scratch = home / "cache" / "scratch"
        files.make_folder(self.scratch)
        self.eval_at: list[float] = runtime["eval_at"]
        self.asking = Asking(runtime["requests"], runtime["request_timeout_s"], runtime["request_patience_s"])
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

    def tokens(self, key: Hashable, make: Callable[[], Tokens]) -> Tokens:
        """See ``w2s_core.watch.Watch``."""
        return make() if self._kept is None else self._kept.tokens(key, make)

    def model(self, name: str, make: Callable[[], Classifier]) -> Classifier:
        """See ``w2s_core.watch.Watch``; of an input, the digest counts."""
        return make() if self._kept is None else self._kept.model(self._digests[name], make)

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

    def secret(self, name: str) -> str | None:
        """A variable of this process' environment."""
        return os.environ.get(name) or None

    @property
    def seconds_before(self) -> float:
        """What the stage took until the checkpoint that it went on from."""
        return 0.0 if self.checkpoints is None else self.checkpoints.seconds_before

    def close(self) -> None:
        """Forget the progress, and finish what is being written; the stage is over."""
        if self.checkpoints is not None:
            self.checkpoints.wait()
        if self._kept is not None:
            self._kept.end()
        self._trackers.close()
        self._file.unlink(missing_ok=True)


def progress_dir(home: Path) -> Path:
    """Where running stages write how far they are, one file each."""
    return home / "cache" / "progress"


def write_curve(rows: list[dict[str, float]], path: Path) -> None:
    if rows:
        path.parent.mkdir()
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
        pq.write_table(pa.table(columns), path, compression="zstd")
