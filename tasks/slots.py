"""Device slots: a training holds one, a lock of the kernel on a file of the machine, which ends with its process.

The files lie outside any home, so that all runs of a machine share its devices. What a stage does with a device is
elsewhere; clusters of Ray and Dask deal out their devices themselves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from artifacts import files
from artifacts.errors import UsageError
from artifacts.waiting import take
from tasks.devices import Machine

VARIABLE = "W2S_SLOTS"

SHARED = ("/run/lock", "/dev/shm", "/tmp")
"""Folders that every user may write to; the first that there is has the slots."""

FOLDER = "w2s-slots"

ANYBODY = 0o1777
"""Everybody may add files, and remove their own only."""

Slots = Sequence[Sequence[str]]
"""Names of slots: a training takes one of each group."""


def slots_needed(machine: Machine, gpus: Sequence[str], n_devices: int) -> Slots:
    """Those of a training in one of the machine's workers: one of its cores' shares, or one of each of its GPUs.

    Args:
        machine: how stages run here.
        gpus: those that the worker sees, as ``CUDA_VISIBLE_DEVICES`` names them.
        n_devices: on how many it trains.
    """
    if machine.device == "cpu":
        return [[f"cpu-{n}" for n in range(machine.n_workers)]]
    n_each = -(-machine.n_workers // len(machine.gpus))
    # Everybody takes them in one order, so that nobody waits in a circle.
    names = sorted(_uuids().get(gpu, gpu) for gpu in gpus[:n_devices])
    return [[f"gpu-{name}-{n}" for n in range(n_each)] for name in names]


@contextlib.contextmanager
def holding(slots: Slots, label: str) -> Iterator[None]:
    """Hold one slot of each group, after those who have them now.

    Args:
        slots: what is needed; none, where something else deals out the devices.
        label: what they are taken for, to say to others who wait.

    Raises:
        UsageError: the folder of the slots cannot be used.
    """
    with contextlib.ExitStack() as held:
        for group in slots:
            paths = [_slot(folder(), name) for name in group]
            lock = take(*paths, what=f"a device slot ({group[0].rpartition('-')[0]})", label=label)
            # The file stays: others may have it open to wait for it.
            held.callback(lock.release, remove=False)
        yield


def folder() -> Path:
    """Where the slots of this machine are: ``W2S_SLOTS``, or a folder that all its users share.

    Raises:
        UsageError: it cannot be made, or is a link.
    """
    named = os.environ.get(VARIABLE)
    shared = (Path(place) for place in SHARED if _is_for_anybody(Path(place)))
    place = Path(named) if named else next(shared, Path("/tmp")) / FOLDER
    try:
        if not place.exists():
            place.mkdir(parents=True, exist_ok=True)
            # Past the user's umask: who comes next may be somebody else.
            place.chmod(ANYBODY)
    except OSError as error:
        reason = f"{place} cannot be made ({error.strerror})"
        raise UsageError(f"{VARIABLE}: {reason}; name a folder on this machine") from None
    # Somebody else may have put a link there, to have files written elsewhere.
    if named is None and not stat.S_ISDIR(place.lstat().st_mode):
        raise UsageError(f"{VARIABLE}: {place} is no folder; name another on this machine")
    return place


def _slot(place: Path, name: str) -> Path:
    path = place / name
    if not path.exists():
        lock = files.lock(path)
        if lock is not None:
            with contextlib.suppress(PermissionError):
                os.fchmod(lock.descriptor, 0o666)
            lock.release(remove=False)
    return path


def _is_for_anybody(place: Path) -> bool:
    return place.is_dir() and place.stat().st_mode & ANYBODY == ANYBODY


@cache
def _uuids() -> dict[str, str]:
    """Number of each GPU to its identity, which is the same in every container; empty where that cannot be asked."""
    if shutil.which("nvidia-smi") is None:
        return {}
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    return dict(line.split(", ", 1) for line in listed.stdout.splitlines() if ", " in line)
