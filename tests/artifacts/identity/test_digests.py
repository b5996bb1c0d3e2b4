"""Tests of ``artifacts.identity.digests``."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.errors import CorruptArtifact, UsageError
from artifacts.identity import digests
from artifacts.identity.digests import ExternalDigests, digest_output

# Tables

TABLE = pa.table(
    {
        "id": ["a", "", None, "dé"],
        "prob": pa.array([0.5, float("nan"), None, -0.0]),
        "label": pa.array([0, None, 1, 1], pa.int8()),
        "flag": [True, False, None, True],
        "tokens": [[1, 2], [], None, [None, 3]],
        "span": [{"text": "x", "at": [1]}, None, {"text": None, "at": []}, {"text": "", "at": None}],
        "day": pa.array([datetime.date(2026, 1, 1), None, None, datetime.date(1969, 1, 1)]),
        "price": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-2"), None], pa.decimal128(9, 2)),
        "nothing": pa.nulls(4),
    }
)


def table_digest(folder: Path, table: pa.Table, **options: Any) -> str:
    path = folder / "table.parquet"
    pq.write_table(table, path, **options)
    return digest_output(path)


def array_digest(folder: Path, values: list[Any], kind: pa.DataType | None = None) -> str:
    return table_digest(folder, pa.table({"x": pa.array(values, kind)}))


def test_table_digest_is_this(tmp_path: Path) -> None:
    """A change here makes every artifact's digest new, so that children run again."""
    assert table_digest(tmp_path, TABLE) == "375abd8c52b6c7e9eb8b68486b51897200bc832f84c0ddc65b89788a5838fda3"


@pytest.mark.parametrize(
    "options",
    [
        {"row_group_size": 1},
        {"compression": "zstd"},
        {"use_dictionary": False},
        {"store_schema": False},
        {"data_page_version": "2.0"},
        {"use_byte_stream_split": ["prob"], "use_dictionary": ["id"]},
    ],
    ids=str,
)
def test_layout_of_the_file_does_not_count(tmp_path: Path, options: dict[str, Any]) -> None:
    table = TABLE.drop_columns("nothing")
    assert table_digest(tmp_path, table, **options) == table_digest(tmp_path, table)


def test_batches_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table_digest(tmp_path, TABLE)
    monkeypatch.setattr(digests, "BATCH_ROWS", 3)
    assert table_digest(tmp_path, TABLE) == whole


def test_shards_do_not_count(tmp_path: Path) -> None:
    whole = table_digest(tmp_path, TABLE)
    shards = tmp_path / "shards"
    shards.mkdir()
    for name, at in {"0.parquet": 0, "1.parquet": 1, "2.parquet": 3}.items():
        pq.write_table(TABLE.slice(at, {0: 1, 1: 2, 3: 1}[at]), shards / name)
    assert digest_output(shards) == whole


def test_shards_of_different_columns_are_corrupt(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"y": [1]}), tmp_path / "1.parquet")
    with pytest.raises(CorruptArtifact, match="its columns differ"):
        digest_output(tmp_path)


def test_dictionary_encoding_does_not_count(tmp_path: Path) -> None:
    encoded = pa.table({"x": pa.array(["a", None, "b", "a"]).dictionary_encode()})
    plain = pa.table({"x": ["a", None, "b", "a"]})
    assert table_digest(tmp_path, encoded) == table_digest(tmp_path, plain)


def test_width_of_offsets_does_not_count(tmp_path: Path) -> None:
    large = array_digest(tmp_path, [["a"], [], None], pa.large_list(pa.large_string()))
    assert large == array_digest(tmp_path, [["a"], [], None], pa.list_(pa.string()))


