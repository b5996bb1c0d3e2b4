"""What this machine has to run stages on, found without importing torch."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from typing import NamedTuple

from artifacts.errors import UsageError
from tasks.runtime import RuntimeConfig

MOST_CPU_WORKERS = 8
"""A worker that has torch loaded takes a few hundred megabytes, so more cores make threads, not workers."""


RUNNERS = {"ray": "prefect_ray", "dask": "prefect_dask"}
"""Runner of a grid to the package that it needs."""


class Machine(NamedTuple):
    """How stages run here."""

    device: str
    """``"cpu"`` or ``"cuda"``."""
    n_workers: int
    """Stages at a time; on GPUs, one per entry of ``gpus`` unless the grid says otherwise."""
    threads: int
    """CPU threads of each."""
    gpus: list[str]
    """What ``CUDA_VISIBLE_DEVICES`` may be, for a worker each; empty on a CPU."""


def check_runner(runtime: RuntimeConfig) -> None:
    """Refuse a runner whose package is not installed.

    Raises:
        UsageError: it is not.
    """
    package = RUNNERS.get(runtime.runner)
    if package is not None and importlib.util.find_spec(package) is None:
        raise UsageError(f"runtime.runner: {runtime.runner!r} needs pip install 'w2s[{runtime.runner}]'")


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    n_gpus = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return [str(number) for number in range(n_gpus)]


def this_machine(runtime: RuntimeConfig, n_devices: int = 1) -> Machine:
    """Device, workers and threads, as the grid says or as the machine has them.

    Args:
        n_devices: the most that one model is trained on; every worker gets as many GPUs.

    Raises:
        UsageError: a GPU is asked for and there is none, or several are and there are fewer.
    """
    gpus = [] if runtime.device == "cpu" else visible_gpus()
    if runtime.device == "cuda" and not gpus:
        raise UsageError("runtime.device: 'cuda' is asked for, but no NVIDIA GPU was found")
    if gpus and len(gpus) < n_devices:
        raise UsageError(f"models: devices = {n_devices} is asked for, but {len(gpus)} NVIDIA GPUs were found")
    gpus = [",".join(gpus[i : i + n_devices]) for i in range(0, len(gpus) - n_devices + 1, n_devices)]
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_workers = runtime.workers or len(gpus) or min(n_cores, MOST_CPU_WORKERS)
    threads = runtime.threads or max(1, n_cores // n_workers)
    return Machine("cuda" if gpus else "cpu", n_workers, threads, gpus)
