"""Datasets of pairs: exact examples of made rows, and what keeps related ones together."""

from __future__ import annotations

from typing import Any

import pytest

from w2s_core.data.datasets import DATASETS, Draw, Example
from w2s_core.hashes import stable_hash

Expected = tuple[str, str, str, int, str, str]
"""Id, passage, prompt, label, group, candidate."""

KEPT = "Mia planted a fig tree. It bore fruit."
LOST = "Mia planted a fig tree. The goats ate it."

GOLDEN: dict[str, list[tuple[dict[str, Any], list[Expected]]]] = {
    "boolq": [
        (
            {"question": "is cork a bark", "answer": True, "passage": "Cork is the outer\nbark of an oak."},
            [
                (
                    "78b1b0de0a8ecb9823fc",
                    "Cork is the outer bark of an oak.",
                    "Q: is cork a bark",
                    1,
                    "Cork is the outer bark of an oak.",
                    "",
                )
            ],
        ),
        (
            {"question": "does cork sink ", "answer": False, "passage": "Cork floats."},
            [("477e9b6c66f466c73c82", "Cork floats.", "Q: does cork sink", 0, "Cork floats.", "")],
        ),
        (
            {"question": "does cork float", "answer": True, "passage": "Cork floats."},
            [("b2d6949db75a2f9bcf86", "Cork floats.", "Q: does cork float", 1, "Cork floats.", "")],
        ),
    ],
    "anli_r2": [
        (
            {
                "uid": "a",
                "premise": "The mill burnt in 1901. ",
                "hypothesis": "There was a fire.",
                "label": 0,
                "reason": "",
            },
            [
                (
                    "6068f99e734ecea71a12",
                    "The mill burnt in 1901.",
                    "There was a fire.\nDoes this follow?",
                    1,
                    "The mill burnt in 1901.",
                    "",
                )
            ],
        ),
        (
            {
                "uid": "b",
                "premise": "The mill burnt in 1901.",
                "hypothesis": "It was rebuilt.",
                "label": 1,
                "reason": "",
            },
            [
                (
                    "60548b8af33a9f356ed6",
                    "The mill burnt in 1901.",
                    "It was rebuilt.\nDoes this follow?",
                    0,
                    "The mill burnt in 1901.",
                    "",
                )
            ],
        ),
        (
            {"uid": "c", "premise": "The mill stands.", "hypothesis": "The mill  fell.", "label": 2, "reason": ""},
            [
                (
                    "86587d4fbcfb9b755438",
                    "The mill stands.",
                    "The mill fell.\nDoes this follow?",
                    0,
                    "The mill stands.",
                    "",
                )
            ],
        ),
    ],
    "paws": [
        (
            {"id": 1, "sentence1": "Rome lies south of Milan .", "sentence2": "Milan lies north of Rome .", "label": 1},
            [
                (
                    "123a22aef613f6562d99",
                    "Rome lies south of Milan .",
                    "Milan lies north of Rome .\nSame meaning?",
                    1,
                    "Rome lies south of Milan .",
                    "",
                )
            ],
        ),
        (
            {"id": 2, "sentence1": "Rome lies south of Milan .", "sentence2": "Milan lies south of Rome .", "label": 0},
            [
                (
                    "1459df4e9220c0003124",
                    "Rome lies south of Milan .",
                    "Milan lies south of Rome .\nSame meaning?",
                    0,
                    "Rome lies south of Milan .",
                    "",
                )
            ],
        ),
        (
            {"id": 3, "sentence1": "Ann beat  Bo .", "sentence2": "Bo lost to Ann .", "label": 1},
            [("2eaddfc2309cb6456767", "Ann beat Bo .", "Bo lost to Ann .\nSame meaning?", 1, "Ann beat Bo .", "")],
        ),
    ],
    "wic": [
        (
            {
                "word": "bank",
                "sentence1": "We sat on the bank.",
                "sentence2": "The bank was muddy.",
                "label": 1,
                "idx": 0,
            },
            [
                (
                    "ca9ca98df8ef51e74c39",
                    "We sat on the bank.",
                    'The bank was muddy.\nIs "bank" meant in the same sense?',
                    1,
                    "bank",
                    "",
                )
            ],
        ),
        (
            {"word": "bank", "sentence1": "We sat on the bank.", "sentence2": "The bank closed.", "label": 0, "idx": 1},
            [
                (
                    "1b275e25569bac7fb3e0",
                    "We sat on the bank.",
                    'The bank closed.\nIs "bank" meant in the same sense?',
                    0,
                    "bank",
                    "",
                )
            ],
        ),
        (
            {"word": "run", "sentence1": "They run daily. ", "sentence2": "I run at noon.", "label": 1, "idx": 2},
            [
                (
                    "e347a6da8acb7e585323",
                    "They run daily.",
                    'I run at noon.\nIs "run" meant in the same sense?',
                    1,
                    "run",
                    "",
                )
            ],
        ),
    ],
    "mc_taco": [
        (
            {
                "sentence": "Leo boiled an egg.",
                "question": "How long?",
                "answer": "six minutes",
                "label": 1,
                "category": 0,
            },
            [
                (
                    "d512cebd945010abc179",
                    "Leo boiled an egg.",
                    "Q: How long?\nA: six minutes",
                    1,
                    "Leo boiled an egg.",
                    "six minutes",
                )
            ],
        ),
        (
            {
                "sentence": "Leo boiled an egg.",
                "question": "How long?",
                "answer": "six  weeks",
                "label": 0,
                "category": 0,
            },
            [
                (
                    "63647f9a4fa993024180",
                    "Leo boiled an egg.",
                    "Q: How long?\nA: six weeks",
                    0,
                    "Leo boiled an egg.",
                    "six weeks",
                )
            ],
        ),
        (
            {"sentence": "Leo boiled an egg.", "question": "When?", "answer": "at dawn", "label": 1, "category": 3},
            [
                (
                    "1565e7d03f52bb244d8b",
                    "Leo boiled an egg.",
                    "Q: When?\nA: at dawn",
                    1,
                    "Leo boiled an egg.",
                    "at dawn",
                )
            ],
        ),
    ],
    "multirc": [
        (
            {"paragraph": "Uma sold figs. Ben paid.", "question": "Who paid?", "answer": "Ben", "label": 1},
            [
                (
                    "3419a9c3fab9c3097463",
                    "Uma sold figs. Ben paid.",
                    "Q: Who paid?\nA: Ben",
                    1,
                    "Uma sold figs. Ben paid.",
                    "Ben",
                )
            ],
        ),
        (
            {"paragraph": "Uma sold figs. Ben paid.", "question": "Who paid?", "answer": " Uma", "label": 0},
            [
                (
                    "ee1f2f886607a5c18074",
                    "Uma sold figs. Ben paid.",
                    "Q: Who paid?\nA: Uma",
                    0,
                    "Uma sold figs. Ben paid.",
                    "Uma",
                )
            ],
        ),
        (
            {"paragraph": "Uma sold figs. Ben paid.", "question": "What was  sold?", "answer": "Figs", "label": 1},
            [
                (
                    "beb04f25deecbdde438e",
                    "Uma sold figs. Ben paid.",
                    "Q: What was sold?\nA: Figs",
                    1,
                    "Uma sold figs. Ben paid.",
                    "Figs",
                )
            ],
        ),
    ],
    "ethics_utilitarianism": [
        (
            {"baseline": KEPT, "less_pleasant": LOST},
            [
                (
                    "1aeb1a59c31cf677468c",
                    f"{KEPT}\n{LOST}",
                    f"More pleasant: {KEPT}",
                    1,
                    "Mia planted a fig tree",
                    KEPT,
                ),
                (
                    "d1f65d6e36c3edc2f6a2",
                    f"{KEPT}\n{LOST}",
                    f"More pleasant: {LOST}",
                    0,
                    "Mia planted a fig tree",
                    LOST,
                ),
            ],
        ),
        (
            {"baseline": "I got a  letter ", "less_pleasant": "I got a bill"},
            [
                (
                    "e8d3063839e87e63131c",
                    "I got a letter\nI got a bill",
                    "More pleasant: I got a letter",
                    1,
                    "I got a letter",
                    "I got a letter",
                ),
                (
                    "bcdecae7ed7901059c9f",
                    "I got a letter\nI got a bill",
                    "More pleasant: I got a bill",
                    0,
                    "I got a letter",
                    "I got a bill",
                ),
            ],
        ),
        ({"baseline": "I slept.", "less_pleasant": "i slept. "}, []),
    ],
}


