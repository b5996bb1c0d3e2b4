"""Labels that are texts: files of ours and of users."""

from __future__ import annotations

from pathlib import Path

import pytest

from w2s_core.data.answers import read_answers, texts, write_answers
from w2s_core.data.given import read_given_answers
from w2s_core.errors import DataError


def test_answers_are_joined_by_id(tmp_path: Path) -> None:
    write_answers(tmp_path / "labels.parquet", ["a", "b"], texts(["e2e4", ""]))
    assert read_answers(tmp_path / "labels.parquet", ["b", "a"]).tolist() == ["", "e2e4"]
    with pytest.raises(DataError, match="1 of 2 rows have no weak label, such as 'c'"):
        read_answers(tmp_path / "labels.parquet", ["a", "c"])


def test_a_users_answers_are_texts_even_where_all_are_digits(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,answer\n1,007\n2,8\n")
    assert read_given_answers(tmp_path / "labels.csv", {"test": ["2"], "validation": ["1"]}) == {
        "test": ["8"],
        "validation": ["007"],
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("id,prob\n1,0.5\n", "no column 'answer'; it needs id and answer"),
        ("id,answer\n1,a\n1,b\n", "1 rows labelled twice: '1'"),
        ("id,answer\n1,a\n3,b\n", "1 ids that no prepared row has: '3'"),
        ("id,answer\n1,a\n", "1 prepared rows without a label: '2'"),
    ],
)
def test_a_file_that_does_not_fit_the_rows_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(rows)
    with pytest.raises(DataError, match=message):
        read_given_answers(tmp_path / "labels.csv", {"test": ["1", "2"]})
