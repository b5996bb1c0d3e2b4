"""Runs the entry of a stage in processes of its own, which a worker starts, listens to and ends.

One process, or through Accelerate's launcher one per device. The other end is ``child``; what is around an
entry (claims, checks, publishing) stays in the worker. The worker holds a pipe that all of them read from: when it is
gone, so are they.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from artifacts import files
from artifacts.errors import UsageError
from artifacts.identity.keys import JSON
from tasks.workers.entry import FAILURE, JOB, RESULT, Result
from tasks.workers.launcher import BY_SIGNAL
from tasks.workers.pool import how_it_ended
from w2s_core.errors import TrainingError


class ChildFailed(Exception):
    """An error in another process.

    Attributes:
        failure: as ``tasks.workers.worker.failure`` tells of it.
    """

    def __init__(self, failure: dict[str, JSON]) -> None:
        super().__init__(failure["message"])
        self.failure = failure


def run_isolated(job: Mapping[str, JSON], inputs: Mapping[str, Path], draft: Path, n_devices: int) -> Result:
    """Run the entry of ``job["order"]`` in ``n_devices`` new processes, which write into the folder ``draft``.

    Raises:
        ChildFailed: it raised.
        TrainingError: a process ended without a word, such as by a signal.
        UsageError: there are not as many GPUs.
    """
    environment = _environment(job["device"], n_devices)
    scratch = Path(job["home"]) / "cache" / "scratch"
    files.make_folder(scratch)
    with tempfile.TemporaryDirectory(dir=scratch) as temporary:
        folder = Path(temporary)
        about = {
            **job,
            "inputs": {name: str(path) for name, path in inputs.items()},
            "draft": str(draft),
            "n_devices": n_devices,
        }
        (folder / JOB).write_text(json.dumps(about))
        module = ["tasks.workers.child"] if n_devices == 1 else ["tasks.workers.launcher", str(n_devices)]
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", *module, temporary],
            stdin=subprocess.PIPE,  # never written to: it ends when this process does
            env=environment,
            # Ctrl-C is for those who end the worker.
            process_group=0,
        )
        try:
            code = process.wait()
        finally:
            process.kill()
            process.communicate()
        code = BY_SIGNAL - code if code > BY_SIGNAL else code
        failed = json.loads((folder / FAILURE).read_text()) if (folder / FAILURE).exists() else None
        # Where one of several is killed, others fail in its wake.
        if failed and (failed["is_expected"] or code >= 0):
            raise ChildFailed(failed)
        if code != 0:
            which = "its process" if n_devices == 1 else f"one of its {n_devices} processes"
            raise TrainingError(f"{which} {how_it_ended(code)}; see {Path(job['home']) / 'logs'}")
        return Result(**json.loads((folder / RESULT).read_text()))


def _environment(device: str, n_devices: int) -> dict[str, str]:
    """Of the new processes: as many GPUs as are asked for, and this worker's threads in as many parts."""
    # The current folder is searched only if this process searches it; that is in PYTHONPATH.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    if device == "cuda":
        _free_memory()
        gpus = [gpu for gpu in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
        if len(gpus) < n_devices:
            raise UsageError(
                f"models: {n_devices} devices are asked for, but CUDA_VISIBLE_DEVICES has {len(gpus)} here"
            )
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[:n_devices])
    threads = int(environment.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    environment["OMP_NUM_THREADS"] = str(max(1, threads // n_devices))
    return environment


def _free_memory() -> None:
    """Give back GPU memory that this process keeps for its next stage."""
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()
