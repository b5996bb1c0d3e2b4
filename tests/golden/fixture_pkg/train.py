"""An entry that reaches something of everything."""

from __future__ import annotations

import math as m
from typing import TYPE_CHECKING

from . import config, syntax
from .losses import LOSSES

if TYPE_CHECKING:
    from pathlib import Path

STEP: float = 0.5


def fit(params: dict, out: Path) -> float:
    """Train."""
    settings = config.TrainConfig(**params)
    loss = LOSSES.get(params["loss"]["name"])  # the entry is in the parameters
    value: float = m.pi
    for _ in range(settings.epochs):
        value -= STEP * loss(value, 0.0)
    return getattr(syntax, "flow")([value], m.inf)  # noqa: B009


def show(params: dict, out: Path) -> None:
    """Use the whole of a module."""
    print(syntax)
