"""Debaters of the generated world: informative, and not to be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_core.config import WorldConfig
from w2s_core.debate.debaters.debater import DEBATERS, Asked, Spoken
from w2s_core.debate.debaters.generated import N_PLAIN, Generated
from w2s_core.offline.world import build_world, stream
from w2s_core.watch import Silent

WORLD = WorldConfig(seed=7)


def spoken(n: int = 300, side: int | None = None, **settings: Any) -> list[tuple[Asked, Spoken]]:
    world = build_world(WORLD)
    asked = []
    for i in range(n):
        rng = stream("test", i)
        passage = world.text(2 * (i % 2), (5, 8), rng)
        asked.append(Asked(f"row-{i}", 0, (i // 2) % 2 if side is None else side, passage, "?", str, i % 2))
    params = {"debater": Generated(**settings).model_dump(), "world": WORLD.model_dump(), "seed": 1}
    said = dict(DEBATERS.get("offline").open(params, {}, Silent())(asked))
    return [(one, said[i]) for i, one in enumerate(asked)]


def cited(text: str) -> list[str]:
    return [word for word in text.split() if word.isalpha()]


def test_who_is_right_finds_more_on_the_whole_and_not_always() -> None:
    counts: dict[bool, list[int]] = {True: [], False: []}
    for asked, said in spoken():
        counts[asked.side == asked.gt_label].append(len(cited(said.text)))

    right, wrong = np.mean(counts[True]), np.mean(counts[False])
    assert right > wrong > 0
    assert max(counts[False]) > min(counts[True])


def test_words_are_plain_ones_and_marked_by_the_side() -> None:
    plain = {word for words in build_world(WORLD).words for word in words[:N_PLAIN]}
    for asked, said in spoken():
        assert set(cited(said.text)) <= plain
        assert said.text.count("!" if asked.side else ".") == 0


def test_who_is_wrong_says_of_words_what_they_do_not_mean() -> None:
    world = build_world(WORLD)
    tone = {word: topic % 2 for topic, words in enumerate(world.words) for word in words}
    # All topics of these rows are of one tone.
    tones: dict[bool, list[int]] = {True: [], False: []}
    for asked, said in spoken(strength=1.0, deceit=1.0):
        tones[asked.side == asked.gt_label] += [tone[word] for word in cited(said.text)]

    assert np.mean(tones[True]) < 0.1
    assert np.mean(tones[False]) > 0.9


def test_the_same_turn_is_said_whatever_else_is_asked() -> None:
    assert [said for _, said in spoken(20)] == [said for _, said in spoken(300)][:20]