def first(n: int) -> int:
    return 0


def last(n: int) -> int:
    return n - 1


def examples(name: str, row: dict[str, Any], draw: Draw = first) -> list[Example]:
    return DATASETS.get(name).format(row, draw)


@pytest.mark.parametrize(
    ("name", "row", "expected"), [(name, row, expected) for name, rows in GOLDEN.items() for row, expected in rows]
)
def test_a_row_becomes_these_examples(name: str, row: dict[str, Any], expected: list[Expected]) -> None:
    content = stable_hash(name, {column: row[column] for column in DATASETS.get(name).columns})
    assert [(stable_hash(content, example.candidate), *example[:5]) for example in examples(name, row)] == expected


def test_hard_comparisons_are_read_like_the_ordinary_ones() -> None:
    ordinary, hard = DATASETS.get("ethics_utilitarianism"), DATASETS.get("ethics_utilitarianism_hard")
    assert (hard.format, hard.columns, hard.max_chars) == (ordinary.format, ordinary.columns, ordinary.max_chars)
    assert (ordinary.splits["test"], hard.splits["test"]) == ("validation", "test")


def test_a_hidden_label_stays_what_it_is() -> None:
    row = {"premise": "p", "hypothesis": "h", "label": -1}
    assert [example.gt_label for example in examples("anli_r2", row)] == [-1]


