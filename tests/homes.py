"""A home of its own for ``w2s`` as a process of its own, for tests with real servers."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from flows.run.interrupts import GRACE
from tests.harness import TINY
from tests.places import ROOT

DEADLINE_S = 600
TICK = threading.Event()
"""Never set: to wait for what another process does."""


GRACE_S = "200"
"""What ends in order has the time to do so, however busy the machine is."""

LONG = {"epochs": 400, "batch_size": 8}
"""A training of some seconds, in the middle of which a run can be killed."""


def toml(value: Any) -> str:
    """An inline TOML value."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def tiny_grid(**changes: Any) -> str:
    """The text of a small grid."""
    return "".join(f"{field} = {toml(value)}\n" for field, value in {**TINY, **changes}.items())


def is_training(home: Path) -> bool:
    """Whether some training has made a step, and has not ended."""
    for file in (home / "cache" / "progress").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(file.read_text())
            if " train_" in told["name"] and 0 < told["done"] < told["total"]:
                return True
    return False


def names(output: str, how: str) -> list[str]:
    """Names of the nodes that a run reports as ``how``."""
    return re.findall(rf"^\[\d+/\d+\] {how} (.*?)(?: [\d.]+ s)?$", output, re.MULTILINE)


@cache
def migrated() -> Path:
    """The database of a server that has run before: a server makes its own in 7 s or more."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    environ = {**os.environ, "PREFECT_HOME": str(folder)}
    upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    subprocess.run(upgrade, env=environ, check=True, capture_output=True)
    return folder / "prefect.db"


class Runs:
    """Runs of the command line in one home.

    Args:
        folder: where all of it is.
        code: folder of the code that it runs.
    """

    def __init__(self, folder: Path, code: Path = ROOT) -> None:
        self.folder = folder
        self.code = code
        self.home = folder / "home"
        (self.home / "prefect").mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (self.home / "prefect" / "prefect.db").exists():
            shutil.copy(migrated(), self.home / "prefect")

    def environ(self) -> dict[str, str]:
        """What its processes know of the environment."""
        return {GRACE: GRACE_S, **os.environ, "W2S_HOME": str(self.home)}

    def grid(self, name: str = "tiny", **changes: Any) -> str:
        """Write a small grid; returns the path of its file."""
        path = self.folder / f"{name}.toml"
        path.write_text(tiny_grid(name=name, **changes))
        return str(path)

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``w2s`` for this home in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli.main", *arguments],
            cwd=self.code,
            env=self.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run ``w2s`` to its end; exit code and output."""
        process = self.command(*arguments)
        output, _ = process.communicate(timeout=DEADLINE_S)
        assert "Traceback" not in output, output
        return process.returncode, output

    def wait_for_training(self, process: subprocess.Popen[str] | None = None) -> None:
        """Until some training, of a run that goes on, has made a step."""
        for _ in range(DEADLINE_S * 50):
            assert process is None or process.poll() is None, process.communicate()[0]
            if is_training(self.home):
                return
            TICK.wait(0.02)
        raise AssertionError("no training started")

    def executed(self) -> Counter[tuple[str, str]]:
        """How often each artifact was made, by what the workers logged."""
        made = Counter[tuple[str, str]]()
        for log in (self.home / "logs").glob("worker-*.log"):
            made.update(re.findall(r"^published (\w+) ([0-9a-f]{64})$", log.read_text(), re.MULTILINE))
        return made

    def pids(self, command: str, home: Path | None = None) -> list[int]:
        """Processes that know this home, or another, with these words in their command line."""
        return [pid for pid, line in _processes(home or self.home) if command in line]

    def kill(self, command: str, home: Path | None = None) -> None:
        """kill -9 of what has these words in its command line, which is there."""
        pids = self.pids(command, home)
        assert pids, self.processes(home)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def wait_until_gone(self) -> None:
        """Until no process knows this home: what was killed at the very end takes a moment to go."""
        for _ in range(DEADLINE_S * 10):
            if not self.processes():
                return
            TICK.wait(0.1)
        raise AssertionError(self.processes())

    def processes(self, home: Path | None = None) -> list[str]:
        """Command lines of all processes that know this home, or another."""
        return [line for _, line in _processes(home or self.home)]


def _processes(home: Path) -> Iterator[tuple[int, str]]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if str(home).encode() in path.read_bytes() and path.parent.name != str(os.getpid()):
                line = (path.parent / "cmdline").read_text().replace("\0", " ")
                yield int(path.parent.name), line
