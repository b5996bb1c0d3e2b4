"""Contenders in turns, a process each, and what may be said of their times: ratios round by round, and their spread.

A machine changes its speed from minute to minute, so a time is compared with times of its own round alone. What is
measured is in the scripts that use this.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

MOST_SPREAD = 0.1
"""From the lowest to the highest ratio of any round, as a share of the median; above it, nothing was measured."""

LEAST_ROUNDS = 2


class Ratio(NamedTuple):
    """How many times as long another took, over some rounds."""

    median: float
    lowest: float
    highest: float
    n_rounds: int

    @classmethod
    def of(cls, ours: Sequence[float], others: Sequence[float]) -> Ratio:
        """Of seconds (per example, where work differs), of the same rounds in the same order."""
        found = [other / our for our, other in zip(ours, others, strict=True)]
        return cls(statistics.median(found), min(found), max(found), len(found))

    @property
    def spread(self) -> float:
        """From lowest to highest, as a share of the median."""
        return (self.highest - self.lowest) / self.median

    def against(self, other: str) -> str:
        """In words: the median, or that there is none."""
        if self.n_rounds < LEAST_ROUNDS:
            return f"{self.median:.2f} x {other} (one round: a hint)"
        said = f"{self.lowest:.2f} to {self.highest:.2f} in {self.n_rounds} rounds"
        if self.spread > MOST_SPREAD:
            return f"no measurement against {other} ({said}: a spread of {self.spread:.0%})"
        return f"{self.median:.2f} x {other} ({said})"


def rounds(most: int, seconds: float = float("inf")) -> Iterator[int]:
    """Numbers of rounds: ``most`` of them, or fewer where another would go over ``seconds``, but two at least."""
    start = time.monotonic()
    for n in range(most):
        used = time.monotonic() - start
        if n >= LEAST_ROUNDS and used + used / n > seconds:
            return
        yield n


def in_turn(contenders: Sequence[Any], n: int) -> Sequence[Any]:
    """The order of round ``n``: every other one goes backwards, so that nobody is always first."""
    return contenders[::-1] if n % 2 else contenders


def apart(script: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What a script of this folder prints, run in a process of its own."""
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    settings = {**os.environ, **path, **(environment or {})}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=settings).stdout


def measured(output: str) -> dict[str, Any]:
    """What such a script measured: its last line, JSON."""
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def say(line: str) -> None:
    """To stderr, at once."""
    print(line, file=sys.stderr, flush=True)
