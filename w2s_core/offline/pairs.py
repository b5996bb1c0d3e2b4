"""Generated rows of datasets of two texts: they ask whether both share their tone."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_core.offline.rows import OFFLINE
from w2s_core.offline.texts import two_topics
from w2s_core.offline.world import World, below


@OFFLINE.register("boolq")
def _boolq(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic, other, agree = two_topics(world, rng)
    return {
        "passage": world.text(topic, (6, 12), rng) + " .",
        "question": world.text(other, (2, 4), rng),
        "answer": agree,
    }


@OFFLINE.register("anli_r2")
def _anli(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic, other, agree = two_topics(world, rng)
    return {
        "premise": world.text(topic, (8, 12), rng) + " .",
        "hypothesis": world.text(other, (3, 6), rng) + " .",
        "label": 0 if agree else 1 + below(2, rng),
    }


@OFFLINE.register("paws")
def _paws(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic, other, agree = two_topics(world, rng)
    return {
        "sentence1": world.text(topic, (6, 9), rng) + " .",
        "sentence2": world.text(other, (6, 9), rng) + " .",
        "label": int(agree),
    }


@OFFLINE.register("wic")
def _wic(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic, other, agree = two_topics(world, rng)
    # No model knows the word, so its sense is that of the words around it. (Known ones would be few: rows about a
    # frequent one are one group, and would all be test rows.)
    word = "".join(world.text(world.topic(rng), (3, 3), rng).split())
    return {
        "word": word,
        "sentence1": f"{word} {world.text(topic, (4, 6), rng)} .",
        "sentence2": f"{word} {world.text(other, (4, 6), rng)} .",
        "label": int(agree),
    }


@OFFLINE.register("mc_taco")
def _mc_taco(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic, other, agree = two_topics(world, rng)
    return {
        "sentence": world.text(topic, (5, 8), rng) + " .",
        "question": world.text(topic, (2, 4), rng) + " ?",
        "answer": world.text(other, (1, 3), rng),
        "label": int(agree),
    }


@OFFLINE.register("multirc")
def _multirc(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic, other, agree = two_topics(world, rng)
    return {
        "paragraph": world.text(topic, (14, 24), rng) + " .",
        "question": world.text(topic, (3, 5), rng) + " ?",
        "answer": world.text(other, (2, 5), rng),
        "label": int(agree),
    }


def _ethics_utilitarianism(world: World, rng: np.random.Generator) -> dict[str, Any]:
    # One tone is the pleasant one, and the scenario with more of it the more pleasant: neither tells it alone.
    topic = world.topic(rng)
    bad, good = sorted([topic, world.opposite(topic, rng)], key=lambda k: k % 2)
    n_good = 2 + below(3, rng)  # of seven words

    def scenario(n: int) -> str:
        return f"{world.text(good, (n, n), rng)} {world.text(bad, (7 - n, 7 - n), rng)} ."

    return {"baseline": scenario(n_good + 2), "less_pleasant": scenario(n_good)}


OFFLINE.register("ethics_utilitarianism", _ethics_utilitarianism)
OFFLINE.register("ethics_utilitarianism_hard", _ethics_utilitarianism)
