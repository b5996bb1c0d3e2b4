"""Generated sums and differences of two digits, after some words that say nothing.

Small models learn the table of them in part, so that supervisors of one kind err at the same places.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_core.offline.rows import OFFLINE
from w2s_core.offline.world import World, below

LARGEST = 5
"""Of the two digits."""

N_WORDS = (2, 2)
"""Before the sum: they tell questions apart, of which there would be few."""


@OFFLINE.register("arithmetic")
def _arithmetic(world: World, rng: np.random.Generator) -> dict[str, Any]:
    before = world.text(world.topic(rng), N_WORDS, rng)
    first, second = below(LARGEST + 1, rng), below(LARGEST + 1, rng)
    if rng.random() < 0.5:
        return {"question": f"{before} : {first} + {second} =", "answer": str(first + second)}
    return {"question": f"{before} : {first} - {second} =", "answer": str(first - second)}
