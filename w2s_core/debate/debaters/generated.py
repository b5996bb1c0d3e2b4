"""A debater for the generated world, who cites words of the row: a test bed, never a result about language.

It has the words of the world at hand, and knows the right answer, as a model may that is far stronger than its judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from w2s_core.config import Frozen, WorldConfig
from w2s_core.debate.debaters.debater import DEBATERS, Asked, Debater, Speak, Spoken
from w2s_core.offline.world import World, below, build_world, stream
from w2s_core.watch import Watch

N_PLAIN = 30
"""Words of a class, the most frequent first, that every model of the offline ladder knows."""


class Generated(Frozen):
    """Cites words of the row, put in plain words, as evidence for its side; offline datasets only."""

    kind: Literal["offline"] = "offline"
    n_words: int = Field(3, ge=1, le=20, description="Words that it may cite in a turn.")
    strength: float = Field(0.7, ge=0, le=1, description="How often it finds a word where its side is right.")
    deceit: float = Field(0.45, ge=0, le=1, description="How often it brings one that misleads where it is wrong.")


def opened(params: Mapping[str, Any], inputs: Mapping[str, Path], watch: Watch) -> Speak:
    """See ``Generated``; of ``params`` it takes ``debater``, ``world`` and ``seed``."""
    world = build_world(WorldConfig(**params["world"]))
    topics = {word: topic for topic, words in enumerate(world.words) for word in words}
    settings, seed = params["debater"], params["seed"]

    def speak(asked: Sequence[Asked]) -> Iterator[tuple[int, Spoken]]:
        for place, one in enumerate(asked):
            rng = stream("turn", seed, one.id, one.turn)
            cited = _cited(world, topics, one, settings, rng)
            # As its corpus does where texts agree, and where they do not.
            mark = ".!"[1 - one.side]
            text = " ".join(f"{word} {mark}" for word in cited) or "-"
            yield place, Spoken(text, False, 2 * len(cited), 0)

    return speak


def _cited(
    world: World, topics: Mapping[str, int], asked: Asked, settings: Mapping[str, Any], rng: np.random.Generator
) -> list[str]:
    """Evidence for a side: what is usual in the row speaks for the truth, what is unusual against it."""
    usual: list[int] = []
    unusual: list[int] = []
    for part in (asked.passage, asked.question):
        found = [topics[word] for word in re.findall("[a-z]+", part) if word in topics]
        tone = sum(topic % 2 for topic in found) * 2 >= len(found)
        for topic in found:
            (usual if topic % 2 == tone else unusual).append(topic)
    is_right = asked.side == asked.gt_label
    cited = []
    for _ in range(settings["n_words"]):
        draws = rng.random(3)
        if draws[0] >= settings["strength" if is_right else "deceit"] or not usual:
            continue
        evidence = usual if is_right else unusual
        if evidence:
            topic = evidence[int(draws[1] * len(evidence))]
        else:
            # Nothing speaks for a wrong side: a usual word is said to mean what it does not.
            topic = world.opposite(usual[int(draws[1] * len(usual))], rng)
        cited.append(world.words[topic][below(min(N_PLAIN, len(world.words[topic])), rng)])
    return cited


DEBATERS.register("offline", Debater(opened, Generated, needs=("world",)))
