"""Where raw rows come from: every way in which files can fail is one line that says what is there.

What comes from the Hub is in ``test_hub``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.plan.grid import DataConfig
from w2s_core.config import WorldConfig
from w2s_core.data.datasets import Kind
from w2s_core.data.layouts import folder_files
from w2s_core.data.sources import SOURCES, fits
from w2s_core.errors import DataError

CHOICES = {"text": list[str], "label": list[str]}
COLUMNS = {"sentence": str, "label": int}
ROWS = [{"sentence": "fine", "label": 1, "idx": 0}, {"sentence": "dull", "label": 0, "idx": 1}]
WANTED = [{"sentence": "fine", "label": 1}, {"sentence": "dull", "label": 0}]


def jsonl(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parquet(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def read(path: Path, columns: Mapping[str, Kind] = COLUMNS) -> list[Any]:
    return list(SOURCES.get("folder")({"source": {}}, {"train": path}, columns)["train"])


def message(path: Path, columns: Mapping[str, Kind] = COLUMNS) -> str:
    with pytest.raises(DataError) as caught:
        read(path, columns)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_parquet_gives_the_wanted_columns(tmp_path: Path) -> None:
    assert read(parquet(tmp_path / "train.parquet", *ROWS)) == WANTED


def test_json_lines_give_the_wanted_columns(tmp_path: Path) -> None:
    assert read(jsonl(tmp_path / "train.jsonl", *ROWS)) == WANTED


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    file.write_bytes(b"PAR1 and then nothing")
    assert message(file).startswith(f"{file}: not a readable Parquet file")


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "train.jsonl", *ROWS)
    file.write_text(file.read_text() + '{"sentence": \n')
    assert message(file).startswith(f"{file}, line 3: not valid JSON")


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    assert "line 2: not a JSON object" in message(jsonl(tmp_path / "train.jsonl", ROWS[0], [1]))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_bytes(b"\xff\xfe\x00")
    assert "not a readable JSON Lines file" in message(file)


def test_a_missing_parquet_column_is_named_with_those_there(tmp_path: Path) -> None:
    file = parquet(tmp_path / "train.parquet", {"text": "fine", "label": 1})
    assert message(file) == f"{file}: no column 'sentence'; there are text, label"


def test_a_missing_json_column_is_named_with_its_row(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "train.jsonl", ROWS[0], {"sentence": "fine"})
    assert message(file) == f"{file}, row 2: no column 'label'; there are sentence"


@pytest.mark.parametrize("label", ["1", 1.0, True, None])
def test_a_value_of_another_type_is_named_with_its_row(tmp_path: Path, label: Any) -> None:
    file = jsonl(tmp_path / "train.jsonl", ROWS[0], {"sentence": "fine", "label": label})
    expected = f"{file}: column 'label' must hold whole numbers, but row 2 has {label!r}"
    assert message(file) == expected


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("fine", str),
        (1, int),
        (True, bool),
        ([], list[str]),
        (["a", "b"], list[str]),
        ([[1], []], list[list[int]]),
        ({"text": ["a"], "label": ["A"]}, CHOICES),
    ],
)
def test_a_value_fits_its_kind(value: Any, kind: Kind) -> None:
    assert fits(value, kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, int),
        (1, bool),
        (1.0, int),
        (None, str),
        ("\ud800", str),
        ("ab", list[str]),
        (("a",), list[str]),
        (["a", None], list[str]),
        (["\ud800"], list[str]),
        ([[True]], list[list[int]]),
        ({"text": ["a"]}, CHOICES),
        ({"text": ["a"], "label": [1]}, CHOICES),
        ({"text": ["a"], "label": ["A"], "id": "1"}, CHOICES),
        ([{"text": "a", "label": "A"}], CHOICES),
    ],
)
def test_a_value_of_another_kind_does_not_fit(value: Any, kind: Kind) -> None:
    assert not fits(value, kind)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (str, "text"),
        (bool, "true or false"),
        (list[str], "list of text"),
        (CHOICES, "{text: list of text, label: list of text}"),
    ],
)
def test_what_a_column_must_hold_is_said_in_words(tmp_path: Path, kind: Kind, wanted: str) -> None:
    file = jsonl(tmp_path / "train.jsonl", {"choices": ["a", 1]})
    expected = f"{file}: column 'choices' must hold {wanted}, but row 1 has ['a', 1]"
    assert message(file, {"choices": kind}) == expected


def test_lists_and_structs_read_the_same_from_both_kinds_of_file(tmp_path: Path) -> None:
    row = {"dialogue": ["hello", "bye"], "choices": {"text": ["a", "b"], "label": ["A", "B"]}}
    columns = {"dialogue": list[str], "choices": CHOICES}
    assert read(parquet(tmp_path / "train.parquet", row), columns) == [row]
    assert read(jsonl(tmp_path / "train.jsonl", row), columns) == [row]


def test_rows_are_read_no_further_than_they_are_asked_for(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "train.jsonl", *ROWS, "broken")
    rows = SOURCES.get("folder")({"source": {}}, {"train": file}, COLUMNS)["train"]
    assert list(itertools.islice(rows, 2)) == WANTED


def test_shards_are_read_one_after_the_other(tmp_path: Path) -> None:
    shards = {f"train-{i}": jsonl(tmp_path / f"train-{i}.jsonl", ROWS[i]) for i in (1, 0)}
    inputs = {**shards, "test": jsonl(tmp_path / "test.jsonl"), "tokenizer.train-2": tmp_path}
    assert list(SOURCES.get("folder")({"source": {}}, inputs, COLUMNS)["train"]) == WANTED


def folder_message(folder: Path, dataset: str = "sst2") -> str:
    with pytest.raises(DataError) as caught:
        folder_files(folder, dataset)
    return str(caught.value)


def test_a_folder_gives_the_files_of_a_dataset(tmp_path: Path) -> None:
    train, test = parquet(tmp_path / "sst2" / "train.parquet", *ROWS), jsonl(tmp_path / "sst2" / "test.jsonl", *ROWS)
    assert folder_files(tmp_path, "sst2") == {"train": train, "test": test}


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert folder_message(tmp_path / "no").startswith(f"no folder {tmp_path / 'no'}")


def test_a_missing_dataset_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "sst-2").mkdir()
    assert folder_message(tmp_path) == f"{tmp_path} has no folder 'sst2'; did you mean sst-2?"


def test_a_missing_dataset_is_named_with_those_there(tmp_path: Path) -> None:
    (tmp_path / "boolq").mkdir()
    assert folder_message(tmp_path).endswith("there are boolq")


def test_the_folder_of_the_dataset_itself_is_told_from_the_one_above(tmp_path: Path) -> None:
    place = parquet(tmp_path / "sst2" / "train.parquet", *ROWS).parent
    assert folder_message(place) == (
        f"{place} holds files, where it must hold a folder 'sst2' with them; give the folder above it"
    )
    assert folder_message(place, "cola").endswith(f"; move them to {place / 'cola'}")


def test_a_missing_split_is_named_with_the_files_there(tmp_path: Path) -> None:
    parquet(tmp_path / "sst2" / "train.parquet", *ROWS)
    assert folder_message(tmp_path) == (
        f"{tmp_path / 'sst2'} must hold one of test.parquet and test.jsonl, or shards such as "
        "test-00000-of-00002.parquet; there are train.parquet"
    )


def files(folder: Path, *names: str) -> None:
    folder.mkdir()
    for name in names:
        (folder / name).touch()


def test_shards_are_inputs_of_their_own(tmp_path: Path) -> None:
    files(tmp_path / "sst2", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-a.jsonl", "notes.md")
    assert list(folder_files(tmp_path, "sst2")) == ["train-00000-of-00002", "train-00001-of-00002", "test-a"]


@pytest.mark.parametrize("other", ["train.jsonl", "train-0.parquet", "train-0.jsonl"])
def test_a_split_in_one_file_and_another_is_refused(tmp_path: Path, other: str) -> None:
    files(tmp_path / "sst2", "train.parquet", other, "test.jsonl")
    assert folder_message(tmp_path) == (
        f"{tmp_path / 'sst2'} must hold one train file or shards of one kind, not both or a mixture; "
        f"there are {', '.join(sorted(['train.parquet', other]))}"
    )


def test_shards_of_two_kinds_are_refused(tmp_path: Path) -> None:
    files(tmp_path / "sst2", "train-0.parquet", "train-1.jsonl", "test.jsonl")
    assert "there are train-0.parquet, train-1.jsonl" in folder_message(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    files(tmp_path / "sst2", *(f"train-0000{i}-of-00004.parquet" for i in (0, 1, 3)), "test.jsonl")
    assert folder_message(tmp_path).startswith(
        f"{tmp_path / 'sst2'} must hold each numbered train shard once, but of 4 number 2 is missing; there are train-0"
    )


def test_a_shard_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    names = [f"train-0000{i}-of-00002{end}.parquet" for i, end in ((0, ""), (0, "-a1b2"), (1, ""))]
    files(tmp_path / "sst2", *names, "test.jsonl")
    assert "but some are there twice; there are train-00000-of-00002-a1b2.parquet" in folder_message(tmp_path)


def test_the_world_has_more_rows_than_are_asked_for() -> None:
    data = DataConfig(n_train=100, n_validation=20, n_test=30).model_dump()
    source = {"kind": "offline", "world": WorldConfig().model_dump()}
    rows = SOURCES.get("offline")({"dataset": "sst2", "source": source, "data": data}, {}, COLUMNS)
    assert len(list(rows["train"])) > 120
    assert len(list(rows["test"])) > 30
