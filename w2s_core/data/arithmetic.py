"""Questions whose answer is a number; the offline counterpart, sums and differences, is ``offline.arithmetic``."""

from __future__ import annotations

import re

from w2s_core.data.datasets import DATASETS, Dataset, Draw, RawRow, TextExample
from w2s_core.data.forms import FORMS, AnswerForm

FINAL = "####"
"""What stands between a worked solution and the number that it comes to, in GSM8K."""


def number(text: str, about: str) -> str:
    """The first whole number of a text, without leading zeros and the commas of thousands.

    Spaces count for nothing: some tokenizers put one between digits.
    """
    found = re.search(r"-?\d+", "".join(text.split()).replace(",", ""))
    return str(int(found[0])) if found and len(found[0]) <= 100 else text.strip()


FORMS.register("number", AnswerForm(normal=number))


def _arithmetic(row: RawRow, draw: Draw) -> list[TextExample]:
    question = row["question"].strip()
    answer = row["answer"].rpartition(FINAL)[2].strip()
    return [TextExample(question, answer, group=question)] if question and answer else []


DATASETS.register(
    "arithmetic",
    Dataset(
        hub_id="openai/gsm8k",
        hub_config="main",
        splits={"train": "train", "test": "test"},
        setting="move",
        form="number",
        columns={"question": str, "answer": str},
        format=_arithmetic,
        max_chars=1_500,
        licence="MIT",
        unverified="the rows on the Hub; any files of such columns can be put in the folder",
    ),
)
