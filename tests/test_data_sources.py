"""Where raw rows come from: every way in which files or the Hub can fail is one line that says what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from w2s_core.config import DataConfig, WorldConfig
from w2s_core.errors import DataError
from w2s_core.sources import SOURCES, folder_files, resolve_hub

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


def read(path: Path) -> list[Any]:
    return SOURCES.get("folder")({}, {"train": path, "test": path}, COLUMNS)["train"]


def message(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
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


def test_a_missing_json_column_is_named_with_its_line(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "train.jsonl", ROWS[0], {"sentence": "fine"})
    assert message(file) == f"{file}, line 2: no column 'label'; there are sentence"


@pytest.mark.parametrize("label", ["1", 1.0, True, None])
def test_a_value_of_another_type_is_named_with_its_row(tmp_path: Path, label: Any) -> None:
    file = jsonl(tmp_path / "train.jsonl", ROWS[0], {"sentence": "fine", "label": label})
    expected = f"{file}: column 'label' must hold int values, but row 2 has {label!r}"
    assert message(file) == expected


def test_half_a_surrogate_pair_is_no_text(tmp_path: Path) -> None:
    assert "row 1" in message(jsonl(tmp_path / "train.jsonl", {"sentence": "\ud800", "label": 1}))


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


def test_a_missing_split_is_named_with_the_files_there(tmp_path: Path) -> None:
    parquet(tmp_path / "sst2" / "train.parquet", *ROWS)
    assert "test.parquet and test.jsonl, not neither; there are train.parquet" in folder_message(tmp_path)


def test_a_split_in_two_files_is_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "sst2" / "train.parquet", *ROWS)
    jsonl(tmp_path / "sst2" / "train.jsonl", *ROWS)
    assert "not both" in folder_message(tmp_path)


def test_a_commit_needs_no_hub() -> None:
    assert resolve_hub("org/name", "0" * 40, "model") == "0" * 40


@pytest.mark.parametrize(("kind", "advice"), [("model", "local folder"), ("dataset", "set source to a folder")])
def test_without_the_hub_a_folder_is_advised(kind: str, advice: str) -> None:
    with pytest.raises(DataError, match=f"cannot get {kind} org/name from the Hub .*{advice}"):
        resolve_hub("org/name", "main", kind)


def test_a_hub_dataset_that_cannot_be_had_is_named() -> None:
    source = {"id": "org/name", "config": None, "revision": "0" * 40, "splits": {"train": "train", "test": "test"}}
    with pytest.raises(DataError, match="cannot get dataset org/name from the Hub"):
        SOURCES.get("hub")({"source": source}, {}, COLUMNS)


def test_the_world_has_more_rows_than_are_asked_for() -> None:
    data = DataConfig(n_train=100, n_validation=20, n_test=30).model_dump()
    source = {"kind": "offline", "world": WorldConfig().model_dump()}
    rows = SOURCES.get("offline")({"dataset": "sst2", "source": source, "data": data}, {}, COLUMNS)
    assert len(rows["train"]) > 120
    assert len(rows["test"]) > 30
