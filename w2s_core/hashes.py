"""Stable hashes: what orders, samples and seeds without depending on row order, process or library version."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def stable_hash(*parts: Any) -> str:
    """The first 80 bits of the SHA-256 of JSON values, which may hold bytes, as 20 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_digest)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _digest(value: Any) -> dict[str, str]:
    """What stands for bytes, which are no JSON."""
    return {"sha256": hashlib.sha256(value).hexdigest()}


def stable_int(*parts: Any) -> int:
    """An integer in [0, 2**80), uniform over what differs in ``parts``."""
    return int(stable_hash(*parts), 16)


def stable_unit(*parts: Any) -> float:
    """A number in [0, 1), uniform over what differs in ``parts``."""
    return stable_int(*parts) / 2.0**80