def test_metadata_does_not_count(tmp_path: Path) -> None:
    noted = TABLE.replace_schema_metadata({"written by": "somebody"})
    assert table_digest(tmp_path, noted) == table_digest(tmp_path, TABLE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([""], [None]),
        (["ab", "c"], ["a", "bc"]),
        ([None, "a"], ["a", None]),
        ([0.0], [-0.0]),
        ([[1], [2]], [[1, 2], []]),
        ([[]], [None]),
        ([[None]], [[]]),
        ([{"a": None}], [None]),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ([1], [1.0]),
        (["1"], [b"1"]),
        ([{"a": 1}], [{"b": 1}]),
    ],
)
def test_values_and_types_count(tmp_path: Path, one: list[Any], other: list[Any]) -> None:
    assert array_digest(tmp_path, one) != array_digest(tmp_path, other)


def test_integer_width_counts(tmp_path: Path) -> None:
    assert array_digest(tmp_path, [1], pa.int8()) != array_digest(tmp_path, [1], pa.int64())


def test_payload_of_a_nan_counts(tmp_path: Path) -> None:
    def nan(bits: int) -> pa.Array:
        return pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(struct.pack("<Q", bits))])

    one, other = (pa.table({"x": nan(bits)}) for bits in (0x7FF8000000000000, 0x7FF8000000000001))
    assert table_digest(tmp_path, one) != table_digest(tmp_path, other)


def test_column_names_and_order_count(tmp_path: Path) -> None:
    tables = [pa.table({"a": [1], "b": [1]}), pa.table({"b": [1], "a": [1]}), pa.table({"a": [1]})]
    assert len({table_digest(tmp_path, table) for table in tables}) == 3


def test_empty_table_has_a_digest_by_its_schema(tmp_path: Path) -> None:
    empty = TABLE.slice(0, 0)
    assert table_digest(tmp_path, empty) == table_digest(tmp_path, empty)
    assert table_digest(tmp_path, empty) != table_digest(tmp_path, pa.table({"x": pa.array([], pa.int8())}))


def test_type_without_a_digest_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a column of type map<string, int64"):
        array_digest(tmp_path, [[("a", 1)]], pa.map_(pa.string(), pa.int64()))


def test_unreadable_table_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1 and so on")
    with pytest.raises(CorruptArtifact, match=r"table\.parquet is no readable Parquet file"):
        digest_output(path)


KINDS = {
    pa.string(): st.text(max_size=3),
    pa.int16(): st.integers(-9, 9),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.list_(pa.string()): st.lists(st.none() | st.text(max_size=2), max_size=3),
    pa.struct({"a": pa.int8(), "b": pa.list_(pa.bool_())}): st.fixed_dictionaries(
        {"a": st.none() | st.integers(-9, 9), "b": st.none() | st.lists(st.booleans(), max_size=2)}
    ),
}


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_digest_is_equal_if_and_only_if_values_are(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(KINDS)))
    rows = st.lists(st.none() | KINDS[kind], max_size=5)
    one, other = data.draw(rows), data.draw(rows)
    row_group_size = data.draw(st.integers(1, 4))
    table = pa.table({"x": pa.array(other, kind)})
    # Minus zero is another value than zero, though Python calls them equal; the order of a dict's keys is none.
    are_equal = repr(pa.array(one, kind).to_pylist()) == repr(table["x"].to_pylist())
    first = array_digest(tmp_path, one, kind)
    second = table_digest(tmp_path, table, row_group_size=row_group_size, use_dictionary=False)
    assert (first == second) == are_equal


# Weights

Tensors = dict[str, tuple[str, list[int], bytes]]

WEIGHTS: Tensors = {
    "embed": ("F32", [2, 1], b"12345678"),
    "norm": ("BF16", [2], b"abcd"),
    "empty": ("F32", [0], b""),
}


