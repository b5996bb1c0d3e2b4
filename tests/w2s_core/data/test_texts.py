"""Single-text datasets: exact examples of made rows, and what keeps related ones together."""

from __future__ import annotations

from typing import Any

import pytest

from w2s_core.data.datasets import DATASETS, Example
from w2s_core.errors import DataError
from w2s_core.hashes import stable_hash

Expected = tuple[str, str, str, int, str, str]
"""Id, passage, prompt, label, group, candidate."""

GOLDEN: dict[str, list[tuple[dict[str, Any], Expected]]] = {
    "sst2": [
        (
            {"sentence": "a slow , tender wonder ", "label": 1, "idx": 7},
            ("febda7ce166679bd2549", "a slow , tender wonder", "Positive?", 1, "a slow , tender wonder", ""),
        ),
        (
            {"sentence": "two hours of  padding ", "label": 0, "idx": 8},
            ("f58998fa381c70f39bbb", "two hours of padding", "Positive?", 0, "two hours of padding", ""),
        ),
        (
            {"sentence": "hollow", "label": 0, "idx": 9},
            ("4e37d18167108c34f9b4", "hollow", "Positive?", 0, "hollow", ""),
        ),
    ],
    "amazon_polarity": [
        (
            {"title": "Sturdy kettle", "content": "Boils fast.\nStill going after a year.", "label": 1},
            (
                "2400565cb3e1646d5207",
                "Sturdy kettle\nBoils fast. Still going after a year.",
                "Positive?",
                1,
                "Sturdy kettle\nBoils fast. Still going after a year.",
                "",
            ),
        ),
        (
            {"title": " Leaks ", "content": "Sent it back.", "label": 0},
            ("51adaead9c5535e12083", "Leaks\nSent it back.", "Positive?", 0, "Leaks\nSent it back.", ""),
        ),
        (
            {"title": "Fine", "content": "Does its job.", "label": 1},
            ("701088bc6b68fe875f23", "Fine\nDoes its job.", "Positive?", 1, "Fine\nDoes its job.", ""),
        ),
    ],
    "cola": [
        (
            {"sentence": "Whom did the gardener thank?", "label": 1, "idx": 0},
            (
                "5241330a1d55d69fbc2e",
                "Whom did the gardener thank?",
                "Grammatical?",
                1,
                "Whom did the gardener thank?",
                "",
            ),
        ),
        (
            {"sentence": "The gardener whom thanked.", "label": 0, "idx": 1},
            ("4cec9f69439af54f5a9a", "The gardener whom thanked.", "Grammatical?", 0, "The gardener whom thanked.", ""),
        ),
        (
            {"sentence": " Rain fell.", "label": 1, "idx": 2},
            ("fc075706a5258ee2ec17", "Rain fell.", "Grammatical?", 1, "Rain fell.", ""),
        ),
    ],
    "twitter_sentiment": [
        (
            {"text": "first swim of the year!!  so cold, so good ", "label": 1},
            (
                "e3e206bac496a4b26688",
                "first swim of the year!! so cold, so good",
                "Positive?",
                1,
                "first swim of the year!! so cold, so good",
                "",
            ),
        ),
        (
            {"text": "@nobody my bus left without me", "label": 0},
            (
                "970254378cbd3707406f",
                "@nobody my bus left without me",
                "Positive?",
                0,
                "@nobody my bus left without me",
                "",
            ),
        ),
        ({"text": "ugh ", "label": 0}, ("f395df5faf13e458e793", "ugh", "Positive?", 0, "ugh", "")),
    ],
    "ethics_justice": [
        (
            {"scenario": "I usually walk Ann's dog, but I didn't today because  she sold him.", "label": 1},
            (
                "35dc8d2b22024865b360",
                "I usually walk Ann's dog, but I didn't today because she sold him.",
                "Is that fair?",
                1,
                "I usually walk Ann's dog, but I didn't today",
                "",
            ),
        ),
        (
            {"scenario": "I deserve a raise because I like cake. ", "label": 0},
            (
                "e866394392dd4d749f78",
                "I deserve a raise because I like cake.",
                "Is that fair?",
                0,
                "I deserve a raise",
                "",
            ),
        ),
        (
            {"scenario": "I am justified in expecting my tailor to hem trousers when I pay.", "label": 1},
            (
                "f619d09d777386c9708a",
                "I am justified in expecting my tailor to hem trousers when I pay.",
                "Is that fair?",
                1,
                "I am justified in expecting my tailor to hem",
                "",
            ),
        ),
    ],
    "ethics_deontology": [
        (
            {"scenario": "Shouldn't you feed the cat?", "excuse": "No because she has just been fed. ", "label": 1},
            (
                "64784ebcc1c1feed8894",
                "Shouldn't you feed the cat?",
                "No because she has just been fed.\nReasonable?",
                1,
                "Shouldn't you feed the cat?",
                "No because she has just been fed.",
            ),
        ),
        (
            {"scenario": "Shouldn't you feed the cat?", "excuse": "No, because I dislike Mondays.", "label": 0},
            (
                "e4f43ed92f92308bdd85",
                "Shouldn't you feed the cat?",
                "No because I dislike Mondays.\nReasonable?",
                0,
                "Shouldn't you feed the cat?",
                "No because I dislike Mondays.",
            ),
        ),
        (
            {"scenario": "I am the ferryman. ", "excuse": "So I should check the ropes.", "label": 1},
            (
                "979c66165fee565018c9",
                "I am the ferryman.",
                "So I should check the ropes.\nReasonable?",
                1,
                "I am the ferryman.",
                "So I should check the ropes.",
            ),
        ),
    ],
    "ethics_virtue": [
        (
            {"scenario": "Ida gave her seat away. [SEP] kind", "label": 1},
            (
                "0fc9df01c4a870897557",
                "Ida gave her seat away.",
                "Does this show the trait: kind?",
                1,
                "Ida gave her seat away.",
                "kind",
            ),
        ),
        (
            {"scenario": "Ida gave her  seat away. [SEP]  Stingy ", "label": 0},
            (
                "ed42ab89432c39e39006",
                "Ida gave her seat away.",
                "Does this show the trait: stingy?",
                0,
                "Ida gave her seat away.",
                "stingy",
            ),
        ),
        (
            {"scenario": "Otto hid the map. [SEP] self-serving", "label": 1},
            (
                "143e3341d0dc1763fba8",
                "Otto hid the map.",
                "Does this show the trait: self-serving?",
                1,
                "Otto hid the map.",
                "self-serving",
            ),
        ),
    ],
}


