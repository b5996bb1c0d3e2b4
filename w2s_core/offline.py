"""The offline counterpart of each dataset: rows of the generated world in the columns of the real one.

Single texts ask for a property of their topic; questions ask whether two texts share their tone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from w2s_core.config import WorldConfig
from w2s_core.registry import Registry
from w2s_core.world import World, build_world, stream

OFFLINE: Registry[Callable[[World, np.random.Generator], dict[str, Any]]] = Registry(
    "offline dataset", param="dataset", modules=("w2s_core.offline",)
)
"""Dataset to a function that makes one raw row."""


def raw_rows(config: WorldConfig, dataset: str, split: str, n: int) -> list[dict[str, Any]]:
    """The first ``n`` rows of a split; asking for more changes none of them."""
    world = build_world(config)
    make = OFFLINE.get(dataset)
    return [make(world, stream("row", world.seed, dataset, split, i)) for i in range(n)]


@OFFLINE.register("sst2")
def _sst2(world: World, rng: np.random.Generator) -> dict[str, Any]:
    # Mostly of one tone, with a few words of the other, as a review has praise and blame; the rare words count, too.
    topic = world.topic(rng)
    parts = [world.text(topic, (4, 5), rng), world.text(world.opposite(topic, rng), (2, 3), rng)]
    sentence = " ".join(parts if rng.random() < 0.5 else reversed(parts))
    # The real sentences end in a space, too.
    return {"sentence": f"{sentence} . ", "label": topic % 2}


@OFFLINE.register("amazon_polarity")
def _amazon_polarity(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    return {
        "title": world.text(topic, (1, 3), rng),
        "content": world.text(topic, (4, 12), rng) + " .",
        "label": int(topic < world.n_classes // 2),
    }


@OFFLINE.register("sciq")
def _sciq(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)

    def answer(about: int) -> str:
        return world.text(about, (1, 3), rng)

    return {
        "question": world.text(topic, (4, 8), rng) + " ?",
        "correct_answer": answer(topic),
        "distractor1": answer(world.opposite(topic, rng)),
        "distractor2": answer(world.opposite(topic, rng)),
        "distractor3": answer(world.opposite(topic, rng)),
    }


@OFFLINE.register("boolq")
def _boolq(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    is_true = bool(rng.random() < 0.5)
    asked = topic if is_true else world.opposite(topic, rng)
    return {
        "passage": world.text(topic, (6, 12), rng) + " .",
        "question": world.text(asked, (2, 4), rng),
        "answer": is_true,
    }
