"""Multiple-choice datasets; their offline counterparts are in ``offline.choices``.

All show one answer at a time, as its text and without the letters and the other answers of its question: so nothing
but its words tells a right answer from a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from w2s_core.data.datasets import DATASETS, Dataset, Draw, Example, Label, RawRow, clean, multiple_choice
from w2s_core.errors import DataError

STOCK = re.compile(
    r"(all|none) of (the above|these)( choices)?|both [a-d] and [a-d]|not enough information", re.IGNORECASE
)
"""Answers that stand under many questions and are mostly wrong. Most speak of the other answers of their question, so
that nobody can judge them alone."""


def _keyed(answers: Mapping[Any, str], key: str | int, column: str) -> tuple[str, list[str]]:
    """The right answer and the wrong ones, of answers by key.

    Args:
        answers: all answers.
        key: that of the right one.
        column: where the key was found.

    Raises:
        DataError: no answer has this key.
    """
    if key not in answers:
        raise DataError(
            f"column {column!r} must be one of {', '.join(map(repr, answers))}, but is {key!r} "
            "(a split with hidden labels cannot be used)"
        )
    return answers[key], [answer for other, answer in answers.items() if other != key]


def _ask(
    question: str, right: str, wrong: Sequence[str], draw: Draw, *, passage: str = "", group: str = ""
) -> list[Example]:
    """``multiple_choice`` without stock answers: not drawn as a wrong one, and no question where one is right.

    Their words alone would tell that they are wrong; with those questions kept and the wrong ones gone, that they are
    right.
    """
    if _is_stock(right):
        return []
    return multiple_choice(
        question, right, [answer for answer in wrong if not _is_stock(answer)], draw, passage=passage, group=group
    )


def _is_stock(answer: str) -> bool:
    return STOCK.fullmatch(clean(answer).rstrip(" .")) is not None


def _cosmos_qa(row: RawRow, draw: Draw) -> list[Example]:
    right, wrong = _keyed({i: row[f"answer{i}"] for i in range(4)}, row["label"], "label")
    return _ask(row["question"], right, wrong, draw, passage=clean(row["context"]))


DATASETS.register(
    "cosmos_qa",
    Dataset(
        hub_id="allenai/cosmos_qa",
        hub_revision="refs/convert/parquet",
        hub_aliases=("cosmos_qa",),
        splits={"train": "train", "test": "validation"},
        columns={
            "context": str,
            "question": str,
            "answer0": str,
            "answer1": str,
            "answer2": str,
            "answer3": str,
            "label": Label(is_binary=False),
        },
        format=_cosmos_qa,
        max_chars=1_000,
        licence="CC BY 4.0",
        sizes=(11_000, 2_646),
        unverified="train split; the converted branch was not tried",
    ),
)


def _dream(row: RawRow, draw: Draw) -> list[Example]:
    # The right answer is one of the choices; ``multiple_choice`` leaves it out of the wrong ones.
    dialogue = "\n".join(map(clean, row["dialogue"]))
    return _ask(row["question"], row["answer"], row["choice"], draw, passage=dialogue)


DATASETS.register(
    "dream",
    Dataset(
        hub_id="dataset-org/dream",
        hub_revision="refs/convert/parquet",
        hub_aliases=("dream",),
        splits={"train": "train", "test": "test"},
        columns={"dialogue": list[str], "question": str, "choice": list[str], "answer": str},
        format=_dream,
        max_chars=3_500,
        licence="non-commercial research",
        sizes=(6_082, 1_984),
        unverified="the converted branch was not tried",
    ),
)

MARKS = re.compile(r"\[(header|title|step|substeps)\]")
"""Marks of the parts of a how-to text, of which a made-up ending may have more or fewer than a real one."""


def _hellaswag(row: RawRow, draw: Draw) -> list[Example]:
    right, wrong = _keyed(
        {key: MARKS.sub(" ", ending) for key, ending in zip("0123", row["endings"], strict=False)},
        row["label"],
        "label",
    )
    # Not by activity: that of a how-to text is its category, and a few of them make up most of the rows.
    group = row["source_id"] or row["ctx"]
    return _ask("How does it go on?", right, wrong, draw, passage=clean(MARKS.sub(" ", row["ctx"])), group=group)


DATASETS.register(
    "hellaswag",
    Dataset(
        hub_id="Rowan/hellaswag",
        hub_aliases=("hellaswag",),
        splits={"train": "train", "test": "validation"},
        columns={"ctx": str, "endings": list[str], "source_id": str, "label": Label(is_binary=False, kind=str)},
        format=_hellaswag,
        max_chars=1_000,
        licence="MIT",
        sizes=(11_000, 5_000),
        unverified="train split; source_id and the marks of how-to texts",
    ),
)


def _openbookqa(row: RawRow, draw: Draw) -> list[Example]:
    choices = row["choices"]
    answers = dict(zip(choices["label"], choices["text"], strict=False))
    return _ask(row["question_stem"], *_keyed(answers, row["answerKey"], "answerKey"), draw)


DATASETS.register(
    "openbookqa",
    Dataset(
        hub_id="allenai/openbookqa",
        hub_config="main",
        hub_aliases=("openbookqa",),
        splits={"train": "train", "test": "test"},
        columns={"question_stem": str, "choices": {"text": list[str], "label": list[str]}, "answerKey": str},
        format=_openbookqa,
        max_chars=500,
        licence="Apache-2.0",
        sizes=(4_912, 472),
    ),
)


def _piqa(row: RawRow, draw: Draw) -> list[Example]:
    return _ask(row["goal"], *_keyed({0: row["sol1"], 1: row["sol2"]}, row["label"], "label"), draw)


DATASETS.register(
    "piqa",
    Dataset(
        hub_id="ybisk/piqa",
        hub_revision="refs/convert/parquet",
        hub_aliases=("piqa",),
        splits={"train": "train", "test": "validation"},
        columns={"goal": str, "sol1": str, "sol2": str, "label": Label(is_binary=False)},
        format=_piqa,
        max_chars=1_000,
        licence="AFL 3.0",
        sizes=(11_000, 1_832),
        unverified="the converted branch was not tried",
    ),
)


def _quail(row: RawRow, draw: Draw) -> list[Example]:
    right, wrong = _keyed(dict(enumerate(row["answers"])), row["correct_answer_id"], "correct_answer_id")
    return _ask(row["question"], right, wrong, draw, passage=clean(row["context"]))


DATASETS.register(
    "quail",
    Dataset(
        hub_id="textmachinelab/quail",
        hub_aliases=("quail",),
        splits={"train": "train", "test": "validation"},
        columns={"context": str, "question": str, "answers": list[str], "correct_answer_id": Label(is_binary=False)},
        format=_quail,
        max_chars=3_000,
        sizes=(10_226, 2_148),
        unverified="all rows; columns as on its card",
    ),
)


def _quartz(row: RawRow, draw: Draw) -> list[Example]:
    choices = row["choices"]
    answers = dict(zip(choices["label"], choices["text"], strict=False))
    right, wrong = _keyed(answers, row["answerKey"], "answerKey")
    return _ask(row["question"], right, wrong, draw, passage=clean(row["para"]))


DATASETS.register(
    "quartz",
    Dataset(
        hub_id="allenai/quartz",
        hub_aliases=("quartz",),
        splits={"train": "train", "test": "test"},
        columns={"para": str, "question": str, "choices": {"text": list[str], "label": list[str]}, "answerKey": str},
        format=_quartz,
        max_chars=1_000,
        sizes=(2_666, 764),
        unverified="all rows; columns as in its former loading script",
    ),
)


def _sciq(row: RawRow, draw: Draw) -> list[Example]:
    # Without the supporting passage, in which the right answer nearly always stands word for word. In lower case, as
    # all right answers are, but not all wrong ones.
    wrong = [row[f"distractor{i}"].lower() for i in (1, 2, 3)]
    return _ask(row["question"], row["correct_answer"].lower(), wrong, draw)


DATASETS.register(
    "sciq",
    Dataset(
        hub_id="allenai/sciq",
        hub_aliases=("sciq",),
        splits={"train": "train", "test": "test"},
        columns={
            "question": str,
            "correct_answer": str,
            "distractor1": str,
            "distractor2": str,
            "distractor3": str,
        },
        format=_sciq,
        max_chars=1_000,
        licence="CC BY-NC 3.0",
        # Of all splits pooled, 3,000 rows of them for testing.
        sizes=(10_674, 2_980),
    ),
)


def _social_iqa(row: RawRow, draw: Draw) -> list[Example]:
    # Some copies kept the line break after each label of the original file.
    answers = {"1": row["answerA"], "2": row["answerB"], "3": row["answerC"]}
    right, wrong = _keyed(answers, row["label"].strip(), "label")
    return _ask(row["question"], right, wrong, draw, passage=clean(row["context"]))


DATASETS.register(
    "social_iqa",
    Dataset(
        hub_id="allenai/social_i_qa",
        hub_revision="refs/convert/parquet",
        hub_aliases=("social_i_qa", "lighteval/siqa"),
        splits={"train": "train", "test": "validation"},
        columns={
            "context": str,
            "question": str,
            "answerA": str,
            "answerB": str,
            "answerC": str,
            "label": Label(is_binary=False, kind=str),
        },
        format=_social_iqa,
        max_chars=500,
        sizes=(11_000, 1_888),
        unverified="all rows; columns as in its former loading script; the converted branch was not tried",
    ),
)
