"""What a dataset is to us: where it comes from, and how one of its rows becomes examples.

The datasets themselves are registry entries in the modules that ``DATASETS`` names; sampling and splits are in
``prepare``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from w2s_core.registry import Registry

RawRow = Mapping[str, Any]
"""One row of a source: the columns that the dataset asks for, with values of the types it asks for."""

Draw = Callable[[int], int]
"""``draw(n)`` is an integer in [0, n), decided by the content of the row and the data seed alone."""


class Example(NamedTuple):
    """One binary example. The model reads the passage, a line break, and the prompt."""

    passage: str
    """May be empty; a model with a short context drops its beginning."""
    prompt: str
    """Never truncated."""
    gt_label: int
    """0 or 1."""
    group: str
    """Text that related examples share; they end up in the same split."""
    candidate: str = ""
    """Tells the examples of one row apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One dataset of binary examples."""

    hub_id: str
    hub_config: str | None = None
    splits: Mapping[Literal["train", "test"], str]
    """Our split to the Hub's."""
    columns: Mapping[str, type]
    """The columns that ``format`` reads, with the Python type of their values. Together they identify a row."""
    format: Callable[[RawRow, Draw], list[Example]]
    max_chars: int
    """Limit on passage and prompt together, unless the grid sets another."""
    licence: str = "not stated"


DATASETS: Registry[Dataset] = Registry("dataset", param="dataset", modules=("w2s_core.nlp",))


def clean(text: str) -> str:
    """``text`` with every run of white space made one space: stray spaces can give a label away."""
    return " ".join(text.split())


def multiple_choice(
    question: str, right: str, wrong: Sequence[str], draw: Draw, *, passage: str = "", group: str = ""
) -> list[Example]:
    """A question as two examples of one group: its right answer, and a wrong one drawn at random.

    Args:
        question: the question; it stands in the prompt.
        right: the right answer.
        wrong: the others. Those that read like the right one are left out.
        draw: draws one of the wrong answers.
        passage: what the question is about.
        group: what related questions share; by default the question.

    Returns:
        Two examples, or none if no answer is wrong.
    """
    right = clean(right)
    others = [text for text in map(clean, wrong) if text.casefold() != right.casefold()]
    if not others:
        return []

    def example(answer: str, gt_label: int) -> Example:
        prompt = f"Q: {clean(question)}\nA: {answer}"
        return Example(passage, prompt, gt_label, group or question, candidate=answer)

    return [example(right, 1), example(others[draw(len(others))], 0)]
