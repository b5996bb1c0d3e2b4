"""Folders as people have them: the same rows of SST-2 in every layout, format and type of label, or one line."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import UsageError
from flows.plan.graph import FromPath
from flows.plan.grid import GridConfig
from flows.plan.load import overridden_grid
from flows.plan.resolve import resolve_audits
from w2s_core.data.cards import classes_beside
from w2s_core.data.datasets import DATASETS, called
from w2s_core.data.layouts import folder_files
from w2s_core.data.sources import SOURCES, mapped_labels
from w2s_core.errors import DataError

TRAIN = [{"sentence": f"train {i}", "label": i % 2} for i in range(6)]
TEST = [{"sentence": f"test {i}", "label": (i + 1) % 2} for i in range(4)]
HIDDEN = [{"sentence": f"hidden {i}", "label": -1} for i in range(4)]
Row = dict[str, Any]


def parquet(path: Path, rows: list[Row], names: list[str] | None = None, kind: pa.DataType | None = None) -> None:
    """A Parquet file, with the Hub's description of its label where it has ``names``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    if kind is not None:
        table = table.set_column(1, "label", table["label"].cast(kind))
    if names is not None:
        features = {"sentence": {"dtype": "string", "_type": "Value"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


def text(path: Path, rows: list[Row]) -> None:
    """JSON Lines, CSV or TSV, compressed as the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    out = io.StringIO()
    if "json" in path.name:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    else:
        writer = csv.DictWriter(out, list(rows[0]), delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        writer.writerows(rows)
    data = out.getvalue().encode()
    squeeze = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}
    path.write_bytes(squeeze.get(path.suffix, bytes)(data))


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def clone(folder: Path) -> None:
    for split, rows in (("train", TRAIN), ("validation", TEST), ("test", HIDDEN)):
        parquet(folder / "sst2" / "data" / f"{split}-00000-of-00001.parquet", rows, ["negative", "positive"])


def converted(folder: Path) -> None:
    for split, rows in (("train", TRAIN), ("validation", TEST), ("test", HIDDEN)):
        parquet(folder / "sst2" / "default" / split / "0000.parquet", rows)


def saved(folder: Path) -> None:
    import datasets

    splits = {"train": TRAIN, "validation": TEST, "test": HIDDEN}
    features = datasets.Features(
        sentence=datasets.Value("string"), label=datasets.ClassLabel(names=["negative", "positive"])
    )
    sets = {split: datasets.Dataset.from_list(rows, features=features) for split, rows in splits.items()}
    datasets.disable_progress_bars()
    datasets.DatasetDict(sets).save_to_disk(folder / "sst2")


def plain(name: str, test: str = "test") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for split, rows in (("train", TRAIN), (test, TEST)):
            (parquet if name == "parquet" else text)(folder / "sst2" / f"{split}.{name}", rows)

    return write


def shards(folder: Path) -> None:
    for i in range(2):
        text(folder / "sst2" / f"train-0000{i}-of-00002.csv.gz", TRAIN[3 * i : 3 * i + 3])
    text(folder / "sst2" / "test.csv", TEST)


def directories(folder: Path) -> None:
    text(folder / "sst2" / "train" / "a.jsonl", TRAIN)
    text(folder / "sst2" / "dev" / "b.jsonl", TEST)


def by_id(*parts: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        plain("csv")(folder)
        (folder / Path(*parts)).parent.mkdir(exist_ok=True, parents=True)
        (folder / "sst2").rename(folder / Path(*parts))

    return write


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "train.parquet, test.parquet": plain("parquet"),
    "clone of a Hub repository (data/, Hub's splits, hidden test)": clone,
    "converted branch (default/validation/0000.parquet)": converted,
    "save_to_disk (Arrow)": saved,
    "train.csv, validation.csv": plain("csv", "validation"),
    "train.tsv, dev.tsv": plain("tsv", "dev"),
    "shards of .csv.gz": shards,
    "folders train/ and dev/": directories,
    "stanfordnlp/sst2/": by_id("stanfordnlp", "sst2"),
    **{f"*.{name}": plain(name) for name in ("jsonl.gz", "jsonl.bz2", "csv.xz", "json.zst", "ndjson")},
}


def read(folder: Path, dataset: str = "sst2") -> dict[str, list[Any]]:
    files = folder_files(folder, dataset)
    splits = SOURCES.get("folder")({"source": {}}, files, DATASETS.get(dataset).columns)
    return {split: list(rows) for split, rows in splits.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_gives_the_rows(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    assert read(tmp_path) == {"train": TRAIN, "test": TEST}


LABELS: dict[str, Callable[[int], Any]] = {
    "names of the entry": ["negative", "positive"].__getitem__,
    "names in other letters": [" Neg", "POSITIVE"].__getitem__,
    "booleans": bool,
    "digits in text": str,
    "whole floats": float,
    "yes and no": ["no", "yes"].__getitem__,
}


@pytest.mark.parametrize("labels", LABELS)
def test_label_of_another_type_is_converted(labels: str, tmp_path: Path) -> None:
    for split, rows in (("train", TRAIN), ("test", TEST)):
        text(tmp_path / "sst2" / f"{split}.jsonl", [{**row, "label": LABELS[labels](row["label"])} for row in rows])
    assert read(tmp_path) == {"train": TRAIN, "test": TEST}


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float32(), pa.bool_(), pa.string()], ids=str)
def test_number_of_any_type_of_column_is_converted(kind: pa.DataType, tmp_path: Path) -> None:
    for split, rows in (("train", TRAIN), ("test", TEST)):
        parquet(tmp_path / "sst2" / f"{split}.parquet", rows, kind=kind)
    assert read(tmp_path) == {"train": TRAIN, "test": TEST}


@pytest.mark.parametrize("label", ["fine", "", 0.5, float("nan"), None, [1], "1.5", 10**400])
def test_label_whose_meaning_is_in_doubt_is_refused(label: Any, tmp_path: Path) -> None:
    for split, rows in (("train", [{**TRAIN[0], "label": label}]), ("test", TEST)):
        text(tmp_path / "sst2" / f"{split}.jsonl", rows)
    if label == 10**400:  # a whole number, which ``prepare`` refuses as it refuses 2
        assert read(tmp_path)["train"][0]["label"] == label
        return
    with pytest.raises(DataError, match=r"column 'label' must hold whole numbers \(0 = negative, 1 = positive\)"):
        read(tmp_path)


def inverted(rows: list[Any]) -> list[Any]:
    return [{**row, "label": 1 - row["label"]} for row in rows]


HOW = "are mapped: 'positive' is 0 there and 1 here, 'negative' is 1 there and 0 here"


def test_classes_in_another_order_are_mapped_and_that_is_said_of_their_split(tmp_path: Path) -> None:
    parquet(tmp_path / "sst2" / "train.parquet", inverted(TRAIN), ["positive", "negative"])
    parquet(tmp_path / "sst2" / "test.parquet", TEST, ["negative", "positive"])
    assert read(tmp_path) == {"train": TRAIN, "test": TEST}
    params, files = {"source": {}}, folder_files(tmp_path, "sst2")
    notes = mapped_labels(params, files, DATASETS.get("sst2").columns)
    assert notes == [f"labels of column 'label' of train {HOW}"]


@pytest.mark.parametrize("names", [["bad", "good"], ["negative", "neutral", "positive"], ["positive", "positive"]])
def test_classes_with_other_names_are_refused(names: list[str], tmp_path: Path) -> None:
    parquet(tmp_path / "sst2" / "train.parquet", TRAIN, names)
    parquet(tmp_path / "sst2" / "test.parquet", TEST)
    with pytest.raises(DataError, match=r"column 'label' says that 0 = .*; expected 0 = negative, 1 = positive"):
        read(tmp_path)


CARD = """---
license: other
dataset_info:
{prefix}features:
  - name: sentence
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': {names[0]}
          '1': {names[1]}
---
# SST-2
"""


def beside(kind: str, place: Path, names: list[str]) -> None:
    """Say what classes are called, as a dataset's repository does."""
    features = {"sentence": {"_type": "Value"}, "label": {"names": names, "_type": "ClassLabel"}}
    if kind == "README.md":
        text = CARD.format(prefix="  ", names=names)
    elif kind == "README.md of several configurations":
        text = CARD.format(prefix="- config_name: default\n  ", names=names)
    elif kind == "dataset_infos.json":
        text = json.dumps({"default": {"features": features}})
    else:
        text = json.dumps({"features": features})
    (place / kind.partition(" ")[0]).write_text(text)


BESIDE = ("README.md", "README.md of several configurations", "dataset_infos.json", "dataset_info.json")


@pytest.mark.parametrize("kind", BESIDE)
def test_classes_are_mapped_as_a_card_beside_the_files_says(kind: str, tmp_path: Path) -> None:
    for split, rows in (("train", TRAIN), ("test", TEST)):
        text(tmp_path / "sst2" / f"{split}.csv", inverted(rows))
    beside(kind, tmp_path / "sst2", ["positive", "negative"])
    config = GridConfig(datasets=("sst2",), source=str(tmp_path))
    (node,) = resolve_audits(config, {}, with_models=False).nodes.values()
    inputs = {name: source.path for name, source in node.inputs.items() if isinstance(source, FromPath)}
    read = SOURCES.get("folder")(node.params, inputs, DATASETS.get("sst2").columns)
    assert {split: list(rows) for split, rows in read.items()} == {"train": TRAIN, "test": TEST}


@pytest.mark.parametrize("kind", BESIDE)
def test_card_with_the_usual_classes_is_in_no_key_and_one_with_others_is_refused(kind: str, tmp_path: Path) -> None:
    plain("csv")(tmp_path)
    config = GridConfig(datasets=("sst2",), source=str(tmp_path))
    beside(kind, tmp_path / "sst2", ["negative", "positive"])
    (node,) = resolve_audits(config, {}, with_models=False).nodes.values()
    assert node.params["source"] == {"kind": "folder"}
    beside(kind, tmp_path / "sst2", ["bad", "good"])
    with pytest.raises(
        UsageError, match=r"card\): column 'label' says that 0 = 'bad', 1 = 'good'; expected 0 = negative"
    ):
        resolve_audits(config, {}, with_models=False)


@pytest.mark.parametrize(
    "card", ["", "# SST-2", "---\n: [\n---\n", "---\ndataset_info: 7\n---\n", "---\n- a\n---\n", "\x00---\n"]
)
def test_card_that_says_nothing_of_classes_changes_nothing(card: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card)
    assert classes_beside(tmp_path, None) == {}


def test_description_of_columns_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(TRAIN).replace_schema_metadata({"huggingface": "{"})
    for split in ("train", "test"):
        (tmp_path / "sst2").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "sst2" / f"{split}.parquet")
    with pytest.raises(DataError, match="the description of its columns"):
        read(tmp_path)


def test_hub_file_of_a_task_is_found_in_its_folder(tmp_path: Path) -> None:
    for split, rows in (("train", TRAIN), ("validation", TEST), ("test", HIDDEN)):
        parquet(tmp_path / "glue" / "cola" / f"{split}-00000-of-00001.parquet", rows)
    assert read(tmp_path, "cola") == {"train": TRAIN, "test": TEST}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("social_i_qa", "social_iqa"),
        ("allenai/social_i_qa", "social_iqa"),
        ("facebook/anli", "anli_r2"),
        ("nope", "nope"),
    ],
)
def test_dataset_answers_to_its_hub_ids(name: str, known: str) -> None:
    assert called(name) == known


def test_name_of_several_datasets_lists_them() -> None:
    with pytest.raises(UsageError, match="'super_glue' is several datasets here; name one of wic, multirc"):
        overridden_grid({"datasets": ["super_glue"]}, {}, "options")
    assert overridden_grid({"datasets": ["super_glue/wic"]}, {}, "options").datasets == ("wic",)
