"""The callback that every stage receives; what it does with what it is told is no part of a stage.

Progress, curves and (later) checkpoints go through it, so that changing how they are shown or kept changes no key. It
also carries the runtime knobs, which change no result beyond rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class Watch(Protocol):
    """What a running stage tells, and where and in what portions it runs."""

    device: str
    """``"cpu"`` or ``"cuda"``."""
    micro_tokens: int
    """Padded tokens per forward pass."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """``done`` of ``total`` ``unit`` (``"steps"``, ``"rows"``) are finished."""

    def curve(self, row: Mapping[str, float]) -> None:
        """One row of the training curve, such as ``{"step": 3, "loss": 0.61, "lr": 1e-4}``."""


@dataclass
class Silent:
    """A watch that ignores what it is told."""

    device: str = "cpu"
    micro_tokens: int = 16_384

    def progress(self, done: int, total: int, unit: str) -> None:
        """Ignored."""

    def curve(self, row: Mapping[str, float]) -> None:
        """Ignored."""
