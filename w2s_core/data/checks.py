"""What an audit says of one thing: a number, and whether it is a fault.

What is looked at is in ``audit`` and ``leaks``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa

VERDICTS = ("ok", "warn", "fail")
"""From best to worst."""

SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("check", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("verdict", pa.string()),
        ("detail", pa.string()),
    ]
)


class Check(NamedTuple):
    """One row of the table of an audit; without a threshold and a verdict it is a plain fact."""

    split: str
    """A raw file (``train``, ``test``), an output of ``prepare``, or ``all`` for what is across them."""
    check: str
    value: float
    threshold: float | None = None
    """Where the verdict begins; for ``ok``, where it ends."""
    verdict: str | None = None
    detail: str = ""
    """What is wrong, in one sentence; empty for ``ok``."""


class Limits(NamedTuple):
    """From which value on something is suspicious, and from which it is a fault."""

    warn: float
    fail: float = math.inf


def judged(split: str, check: str, value: float, limits: Limits, detail: str) -> Check:
    """A check of a number that is better the smaller it is."""
    if value >= limits.fail:
        return Check(split, check, value, limits.fail, "fail", detail)
    if value >= limits.warn:
        return Check(split, check, value, limits.warn, "warn", detail)
    return Check(split, check, value, limits.warn, "ok")


def worst(verdicts: Iterable[str | None]) -> str:
    """The worst of some verdicts, ``ok`` if there are none."""
    return max((verdict for verdict in verdicts if verdict), key=VERDICTS.index, default="ok")


def table(checks: Iterable[Check]) -> pa.Table:
    """Checks as the table that ``SCHEMA`` describes."""
    return pa.Table.from_pylist([check._asdict() for check in checks], schema=SCHEMA)