def draw(n: int) -> int:
    return 0


def examples(name: str, row: dict[str, Any]) -> list[Example]:
    return DATASETS.get(name).format(row, draw)


@pytest.mark.parametrize(
    ("name", "row", "expected"), [(name, row, expected) for name, rows in GOLDEN.items() for row, expected in rows]
)
def test_a_row_becomes_this_example(name: str, row: dict[str, Any], expected: Expected) -> None:
    content = stable_hash(name, {column: row[column] for column in DATASETS.get(name).columns})
    (example,) = examples(name, row)
    assert (stable_hash(content, example.candidate), *example[:5]) == expected


@pytest.mark.parametrize("name", ["ethics_justice", "ethics_deontology", "ethics_virtue"])
def test_hard_rows_are_read_like_the_ordinary_ones(name: str) -> None:
    ordinary, hard = DATASETS.get(name), DATASETS.get(f"{name}_hard")
    assert (hard.format, hard.columns, hard.max_chars) == (ordinary.format, ordinary.columns, ordinary.max_chars)
    assert (hard.hub_id, hard.splits["test"]) == ("hendrycks/ethics", "test")


def group(name: str, row: dict[str, Any]) -> str:
    (example,) = examples(name, {"label": 1, **row})
    return example.group


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "I used to lend Max my bike but no more because he moved.",
            "I used to lend Max my bike but no more because I eat.",
        ),
        ("I deserve praise because I won.", "I deserve praise because  I lost the ball. "),
        (
            "I am justified in expecting that my oven will bake.",
            "I am justified in expecting that my oven will sing to me.",
        ),
    ],
)
def test_variants_of_a_situation_share_its_group(one: str, other: str) -> None:
    assert group("ethics_justice", {"scenario": one}) == group("ethics_justice", {"scenario": other})


def test_situations_with_the_same_stock_opening_are_apart() -> None:
    opening = "I am justified in expecting that my"
    one, other = f"{opening} oven will bake.", f"{opening} nurse will be on time."
    assert group("ethics_justice", {"scenario": one}) != group("ethics_justice", {"scenario": other})


def test_replies_to_one_situation_share_its_group() -> None:
    row = {"scenario": "Can you hold the ladder?", "excuse": "But my arm is broken."}
    other = {**row, "excuse": "But ladders bore me."}
    assert group("ethics_deontology", row) == group("ethics_deontology", other)


def test_traits_of_one_deed_share_its_group() -> None:
    row, other = {"scenario": "Ida sang. [SEP] merry"}, {"scenario": "Ida sang.  [SEP] grim"}
    assert group("ethics_virtue", row) == group("ethics_virtue", other)


def test_a_deed_without_a_trait_is_refused() -> None:
    with pytest.raises(DataError, match=r"column 'scenario' must read 'text \[SEP\] trait', but is 'Ida sang\.'"):
        examples("ethics_virtue", {"scenario": "Ida sang.", "label": 1})
