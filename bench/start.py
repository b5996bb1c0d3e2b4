"""What a stage takes before it computes: the first one of a worker, which imports, and those that follow in it.

Each repetition is a worker's life: a new process imports what a worker does, then loads a model and tokenizes rows for
a training, twice. Run: python bench/start.py [SUBJECT]
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rounds import apart, measured, say

PARTS = ("process", "imports", "model", "tokens")
"""The interpreter, libraries and ours, ``build`` with its checks, and tokens of the rows."""

Lives = list[dict[str, float]]
"""Seconds of each part, and of the last two again as ``again: model`` and ``again: tokens``."""


def measure(subject: str, folder: Path, numbers: Iterable[int], device: str) -> Lives:
    """The start of a stage on the rows and the model of a subject, in a new folder."""
    from subjects import SUBJECTS, model_params
    from train import prepared

    spec = prepared(SUBJECTS[subject], folder, device, None)
    spec["model"] = model_params(SUBJECTS[subject], Path(spec["base"]))
    lives: Lives = []
    for _ in numbers:
        started = time.time()
        found = measured(apart("start.py", "--run", json.dumps(spec), environment={"OMP_NUM_THREADS": "1"}))
        lives.append({"process": found.pop("began") - started, **found})
        say(f"start of a stage on {subject}: {sum(lives[-1][part] for part in PARTS):.1f} s")
    return lives


def summary(subject: str, lives: Lives) -> str:
    """Medians in words."""
    parts = {name: statistics.median(life[name] for life in lives) for name in lives[0]}
    first = ", ".join(f"{name} {parts[name]:.2f}" for name in PARTS)
    later = parts["again: model"] + parts["again: tokens"]
    return f"start of a stage on {subject}: {sum(parts[p] for p in PARTS):.2f} s ({first}), of the next {later:.2f} s"


def run(spec: dict[str, Any]) -> None:
    """Live as a worker; the last line of stdout is what was measured, as JSON."""
    seconds: dict[str, float] = {"began": time.time()}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - start

    with timed("imports"):
        from artifacts.identity.loaded import record
        from tasks import PACKAGE

        record(PACKAGE)
        import tasks.workers.run_stage  # noqa: F401
        import w2s_core.entries.train  # noqa: F401
        from w2s_core.data.rows import read_rows
        from w2s_core.models.classifier import build
        from w2s_core.settings.setting import SETTINGS
    base, rows = Path(spec["base"]), Path(spec["rows"]) / "weak_train.parquet"
    with tempfile.TemporaryDirectory() as scratch:
        for again in ("", "again: "):
            with timed(f"{again}model"):
                classifier = build(spec["model"], base, 0).to(spec["device"])
            with timed(f"{again}tokens"):
                SETTINGS.get("classify").encode(read_rows(rows), classifier, Path(scratch))
    print(json.dumps(seconds))


def main() -> None:
    """Measure three lives, print."""
    subject = sys.argv[1] if len(sys.argv) > 1 else "tiny"
    with tempfile.TemporaryDirectory() as name:
        print(summary(subject, measure(subject, Path(name) / "start", range(3), "cpu")))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(json.loads(sys.argv[2]))
    else:
        main()
