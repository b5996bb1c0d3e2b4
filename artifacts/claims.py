"""Claims, by which runs do not repeat each other's work; what is done is for ``store`` to say.

A claim is an ``flock``: the kernel frees it when its holder dies, so there is never one to unlock.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from artifacts import files
from artifacts.errors import ArtifactError

SUFFIX = ".lock"
FIRST_WAIT_S = 0.02
LONGEST_WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody who is making an artifact now."""

    stage: str
    key: str
    pid: int
    """Process that holds it; 0 in the moment in which it has not yet said so."""
    host: str
    since: str
    """ISO time in UTC."""
    label: str
    """What the holder calls the node."""


def claim_path(folder: Path, stage: str, key: str) -> Path:
    """The lock file of an artifact."""
    return folder / f"{stage}-{key}{SUFFIX}"


@contextmanager
def claim(folder: Path, stage: str, key: str, label: str, stop: threading.Event | None) -> Iterator[None]:
    """Hold the claim on an artifact, after whoever holds it now.

    Args:
        folder: where lock files lie; it exists.
        stage: stage of the artifact.
        key: key of the artifact.
        label: what to show to others.
        stop: give up waiting when this is set.

    Raises:
        ArtifactError: ``stop`` was set before the claim was had.
    """
    path = claim_path(folder, stage, key)
    # A blocking flock could not be stopped, and a waiter is a run that has nothing better to do.
    pause_s = FIRST_WAIT_S
    pauses = stop or threading.Event()
    while (lock := files.lock(path, wait=False)) is None:
        if pauses.wait(pause_s):
            what = label or f"{stage} {key[:12]}"
            raise ArtifactError(f"stopped while another run was making {what}")
        pause_s = min(2 * pause_s, LONGEST_WAIT_S)
    try:
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        held = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "label": label}
        lock.write(json.dumps(held))
        yield
    finally:
        lock.release(remove=True)


def running(folder: Path) -> list[Claim]:
    """The claims that are held at this moment."""
    claims = []
    for name in files.names(folder):
        if name.endswith(SUFFIX) and files.is_locked(folder / name):
            stage, _, key = name.removesuffix(SUFFIX).rpartition("-")
            claims.append(_read(folder / name, stage, key))
    return claims


def _read(path: Path, stage: str, key: str) -> Claim:
    try:
        held = json.loads(files.read_text(path))
    except (FileNotFoundError, ValueError):
        # Released, or taken and not yet written, while this looked.
        held = {"pid": 0, "host": "", "since": "", "label": ""}
    return Claim(stage, key, held["pid"], held["host"], held["since"], held["label"])
