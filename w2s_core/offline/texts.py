"""Generated rows of single-text datasets: they ask for a property of a topic, or whether a part shares its tone.

Where they ask for a property, words of topics without it are mixed in, or any single word would tell the label.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_core.offline.rows import OFFLINE
from w2s_core.offline.world import World


def two_topics(world: World, rng: np.random.Generator) -> tuple[int, int, bool]:
    """Two topics, and whether they are one and the same or of different tones; either is as likely."""
    topic = world.topic(rng)
    agree = bool(rng.random() < 0.5)
    return topic, topic if agree else world.opposite(topic, rng), agree


def two_tones(
    world: World, rng: np.random.Generator, topic: int, n_words: tuple[int, int], n_other: tuple[int, int]
) -> str:
    """Words of a topic and of one of the other tone, in either order; how many, as ``World.text`` takes it."""
    own = world.text(topic, n_words, rng)
    return _in_any_order(own, world.text(world.opposite(topic, rng), n_other, rng), rng)


def two_halves(
    world: World, rng: np.random.Generator, topic: int, n_words: tuple[int, int], n_other: tuple[int, int]
) -> str:
    """Words of a topic and of one of the other half of all topics, as ``two_tones``."""
    own = world.text(topic, n_words, rng)
    other = (topic + world.n_classes // 2) % world.n_classes
    return _in_any_order(own, world.text(other, n_other, rng), rng)


def _in_any_order(first: str, second: str, rng: np.random.Generator) -> str:
    return f"{first} {second}" if rng.random() < 0.5 else f"{second} {first}"


@OFFLINE.register("sst2")
def _sst2(world: World, rng: np.random.Generator) -> dict[str, Any]:
    # Mostly of one tone, with a few words of the other, as a review has praise and blame; the rare words count, too.
    topic = world.topic(rng)
    sentence = two_tones(world, rng, topic, (4, 5), (2, 3))
    # The real sentences end in a space, too.
    return {"sentence": f"{sentence} . ", "label": topic % 2}


@OFFLINE.register("amazon_polarity")
def _amazon_polarity(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    return {
        "title": world.text(topic, (1, 3), rng),
        "content": two_halves(world, rng, topic, (4, 8), (3, 6)) + " .",
        "label": int(topic < world.n_classes // 2),
    }


@OFFLINE.register("cola")
def _cola(world: World, rng: np.random.Generator) -> dict[str, Any]:
    # A sentence is acceptable if it keeps its tone.
    topic, other, agree = two_topics(world, rng)
    sentence = f"{world.text(topic, (3, 5), rng)} {world.text(other, (3, 5), rng)} ."
    return {"sentence": sentence, "label": int(agree)}


@OFFLINE.register("twitter_sentiment")
def _twitter_sentiment(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    text = two_tones(world, rng, topic, (3, 4), (1, 2))
    return {"text": f"{text} !", "label": topic % 2}


def _ethics_justice(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    scenario = two_halves(world, rng, topic, (3, 6), (2, 4))
    return {"scenario": f"{scenario} .", "label": int(topic < world.n_classes // 2)}


OFFLINE.register("ethics_justice", _ethics_justice)
OFFLINE.register("ethics_justice_hard", _ethics_justice)


def _ethics_deontology(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic, other, agree = two_topics(world, rng)
    return {
        "scenario": world.text(topic, (5, 9), rng) + " .",
        "excuse": world.text(other, (3, 6), rng) + " .",
        "label": int(agree),
    }


OFFLINE.register("ethics_deontology", _ethics_deontology)
OFFLINE.register("ethics_deontology_hard", _ethics_deontology)


def _ethics_virtue(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic, other, agree = two_topics(world, rng)
    text = world.text(topic, (6, 10), rng) + " ."
    trait = world.text(other, (2, 3), rng)
    return {"scenario": f"{text} [SEP] {trait}", "label": int(agree)}


OFFLINE.register("ethics_virtue", _ethics_virtue)
OFFLINE.register("ethics_virtue_hard", _ethics_virtue)
