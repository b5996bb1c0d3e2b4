"""Generated rows of multiple-choice datasets: the right answer shares the tone of the question."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_core.offline.rows import OFFLINE
from w2s_core.offline.world import World, below


def _answers(
    world: World, topic: int, n: int, n_words: tuple[int, int], rng: np.random.Generator
) -> tuple[list[str], int]:
    """``n`` answers to a question about a topic, and the place of the only one that is of its tone."""
    right = below(n, rng)
    about = [topic if i == right else world.opposite(topic, rng) for i in range(n)]
    return [world.text(k, n_words, rng) for k in about], right


@OFFLINE.register("cosmos_qa")
def _cosmos_qa(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    answers, right = _answers(world, topic, 4, (3, 5), rng)
    return {
        "context": world.text(topic, (8, 14), rng) + " .",
        "question": world.text(topic, (2, 4), rng) + " ?",
        **{f"answer{i}": answer for i, answer in enumerate(answers)},
        "label": right,
    }


@OFFLINE.register("dream")
def _dream(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    answers, right = _answers(world, topic, 3, (2, 4), rng)
    return {
        "dialogue": [f"{'WM'[i % 2]}: {world.text(topic, (3, 5), rng)} ." for i in range(2 + below(2, rng))],
        "question": world.text(topic, (2, 3), rng) + " ?",
        "choice": answers,
        "answer": answers[right],
    }


@OFFLINE.register("hellaswag")
def _hellaswag(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    endings, right = _answers(world, topic, 4, (4, 7), rng)
    return {
        "ctx": world.text(topic, (6, 12), rng),
        "endings": endings,
        "source_id": f"world~{below(10**9, rng)}",
        "label": str(right),
    }


@OFFLINE.register("openbookqa")
def _openbookqa(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    answers, right = _answers(world, topic, 4, (1, 4), rng)
    return {
        "question_stem": world.text(topic, (4, 7), rng),
        "choices": {"text": answers, "label": list("ABCD")},
        "answerKey": "ABCD"[right],
    }


@OFFLINE.register("piqa")
def _piqa(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    (sol1, sol2), right = _answers(world, topic, 2, (4, 8), rng)
    return {"goal": world.text(topic, (3, 6), rng), "sol1": sol1, "sol2": sol2, "label": right}


@OFFLINE.register("quail")
def _quail(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    answers, right = _answers(world, topic, 4, (2, 5), rng)
    return {
        "context": world.text(topic, (16, 28), rng) + " .",
        "question": world.text(topic, (3, 5), rng) + " ?",
        "answers": answers,
        "correct_answer_id": right,
    }


@OFFLINE.register("quartz")
def _quartz(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    answers, right = _answers(world, topic, 2, (1, 2), rng)
    return {
        "para": world.text(topic, (5, 9), rng) + " .",
        "question": world.text(topic, (3, 5), rng) + " ?",
        "choices": {"text": answers, "label": list("AB")},
        "answerKey": "AB"[right],
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


@OFFLINE.register("social_iqa")
def _social_iqa(world: World, rng: np.random.Generator) -> dict[str, Any]:
    topic = world.topic(rng)
    answers, right = _answers(world, topic, 3, (2, 4), rng)
    return {
        "context": world.text(topic, (5, 9), rng) + " .",
        "question": world.text(topic, (2, 3), rng) + " ?",
        **{f"answer{letter}": answer for letter, answer in zip("ABC", answers, strict=True)},
        "label": "123"[right],
    }
