"""The generated world: determinism, coherence, and a vocabulary that no prompt decides."""

from __future__ import annotations

import itertools
import re

import pytest

from w2s_core.config import WorldConfig
from w2s_core.offline.rows import raw_rows
from w2s_core.offline.world import UNK, World, build_tokenizer, build_world, corpus, spelling, stream

CONFIG = WorldConfig(n_words=64, n_classes=4, seed=5)


def documents(world: World, seed: int, n: int = 20) -> list[str]:
    return list(itertools.islice(corpus(world, seed), n))


def topics_of(world: World, text: str) -> set[int]:
    return {topic for topic, words in enumerate(world.words) for word in text.split() if word in words}


def test_the_same_seed_gives_the_same_corpus() -> None:
    assert documents(build_world(CONFIG), seed=1) == documents(build_world(CONFIG), seed=1)


def test_another_seed_gives_another_corpus() -> None:
    assert documents(build_world(CONFIG), seed=1) != documents(build_world(CONFIG), seed=2)


def test_another_world_groups_the_same_words_in_another_way() -> None:
    one, other = build_world(CONFIG), build_world(CONFIG.model_copy(update={"seed": 6}))
    assert one.words != other.words
    assert sorted(itertools.chain(*one.words)) == sorted(itertools.chain(*other.words))


def test_no_two_words_are_spelled_alike() -> None:
    assert len(set(spelling(6_000))) == 6_000


def test_without_noise_a_text_has_words_of_its_topic_only() -> None:
    world = build_world(CONFIG.model_copy(update={"noise": 0.0}))
    assert topics_of(world, world.text(2, (50, 50), stream("x"))) == {2}


def test_noise_brings_in_other_topics() -> None:
    world = build_world(CONFIG.model_copy(update={"noise": 0.5}))
    assert topics_of(world, world.text(2, (200, 200), stream("x"))) == {0, 1, 2, 3}


def test_the_opposite_of_an_even_topic_is_any_odd_one() -> None:
    world, rng = build_world(CONFIG), stream("x")
    assert {world.opposite(2, rng) for _ in range(100)} == {1, 3}


def test_first_words_of_a_class_are_the_frequent_ones() -> None:
    world = build_world(CONFIG.model_copy(update={"noise": 0.0}))
    text = world.text(0, (2_000, 2_000), stream("x")).split()
    assert text.count(world.words[0][0]) > 4 * text.count(world.words[0][-1])


def test_an_answer_that_changes_the_tone_ends_in_an_exclamation_mark() -> None:
    world = build_world(CONFIG.model_copy(update={"noise": 0.0}))
    answers = re.findall(r"q : ([a-z ]+) \? a : ([a-z ]+) ([.!])", " ".join(documents(world, seed=1)))
    assert {mark for _, _, mark in answers} == {".", "!"}
    for question, answer, mark in answers:
        assert (topics_of(world, question) == topics_of(world, answer)) == (mark == ".")


def test_more_rows_change_none_of_the_first() -> None:
    assert raw_rows(CONFIG, "sciq", "train", 8)[:3] == raw_rows(CONFIG, "sciq", "train", 3)


def test_splits_have_different_rows() -> None:
    assert raw_rows(CONFIG, "sst2", "train", 3) != raw_rows(CONFIG, "sst2", "test", 3)


@pytest.mark.parametrize("text", [" ".join(spelling(64)), "Q: 12 (a, b)?"])
def test_the_tokenizer_knows_words_letters_digits_and_punctuation(text: str) -> None:
    tokenizer = build_tokenizer(build_world(CONFIG), None, 32)
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


def test_the_tokenizer_knows_no_word_of_a_prompt() -> None:
    assert build_tokenizer(build_world(CONFIG), None, 32).tokenize("Positive?") == [UNK, "?"]


def test_a_small_tokenizer_knows_the_most_frequent_words_of_each_class() -> None:
    world = build_world(CONFIG)
    tokenizer = build_tokenizer(world, 2 * world.n_classes, 32)
    for words in world.words:
        assert tokenizer.tokenize(" ".join(words[:3])) == [*words[:2], UNK]
