"""Prompts in a grid: what a model is asked."""

from __future__ import annotations

from typing import Any

import pytest

from flows.plan.load import parse_grid
from flows.plan.resolve import resolve
from w2s_core.methods.prompting import PHRASES, Phrase


def asked(dataset: str, **settings: Any) -> Any:
    """The parameters of the prompts of a dataset's student."""
    methods = [{"name": "shots", "learn": {"kind": "prompt", **settings}}]
    grid = {"datasets": [dataset], "models": ["offline-s", "offline-m"], "methods": methods, "audit": False}
    nodes = resolve(parse_grid(grid, "test"), {}).graph.nodes.values()
    return next(node.params["prompt"] for node in nodes if node.stage == "prompt")


@pytest.mark.parametrize(("dataset", "phrase"), [("sciq", PHRASES["sciq"]), ("boolq", Phrase())])
def test_a_dataset_is_asked_about_in_its_own_words(dataset: str, phrase: Phrase) -> None:
    found = asked(dataset)

    assert found["cue"] == phrase.cue
    assert found["answers"] == [list(pair) for pair in phrase.answers]


def test_words_of_a_method_stand_for_those_of_the_dataset() -> None:
    found = asked("sciq", cue=" So?", answers=["wrong", "right"])

    assert found["cue"] == " So?"
    assert found["answers"] == [["wrong", "right"]]
