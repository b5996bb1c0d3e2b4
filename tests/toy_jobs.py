"""Jobs for the tests of ``tasks.workers.pool``; a worker imports them by name."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from artifacts.errors import MissingArtifact
from artifacts.identity.keys import JSON


def add(job: dict[str, JSON]) -> JSON:
    """The sum of ``a`` and ``b``."""
    return {"sum": job["a"] + job["b"]}


def where(job: dict[str, JSON]) -> JSON:
    """The process, and the variables of its environment that are named."""
    return {"pid": os.getpid(), **{name: os.environ.get(name) for name in job.get("names", [])}}


def imported(job: dict[str, JSON]) -> JSON:
    """Which of the named modules are imported."""
    return [name for name in job["names"] if name in sys.modules]


def recorded(job: dict[str, JSON]) -> JSON:
    """Whether the source is known from which a module was loaded."""
    import w2s_core.config
    from artifacts.identity.loaded import loaded

    return w2s_core.config.__name__ in loaded("w2s_core")


def threads(job: dict[str, JSON]) -> JSON:
    """How many threads torch computes with."""
    import torch

    return torch.get_num_threads()


def talk(job: dict[str, JSON]) -> JSON:
    """Prints, reads standard input, and answers what it read."""
    print("printed by a job")
    return sys.stdin.read()


def refuse(job: dict[str, JSON]) -> JSON:
    """One of our one-line errors."""
    raise MissingArtifact("score/abc is not there")


def break_down(job: dict[str, JSON]) -> JSON:
    """A bug."""
    raise ZeroDivisionError("first line\nsecond line")


def return_object(job: dict[str, JSON]) -> JSON:
    """Something that is not JSON."""
    return object()  # type: ignore[return-value]


def die(job: dict[str, JSON]) -> JSON:
    """Ends its own process by a signal, or with an exit code."""
    if "signal" in job:
        os.kill(os.getpid(), signal.Signals[job["signal"]])
    os._exit(job["code"])


def hang(job: dict[str, JSON]) -> JSON:
    """Says who it is through the named pipe ``pid``, and computes until it is killed."""
    with Path(job["pid"]).open("w") as pipe:
        pipe.write(f"{os.getpid()}\n")
    while True:
        pass
