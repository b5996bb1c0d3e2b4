"""Generated rows of dialogues with a preferred completion: it keeps to the topic, the other changes its tone."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_core.offline.rows import OFFLINE
from w2s_core.offline.world import World

N_ASKED, N_ANSWERED = (3, 6), (1, 1)
"""Words of the question and of a completion: of both completions alike, so that their length says nothing, and one, so
that a model has to know it."""


def _answered(world: World, rng: np.random.Generator) -> tuple[str, str, str]:
    topic = world.topic(rng)
    asked = world.text(topic, N_ASKED, rng)
    better, worse = (world.text(of, N_ANSWERED, rng) for of in (topic, world.opposite(topic, rng)))
    return asked, better, worse


def _hh_rlhf(world: World, rng: np.random.Generator) -> dict[str, Any]:
    asked, better, worse = _answered(world, rng)
    dialogue = f"\n\nHuman: {asked} ?\n\nAssistant:"
    return {"chosen": f"{dialogue} {better} .", "rejected": f"{dialogue} {worse} ."}


OFFLINE.register("hh_rlhf", _hh_rlhf)
OFFLINE.register("hh_helpful", _hh_rlhf)
OFFLINE.register("hh_harmless", _hh_rlhf)


@OFFLINE.register("preferences")
def _preferences(world: World, rng: np.random.Generator) -> dict[str, Any]:
    asked, better, worse = _answered(world, rng)
    return {"prompt": f"{asked} ?", "chosen": f"{better} .", "rejected": f"{worse} ."}