def write_safetensors(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> None:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, (dtype, shape, values) in tensors.items():
        offsets = [len(data), len(data) + len(values)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", WEIGHTS)
    config = {"n": 1, "_name_or_path": "a", "transformers_version": "5.0", "text": {"_name_or_path": "b"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("a\nb\n")
    return folder


def rewrite_in_another_order(model: Path) -> None:
    tensors = dict(reversed(WEIGHTS.items()))
    write_safetensors(model / "model.safetensors", tensors, {"format": "pt"})


def shard(model: Path) -> None:
    (model / "model.safetensors").unlink()
    write_safetensors(model / "model-00001-of-00002.safetensors", {"embed": WEIGHTS["embed"]})
    others = {name: WEIGHTS[name] for name in ("norm", "empty")}
    write_safetensors(model / "model-00002-of-00002.safetensors", others)
    (model / "model.safetensors.index.json").write_text('{"weight_map": {}}')


def reformat_config(model: Path) -> None:
    config = {"text": {}, "transformers_version": "6.0", "n": 1}
    (model / "config.json").write_text(json.dumps(config, indent=4))


@pytest.mark.parametrize("change", [rewrite_in_another_order, shard, reformat_config])
def test_how_weights_are_written_does_not_count(model: Path, change: Callable[[Path], None]) -> None:
    before = digest_output(model)
    change(model)
    assert digest_output(model) == before


def rename_file(model: Path) -> None:
    (model / "model.safetensors").rename(model / "head.safetensors")


def change_config(model: Path) -> None:
    (model / "config.json").write_text('{"n": 2, "text": {}}')


def change_vocabulary(model: Path) -> None:
    (model / "vocab.txt").write_text("a\nc\n")


def add_file(model: Path) -> None:
    (model / "merges.txt").touch()


WEIGHT_CHANGES: dict[str, Tensors] = {
    "value": {**WEIGHTS, "norm": ("BF16", [2], b"abce")},
    "dtype": {**WEIGHTS, "norm": ("F16", [2], b"abcd")},
    "shape": {**WEIGHTS, "embed": ("F32", [1, 2], b"12345678")},
    "name": {**{n: WEIGHTS[n] for n in ("embed", "empty")}, "bias": WEIGHTS["norm"]},
    "absence": {name: WEIGHTS[name] for name in ("embed", "norm")},
}


@pytest.mark.parametrize("what", WEIGHT_CHANGES)
def test_tensors_count(model: Path, what: str) -> None:
    before = digest_output(model)
    write_safetensors(model / "model.safetensors", WEIGHT_CHANGES[what])
    assert digest_output(model) != before


@pytest.mark.parametrize("change", [rename_file, change_config, change_vocabulary, add_file])
def test_files_of_a_model_count(model: Path, change: Callable[[Path], None]) -> None:
    before = digest_output(model)
    change(model)
    assert digest_output(model) != before


def test_folder_of_an_output_does_not_count(model: Path) -> None:
    assert digest_output(model) == digest_output(model.rename(model.with_name("other")))


def test_words_of_a_vocabulary_count_whatever_their_name(model: Path) -> None:
    (model / "tokenizer.json").write_text('{"vocab": {"_name_or_path": 1}}')
    before = digest_output(model)
    (model / "tokenizer.json").write_text('{"vocab": {"_name_or_path": 2}}')
    assert digest_output(model) != before


def test_config_with_an_infinity_has_a_digest(model: Path) -> None:
    (model / "config.json").write_text('{"limit": Infinity}')
    before = digest_output(model)
    (model / "config.json").write_text('{"limit": -Infinity}')
    assert digest_output(model) != before


def test_weights_that_end_too_early_are_corrupt(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptArtifact, match=r"model\.safetensors is no whole safetensors file: it ends"):
        digest_output(model)


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\2\0\0\0\0\0\0\0[]", b'\7\0\0\0\0\0\0\0{"a":1}'])
def test_what_is_no_safetensors_file_is_corrupt(model: Path, content: bytes) -> None:
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(CorruptArtifact, match="is no whole safetensors file"):
        digest_output(model)


def test_tensor_in_two_shards_is_corrupt(model: Path) -> None:
    shard(model)
    write_safetensors(model / "model-00002-of-00002.safetensors", WEIGHTS)
    with pytest.raises(CorruptArtifact, match="'embed' is in another shard too"):
        digest_output(model)


# External inputs


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "digests.json"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text("row\n")
    return settled(path)


def settled(path: Path) -> Path:
    """``path``, as if it had been written a while ago."""
    then = time.time_ns() - 3600 * 10**9
    os.utime(path, ns=(then, then))
    return path


def replace_unseen(path: Path, text: str) -> None:
    """Change a file behind the back of its size, mtime and inode."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_external_file_counts_by_bytes(data: Path, cache: Path) -> None:
    before = ExternalDigests(cache).digest(data)
    data.write_text("Row\n")
    assert ExternalDigests(cache).digest(data) != before


def test_unchanged_external_file_is_not_read_again(data: Path, cache: Path) -> None:
    before = ExternalDigests(cache).digest(data)
    replace_unseen(data, "Row\n")
    assert ExternalDigests(cache).digest(data) == before


def test_rehash_reads_again(data: Path, cache: Path) -> None:
    before = ExternalDigests(cache).digest(data)
    replace_unseen(data, "Row\n")
    assert ExternalDigests(cache, rehash=True).digest(data) != before


def test_rehash_mends_the_cache(data: Path, cache: Path) -> None:
    ExternalDigests(cache).digest(data)
    replace_unseen(data, "Row\n")
    after = ExternalDigests(cache, rehash=True).digest(data)
    assert ExternalDigests(cache).digest(data) == after


def test_touched_external_file_has_the_same_digest(data: Path, cache: Path) -> None:
    before = ExternalDigests(cache).digest(data)
    data.touch()
    assert ExternalDigests(cache).digest(data) == before


def test_file_replaced_by_rename_is_read_again(data: Path, cache: Path) -> None:
    before = ExternalDigests(cache).digest(data)
    other = data.with_name("other")
    other.write_text("Row\n")
    os.utime(other, ns=(data.stat().st_atime_ns, data.stat().st_mtime_ns))
    other.replace(data)
    assert ExternalDigests(cache).digest(data) != before


def test_digest_of_a_file_just_written_is_not_cached(data: Path, cache: Path) -> None:
    data.touch()
    before = ExternalDigests(cache).digest(data)
    replace_unseen(data, "Row\n")
    assert ExternalDigests(cache).digest(data) != before


def test_one_object_sees_a_file_once(data: Path, cache: Path) -> None:
    external = ExternalDigests(cache)
    before = external.digest(data)
    data.write_text("Row\n")
    assert external.digest(data) == before


def test_garbled_cache_is_ignored(data: Path, cache: Path) -> None:
    before = ExternalDigests(cache).digest(data)
    cache.write_text("{")
    assert ExternalDigests(cache).digest(data) == before


@pytest.mark.parametrize("name", ["README.md", "pytorch_model.bin", "logo.png"])
def test_files_that_no_model_is_loaded_from_do_not_count(model: Path, cache: Path, name: str) -> None:
    before = ExternalDigests(cache).digest(model)
    (model / name).touch()
    assert ExternalDigests(cache).digest(model) == before


@pytest.mark.parametrize("name", ["generation.json", "model.safetensors", "merges.txt", "spiece.model"])
def test_files_that_a_model_is_loaded_from_count(model: Path, cache: Path, name: str) -> None:
    before = ExternalDigests(cache).digest(model)
    (model / name).write_text("else")
    assert ExternalDigests(cache).digest(model) != before


def test_subfolders_of_a_model_do_not_count(model: Path, cache: Path) -> None:
    before = ExternalDigests(cache).digest(model)
    (model / "onnx").mkdir()
    (model / "onnx" / "config.json").touch()
    assert ExternalDigests(cache).digest(model) == before


def test_missing_input_is_a_usage_error(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the input .*absent: No such file or directory"):
        ExternalDigests(cache).digest(tmp_path / "absent")


def test_folder_without_a_model_is_a_usage_error(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UsageError, match=r"is no folder of a model: it has no config\.json"):
        ExternalDigests(cache).digest(tmp_path)
