"""The offline counterpart of each dataset: rows of the generated world in the columns of the real one.

The generators, one for each entry of ``nlp``, are in the modules that ``OFFLINE`` names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from w2s_core.config import WorldConfig
from w2s_core.offline.world import World, build_world, stream
from w2s_core.registry import Registry

OFFLINE: Registry[Callable[[World, np.random.Generator], dict[str, Any]]] = Registry(
    "offline dataset",
    param="dataset",
    modules=(
        "w2s_core.offline.texts",
        "w2s_core.offline.pairs",
        "w2s_core.offline.choices",
        "w2s_core.offline.preferences",
        "w2s_core.offline.pictures",
        "w2s_core.offline.arithmetic",
        "w2s_core.offline.moves",
    ),
)
"""Dataset to a function that makes one raw row."""


def raw_rows(config: WorldConfig, dataset: str, split: str, n: int) -> list[dict[str, Any]]:
    """The first ``n`` rows of a split; asking for more changes none of them."""
    world = build_world(config)
    make = OFFLINE.get(dataset)
    return [make(world, stream("row", world.seed, dataset, split, i)) for i in range(n)]