def test_a_word_in_question_is_shown() -> None:
    row = {"word": "light", "sentence1": "Lighter than air.", "sentence2": "He lit a match.", "label": 0}
    assert '"light"' in examples("wic", row)[0].prompt


def test_answers_to_other_questions_about_a_paragraph_share_its_group() -> None:
    row = {"paragraph": "Uma sold figs.", "question": "Who sold?", "answer": "Uma", "label": 1}
    other = {**row, "question": "What was sold?", "answer": "Coal", "label": 0}
    assert examples("multirc", row)[0].group == examples("multirc", other)[0].group


def test_the_order_of_two_scenarios_is_drawn() -> None:
    row = {"baseline": KEPT, "less_pleasant": LOST}
    shown = [{example.passage for example in examples("ethics_utilitarianism", row, draw)} for draw in (first, last)]
    assert shown == [{f"{KEPT}\n{LOST}"}, {f"{LOST}\n{KEPT}"}]


def test_the_order_of_two_scenarios_decides_no_label() -> None:
    row = {"baseline": KEPT, "less_pleasant": LOST}
    for draw in (first, last):
        labels = {example.candidate: example.gt_label for example in examples("ethics_utilitarianism", row, draw)}
        assert labels == {KEPT: 1, LOST: 0}


def test_rankings_of_one_beginning_share_its_group() -> None:
    worst = "Mia planted a fig tree! It fell on her."
    rows = [{"baseline": KEPT, "less_pleasant": LOST}, {"baseline": LOST, "less_pleasant": worst}]
    assert len({example.group for row in rows for example in examples("ethics_utilitarianism", row)}) == 1
