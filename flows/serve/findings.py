"""What ``w2s doctor`` says of one thing that it looked at."""

from __future__ import annotations

from typing import NamedTuple

OK, WARNING, PROBLEM = "ok", "warning", "problem"


class Finding(NamedTuple):
    """What was found of one thing."""

    check: str
    verdict: str
    """``ok``, ``warning`` (some grids will not run, or not well) or ``problem`` (none will)."""
    found: str
    advice: str | None = None


class Unwell(Exception):
    """A check ends with this finding."""

    def __init__(self, *finding: str) -> None:
        super().__init__(*finding)
        self.finding = Finding(*finding)
