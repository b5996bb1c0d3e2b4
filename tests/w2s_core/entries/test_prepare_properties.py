"""What holds of prepared tables whatever the rows: of generated rows of three datasets."""

from __future__ import annotations

import itertools
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.plan.grid import DataConfig
from w2s_core.entries.prepare import prepare
from w2s_core.stages import part_names
from w2s_core.watch import Silent

OUTPUTS = ("weak_train", "transfer_train", "validation", "test")
RawRows = list[dict[str, Any]]


def sst2(i: int, rng: random.Random) -> dict[str, Any]:
    return {"sentence": f"{rng.choice(['', ' ', 'Film '])}{i}", "label": int(rng.random() < 0.6)}


def sciq(i: int, rng: random.Random) -> dict[str, Any]:
    answers = {name: f"{rng.randrange(5)}" for name in ("correct_answer", "distractor1", "distractor2", "distractor3")}
    return {"question": f"which {i // 2}?", **answers}


def boolq(i: int, rng: random.Random) -> dict[str, Any]:
    return {"passage": f"Fact {i // rng.randint(1, 4)}", "question": f"is it {i}", "answer": rng.random() < 0.6}


MAKERS = {"sst2": sst2, "sciq": sciq, "boolq": boolq}


@st.composite
def datasets(draw: st.DrawFn) -> tuple[str, RawRows, RawRows]:
    """A dataset with 150 to 250 training rows and 80 test rows, some of them about the same things."""
    name = draw(st.sampled_from(sorted(MAKERS)))
    rng = random.Random(draw(st.integers(0, 10_000)))
    n = draw(st.integers(150, 250))
    rows = [MAKERS[name](i, rng) for i in range(n + 80)]
    overlap = draw(st.integers(0, 10))
    return name, rows[:n], rows[n - overlap : n + 80 - overlap]


def write(folder: Path, split: str, shards: list[RawRows], suffix: str) -> dict[str, Path]:
    files = {}
    for number, rows in enumerate(shards):
        path = folder / f"{split}-{number}{suffix}"
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files[path.stem] = path
    return files


def prepared(
    name: str, train: list[RawRows], test: list[RawRows], suffix: str = ".jsonl", data_seed: int = 0, n_parts: int = 1
) -> dict[str, bytes]:
    """The files that are made of these shards."""
    sizes = {"n_train": 40, "n_validation": 10, "n_test": 20, "n_parts": n_parts}
    data = DataConfig(**sizes, max_chars=100, allow_fewer=True).model_dump()
    params = {
        "setting": "classify",
        "dataset": name,
        "source": {"kind": "folder"},
        "data_seed": data_seed,
        "data": data,
    }
    with tempfile.TemporaryDirectory() as folder:
        inputs = {}
        for split, shards in (("train", train), ("test", test)):
            inputs |= write(Path(folder), split, shards, suffix)
        prepare(params, inputs, Path(folder), Silent())
        splits = [*OUTPUTS, *part_names(n_parts)]
        return {split: (Path(folder) / f"{split}.parquet").read_bytes() for split in splits}


def tables(name: str, train: RawRows, test: RawRows, data_seed: int, n_parts: int = 1) -> dict[str, pa.Table]:
    files = prepared(name, [train], [test], data_seed=data_seed, n_parts=n_parts)
    return {split: pq.read_table(pa.BufferReader(content)) for split, content in files.items()}


@settings(max_examples=12, deadline=None)
@given(datasets(), st.integers(1, 4), st.sampled_from([".jsonl", ".parquet"]), st.randoms(use_true_random=False))
def test_order_shards_repeats_and_kind_of_file_change_no_byte(
    rows: tuple[str, RawRows, RawRows], n_shards: int, suffix: str, rng: random.Random
) -> None:
    name, train, test = rows
    expected = prepared(name, [train], [test])
    shuffled = [rng.sample(split, len(split)) for split in (train, test)]
    shards = [[split[i::n_shards] for i in range(n_shards)] for split in shuffled]
    again = [*shards[0], shards[0][0]]
    assert prepared(name, again, shards[1], suffix) == expected


@settings(max_examples=12, deadline=None)
@given(datasets(), st.integers(0, 3), st.integers(1, 4))
def test_no_group_is_in_two_splits(rows: tuple[str, RawRows, RawRows], data_seed: int, n_parts: int) -> None:
    groups = [set(table["group"].to_pylist()) for table in tables(*rows, data_seed, n_parts).values()]
    assert not any(one & other for one, other in itertools.combinations(groups, 2))


@settings(max_examples=12, deadline=None)
@given(datasets(), st.integers(0, 3))
def test_ids_are_unique(rows: tuple[str, RawRows, RawRows], data_seed: int) -> None:
    ids = Counter(id for table in tables(*rows, data_seed).values() for id in table["id"].to_pylist())
    assert set(ids.values()) == {1}


@settings(max_examples=12, deadline=None)
@given(datasets(), st.integers(0, 3))
def test_every_split_has_its_size_and_as_many_of_either_class(
    rows: tuple[str, RawRows, RawRows], data_seed: int
) -> None:
    for table, n in zip(tables(*rows, data_seed).values(), (20, 20, 10, 20), strict=True):
        assert len(table) == n
        assert abs(2 * sum(table["gt_label"].to_pylist()) - n) <= 1


@settings(max_examples=12, deadline=None)
@given(datasets(), st.integers(0, 3), st.sampled_from([2, 5]))
def test_every_part_has_the_same_size_and_as_many_of_either_class(
    rows: tuple[str, RawRows, RawRows], data_seed: int, n_parts: int
) -> None:
    found = tables(*rows, data_seed, n_parts)
    for split in [*part_names(n_parts), "transfer_train"]:
        assert len(found[split]) == 20 // n_parts
        assert abs(2 * sum(found[split]["gt_label"].to_pylist()) - 20 // n_parts) <= 1
