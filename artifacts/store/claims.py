"""Claims, by which runs do not repeat each other's work; what is done is for ``store`` to say.

A claim is an ``flock``: the kernel frees it when its holder dies, so there is never one to unlock.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from artifacts import files
from artifacts.waiting import take

SUFFIX = ".lock"


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
def claim(folder: Path, stage: str, key: str, label: str, stop: threading.Event) -> Iterator[None]:
    """Hold the claim on an artifact, after whoever holds it now.

    Args:
        folder: where lock files lie; it exists.
        stage: stage of the artifact.
        key: key of the artifact.
        label: what to show to others.
        stop: give up waiting when this is set.

    Raises:
        Stopped: ``stop`` was set before the claim was had.
    """
    lock = take(claim_path(folder, stage, key), what=label or f"{stage} {key[:12]}", label=label, stop=stop)
    try:
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
