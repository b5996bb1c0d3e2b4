"""Formatters: what the model reads of a raw row."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest

from artifacts.identity.fingerprint import Sources, fingerprint
from tests.places import REAL
from w2s_core.config import GENERATED_CLASSES, WorldConfig
from w2s_core.data.datasets import DATASETS, Example, clean, multiple_choice
from w2s_core.data.sources import fits
from w2s_core.offline.rows import OFFLINE, raw_rows

SCIQ = {
    "question": "What orbits the earth? ",
    "correct_answer": "the moon",
    "distractor1": "the sun",
    "distractor2": "Mars",
    "distractor3": "The Moon",
}


def first(n: int) -> int:
    return 0


def last(n: int) -> int:
    return n - 1


def examples(name: str, row: dict[str, Any]) -> list[Example]:
    return DATASETS.get(name).format(row, first)


def test_stray_white_space_is_removed() -> None:
    assert clean("  a\tfilm \n of  note ") == "a film of note"


def test_a_question_gives_its_right_answer_and_one_wrong_answer() -> None:
    assert [(example.prompt, example.gt_label) for example in examples("sciq", SCIQ)] == [
        ("Q: What orbits the earth?\nA: the moon", 1),
        ("Q: What orbits the earth?\nA: the sun", 0),
    ]


def test_both_answers_to_a_question_share_its_group() -> None:
    assert len({example.group for example in examples("sciq", SCIQ)}) == 1


def test_the_wrong_answer_is_the_one_that_is_drawn() -> None:
    assert multiple_choice("q", "right", ["one", "two"], last)[1].candidate == "two"


def test_a_distractor_that_reads_like_the_right_answer_is_never_wrong() -> None:
    assert multiple_choice("q", "Right", ["right ", "wrong"], first)[1].candidate == "wrong"


def test_a_question_without_a_wrong_answer_gives_nothing() -> None:
    assert multiple_choice("q", "right", ["right"], first) == []


def test_a_sentence_is_read_without_its_trailing_space() -> None:
    assert examples("sst2", {"sentence": "a fine film . ", "label": 1})[0].passage == "a fine film ."


def test_a_review_is_its_title_and_its_content() -> None:
    row = {"title": "Great", "content": "I would buy it again.", "label": 1}
    assert examples("amazon_polarity", row)[0].passage == "Great\nI would buy it again."


def test_questions_about_one_passage_share_its_group() -> None:
    row = {"passage": "Persian is spoken in Iran.", "question": "is persian spoken in iran", "answer": True}
    other = {**row, "question": "is persian a dialect", "answer": False}
    assert examples("boolq", row)[0].group == examples("boolq", other)[0].group


def test_a_yes_no_question_follows_its_passage() -> None:
    row = {"passage": "p", "question": "is it so ", "answer": True}
    assert examples("boolq", row) == [Example("p", "Q: is it so", 1, "p")]


def test_every_dataset_has_an_offline_counterpart() -> None:
    assert sorted(DATASETS) == sorted(OFFLINE)


@pytest.mark.parametrize("name", DATASETS.names())
def test_offline_rows_have_the_columns_of_the_real_ones(name: str) -> None:
    columns = DATASETS.get(name).columns
    for row in raw_rows(WorldConfig(), name, "train", 5):
        assert row.keys() >= columns.keys()
        assert all(fits(row[column], kind) for column, kind in columns.items())


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS.get(name).form is None])
def test_offline_rows_have_all_labels_about_as_often(name: str) -> None:
    last = (DATASETS.get(name).n_classes or GENERATED_CLASSES) - 1
    labels = [
        example.gt_label for row in raw_rows(WorldConfig(), name, "train", 300) for example in examples(name, row)
    ]
    assert 0.4 < sum(labels) / len(labels) / last < 0.6


@pytest.mark.parametrize("name", DATASETS.names())
def test_real_rows_can_be_formatted(name: str) -> None:
    file = REAL / name / "test.parquet"
    if not file.exists():
        pytest.skip("the sample of real rows is not here")
    dataset = DATASETS.get(name)
    formatted = [
        example
        for row in pq.read_table(file, columns=list(dataset.columns)).slice(0, 200).to_pylist()
        for example in dataset.format(row, first)
    ]
    assert {example.gt_label for example in formatted} == ({0, 1} if dataset.form is None else {0})
    # The first may be empty; what the form of answers that are texts has to know comes last.
    never_empty = slice(1, None) if dataset.form is None else slice(0, 2)
    assert all(
        example.shown[0] == example.shown[0].strip() and all(example.shown[never_empty]) for example in formatted
    )


def parts(dataset: str, kind: str) -> str:
    params = {"setting": "classify", "dataset": dataset, "source": {"kind": kind}}
    return " ".join(fingerprint(Sources.on_disk("w2s_core"), "w2s_core.entries.prepare:prepare", params).parts)


def test_a_dataset_is_made_by_its_own_formatter_and_generator_alone() -> None:
    reached = parts("sst2", "offline")
    assert "w2s_core.data.nlp.texts:_sst2" in reached
    assert "w2s_core.offline.texts:_sst2" in reached
    assert "sciq" not in reached


def test_files_are_prepared_without_the_generated_world() -> None:
    reached = parts("sst2", "folder")
    assert "w2s_core.offline.world" not in reached
    assert "w2s_core.offline" not in reached
