"""Files of labels that people gave: joined by id, and refused by the row that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from w2s_core.data.given import read_given, read_given_classes
from w2s_core.errors import DataError

IDS = {"train": ["007", "b"], "test": ["c"]}


def csv(folder: Path, *rows: str, header: str = "id,prob") -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def test_labels_are_joined_by_id_whatever_their_order_and_other_columns(tmp_path: Path) -> None:
    given = read_given(csv(tmp_path, "c,x,1", "b,y,0.25", "007,z,0", header="id,note,prob"), IDS)

    assert {split: list(probs) for split, probs in given.items()} == {"train": [0.0, 0.25], "test": [1.0]}


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    table = pa.table({"prob": pa.array([0.5, 0.75, 1.0], pa.float32()), "id": ["c", "b", "007"]})
    pq.write_table(table, tmp_path / "labels.parquet")

    assert np.array_equal(read_given(tmp_path / "labels.parquet", IDS)["train"], [1.0, 0.75])


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (["007,0", "b,1", "c,1", "d,1"], "1 ids that no prepared row has: 'd'"),
        (["007,0", "c,1"], "1 prepared rows without a label: 'b'"),
        (["007,0", "b,1.5", "c,1"], "1 probabilities that are none: 'b' has 1.5"),
        (["007,0", "b,", "c,1"], "1 probabilities that are none: 'b' has nan"),
        (["007,0", "b,1", "c,1", "b,0"], "1 rows labelled twice: 'b'"),
        (["007,0", "b,yes", "c,1"], "prob a number from 0 to 1"),
        ([f"x{i},1" for i in range(9)], "9 ids that no prepared row has: 'x0', 'x1', 'x2', …"),
    ],
)
def test_wrong_rows_are_named(rows: list[str], line: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refusal:
        read_given(csv(tmp_path, *rows), IDS)

    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("labels.csv", "id,weak\na,1\n", "no column 'prob'; it needs id and prob"),
        ("labels.csv", "", "cannot be read"),
        ("labels.parquet", "id,prob", "cannot be read"),
        ("labels.xlsx", "", "labels are read from .csv and .parquet files"),
    ],
)
def test_what_is_no_file_of_labels_is_one_line(name: str, content: str, line: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(DataError, match=line) as refusal:
        read_given(tmp_path / name, IDS)

    assert "\n" not in str(refusal.value)


def test_lists_of_probabilities_in_csv_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text('id,probs\na,"[0.2, 0.3, 0.5]"\n')
    with pytest.raises(DataError, match="probs a list, which Parquet alone has"):
        read_given_classes(tmp_path / "labels.csv", {"test": ["a"]}, 3)
