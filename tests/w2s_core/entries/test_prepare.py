"""Preparing a dataset: which rows exist, in which split, and what an edit of the source can touch."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.plan.grid import DataConfig
from tests.places import REAL
from w2s_core.config import WorldConfig
from w2s_core.data.sampling import Pool, Row, joined, sample_balanced
from w2s_core.entries.prepare import collect, prepare
from w2s_core.errors import DataError
from w2s_core.hashes import stable_hash
from w2s_core.watch import Silent

CLASSIFY = {"setting": "classify"}

OUTPUTS = ("weak_train", "transfer_train", "validation", "test")
SMALL = {"n_train": 40, "n_validation": 10, "n_test": 20}

RawRows = list[dict[str, Any]]


def sentences(n: int, *, start: int = 0, positive: int = 2) -> RawRows:
    """``n`` rows of sst2; one of ``positive`` is positive."""
    return [{"sentence": f"number {i}", "label": int(i % positive == 0)} for i in range(start, start + n)]


def questions(n: int, *, start: int = 0) -> RawRows:
    """``n`` rows of sciq."""
    return [
        {"question": f"which {i}?", "correct_answer": f"{i}"} | {f"distractor{k}": f"{i} and {k}" for k in (1, 2, 3)}
        for i in range(start, start + n)
    ]


def run(
    folder: Path, train: RawRows, test: RawRows, *, dataset: str = "sst2", data_seed: int = 0, **data: Any
) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """The tables and metrics of a dataset in JSON Lines files."""
    folder.mkdir(parents=True)
    inputs = {"train": folder / "train.jsonl", "test": folder / "test.jsonl"}
    for rows, path in ((train, inputs["train"]), (test, inputs["test"])):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    params = {
        "setting": "classify",
        "dataset": dataset,
        "source": {"kind": "folder"},
        "data_seed": data_seed,
        "data": DataConfig(**{**SMALL, "max_chars": 100, **data}).model_dump(),
    }
    metrics = prepare(params, inputs, folder, Silent())
    return {name: pq.read_table(folder / f"{name}.parquet") for name in OUTPUTS}, metrics


def ids(table: pa.Table) -> set[str]:
    return set(table["id"].to_pylist())


def n_positive(table: pa.Table) -> int:
    return sum(table["gt_label"].to_pylist())


def test_splits_have_the_sizes_that_are_asked_for(tmp_path: Path) -> None:
    tables, _ = run(tmp_path / "a", sentences(100), sentences(40, start=100), weak_fraction=0.25)
    assert [len(tables[name]) for name in OUTPUTS] == [10, 30, 10, 20]


def test_every_split_is_balanced(tmp_path: Path) -> None:
    tables, _ = run(tmp_path / "a", sentences(200, positive=3), sentences(90, start=200, positive=3))
    assert [n_positive(tables[name]) for name in OUTPUTS] == [10, 10, 5, 10]


def test_tables_have_the_columns_that_stages_read(tmp_path: Path) -> None:
    tables, _ = run(tmp_path / "a", sentences(100), sentences(40, start=100))
    assert {column.name: str(column.type) for column in tables["test"].schema} == {
        "id": "string",
        "group": "string",
        "passage": "string",
        "prompt": "string",
        "gt_label": "int8",
    }


def some_row(id_: str, group: str, also: str = "") -> Row:
    return Row(id_, group, ("", id_), 0, id_, also=also)


def test_rows_that_are_related_through_others_are_one_group() -> None:
    rows = [some_row("1", "d", "c"), some_row("2", "b", "a"), some_row("3", "c", "b"), some_row("4", "e")]
    assert [row.group for row in joined(rows)] == ["a", "a", "a", "e"]
    assert [row.group for row in joined(rows[::-1])] == ["e", "a", "a", "a"]


def test_no_group_is_in_two_splits(tmp_path: Path) -> None:
    tables, _ = run(tmp_path / "a", questions(40), questions(20, start=40), dataset="sciq")
    groups = [set(tables[name]["group"].to_pylist()) for name in OUTPUTS]
    assert len(set.union(*groups)) == sum(map(len, groups))


def test_both_answers_to_a_question_stay_together(tmp_path: Path) -> None:
    _, metrics = run(tmp_path / "a", questions(40), questions(20, start=40), dataset="sciq")
    assert [metrics[f"{name}_rows"] / metrics[f"{name}_groups"] for name in OUTPUTS] == [2, 2, 2, 2]


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(tmp_path / name, sentences(100), sentences(40, start=100))
    for name in OUTPUTS:
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()


@pytest.mark.parametrize("dataset", ["sst2", "sciq"])
def test_the_order_of_rows_does_not_matter(tmp_path: Path, dataset: str) -> None:
    make = {"sst2": sentences, "sciq": questions}[dataset]
    train, test = make(100), make(40, start=100)
    expected, _ = run(tmp_path / "a", train, test, dataset=dataset)
    random.Random(0).shuffle(train)
    random.Random(1).shuffle(test)
    assert run(tmp_path / "b", train, test, dataset=dataset)[0] == expected


def test_another_data_seed_gives_other_halves(tmp_path: Path) -> None:
    one, _ = run(tmp_path / "a", sentences(100), sentences(40, start=100))
    other, _ = run(tmp_path / "b", sentences(100), sentences(40, start=100), data_seed=1)
    assert ids(one["weak_train"]) != ids(other["weak_train"])


def test_an_edited_test_row_changes_nothing_that_is_trained_on(tmp_path: Path) -> None:
    train, test = sentences(100), sentences(40, start=100)
    before, _ = run(tmp_path / "a", train, test)
    for row in test:
        row["sentence"] += " edited"
    after, _ = run(tmp_path / "b", train, test)
    assert [before[name] == after[name] for name in OUTPUTS] == [True, True, True, False]


def test_an_edited_training_row_changes_no_test_row(tmp_path: Path) -> None:
    train, test = sentences(100), sentences(40, start=100)
    before, _ = run(tmp_path / "a", train, test)
    train[0]["sentence"] += " edited"
    assert run(tmp_path / "b", train, test)[0]["test"] == before["test"]


def test_an_edited_training_row_leaves_the_other_half_alone(tmp_path: Path) -> None:
    train, test = sentences(200), sentences(40, start=200)
    before, _ = run(tmp_path / "a", train, test)
    edited = before["weak_train"]["passage"][0].as_py()
    for row in train:
        if row["sentence"] == edited:
            row["label"] = 1 - row["label"]
    after, _ = run(tmp_path / "b", train, test)
    assert [before[name] == after[name] for name in OUTPUTS] == [False, True, True, True]


def test_more_test_rows_leave_training_alone(tmp_path: Path) -> None:
    train, test = sentences(100), sentences(40, start=100)
    before, _ = run(tmp_path / "a", train, test)
    after, _ = run(tmp_path / "b", train, test, n_test=30)
    assert [before[name] == after[name] for name in OUTPUTS] == [True, True, True, False]


def test_a_column_that_is_not_read_does_not_count(tmp_path: Path) -> None:
    train, test = sentences(100), sentences(40, start=100)
    before, _ = run(tmp_path / "a", train, test)
    after, _ = run(tmp_path / "b", [{**row, "idx": i} for i, row in enumerate(train)], test)
    assert after == before


def test_training_rows_that_stand_in_the_test_file_are_dropped(tmp_path: Path) -> None:
    train = [{**row, "sentence": row["sentence"].upper() + " "} for row in sentences(140)]
    tables, metrics = run(tmp_path / "a", train, sentences(40, start=100))
    assert metrics["train_dropped_in_test"] == 40
    assert len(tables["weak_train"]) == 20


def test_repeated_rows_count_once(tmp_path: Path) -> None:
    tables, metrics = run(tmp_path / "a", sentences(100) * 2, sentences(40, start=100))
    assert metrics["train_dropped_duplicate"] == 100
    assert len(ids(tables["weak_train"])) == 20


def test_a_question_is_too_long_if_one_of_its_rows_is(tmp_path: Path) -> None:
    train = questions(40)
    train[3] |= {f"distractor{k}": "long " * 30 for k in (1, 2, 3)}
    _, metrics = run(tmp_path / "a", train, questions(20, start=40), dataset="sciq")
    assert metrics["train_dropped_too_long"] == 2


def test_a_large_class_loses_its_surplus(tmp_path: Path) -> None:
    _, metrics = run(tmp_path / "a", sentences(300, positive=3), sentences(40, start=300))
    assert (metrics["train_dropped_unbalanced"], metrics["train_usable"]) == (100, 200)


def test_a_small_imbalance_is_kept_and_spread_evenly(tmp_path: Path) -> None:
    train = sentences(180) + [{"sentence": f"extra {i}", "label": 1} for i in range(20)]
    data = {"n_train": 160, "n_validation": 40}
    tables, metrics = run(tmp_path / "a", train, sentences(40, start=180), **data)
    assert metrics["train_dropped_unbalanced"] == 0
    assert [n_positive(tables[name]) for name in OUTPUTS] == [44, 44, 22, 10]


def test_an_unbalanced_test_split_can_be_kept(tmp_path: Path) -> None:
    tables, _ = run(tmp_path / "a", sentences(100), sentences(40, start=100, positive=4), n_test=40, balance_test=False)
    assert n_positive(tables["test"]) == 10


def failure(folder: Path, train: RawRows, test: RawRows, **data: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(folder, train, test, **data)
    return str(caught.value)


def test_too_few_training_rows_name_the_field_and_both_numbers(tmp_path: Path) -> None:
    message = failure(tmp_path / "a", sentences(30), sentences(40, start=30))
    assert message.startswith("data.n_train: 40 rows and 10 for validation asked of sst2, which has 30 usable ones")


def test_too_few_test_rows_name_the_field_and_both_numbers(tmp_path: Path) -> None:
    message = failure(tmp_path / "a", sentences(100), sentences(10, start=100))
    assert message.startswith("data.n_test: 20 rows asked of sst2, which has 10 usable ones")


def test_the_advice_for_too_few_rows_works(tmp_path: Path) -> None:
    tables, _ = run(tmp_path / "a", sentences(30), sentences(10, start=30), allow_fewer=True)
    assert [len(tables[name]) for name in OUTPUTS] == [12, 12, 6, 10]


def test_one_class_is_refused(tmp_path: Path) -> None:
    train = [{**row, "label": 1} for row in sentences(100)]
    message = failure(tmp_path / "a", train, sentences(40, start=100))
    assert message == "sst2: usable train rows must have both labels, 0 and 1, but all 100 have the label 1"


def test_no_usable_row_is_refused(tmp_path: Path) -> None:
    message = failure(tmp_path / "a", sentences(100), sentences(40, start=100), max_chars=1)
    assert message == "sst2: there must be test rows of both labels, 0 and 1, but all were dropped (too long 40)"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    message = failure(tmp_path / "a", [], sentences(40))
    assert message == "sst2: there must be train rows of both labels, 0 and 1, but there is no row"


def test_one_part_is_the_half_of_before_there_were_parts(tmp_path: Path) -> None:
    tables, _ = run(tmp_path / "a", questions(100), questions(40, start=100), dataset="sciq", n_parts=1)
    found = {split: stable_hash(*table["id"].to_pylist())[:12] for split, table in tables.items()}
    assert found == {
        "weak_train": "2980462bec0b",
        "transfer_train": "ec966f5005bb",
        "validation": "e0b491459965",
        "test": "7101606280c6",
    }


def test_parts_of_the_students_half_leave_the_supervisors_rows(tmp_path: Path) -> None:
    halves, parts = (
        run(tmp_path / f"{n}", sentences(200), sentences(40, start=200), n_parts=n)[0] for n in (1, 2)
    )  # fmt: skip
    assert halves["weak_train"] == parts["weak_train"]
    assert len(parts["transfer_train"]) == len(halves["transfer_train"]) // 2


def test_a_half_that_is_too_small_for_its_parts_is_one_line(tmp_path: Path) -> None:
    message = failure(tmp_path / "a", sentences(100), sentences(40, start=100), n_parts=11)
    assert message.startswith("data.n_parts: the student's half has 20 rows, and 11 parts need at least 2 each; ")


def test_too_few_rows_for_parts_are_one_line(tmp_path: Path) -> None:
    message = failure(tmp_path / "a", sentences(7), sentences(40, start=100), n_parts=3)
    assert "usable train rows are left; weak_train, part.1, part.2, transfer_train, validation need at" in message


def test_of_few_rows_every_split_gets_two(tmp_path: Path) -> None:
    tables, _ = run(tmp_path / "a", sentences(40), sentences(10, start=40), n_train=10_000, allow_fewer=True)
    assert [len(tables[name]) for name in OUTPUTS] == [17, 19, 2, 10]
    assert n_positive(tables["validation"]) == 1


def test_a_label_that_is_not_0_or_1_is_named_with_its_row(tmp_path: Path) -> None:
    test = [*sentences(40, start=100), {"sentence": "hidden", "label": -1}]
    assert failure(tmp_path / "a", sentences(100), test).startswith("sst2: row 41 of the test rows has the label -1")


def pooled(rows: list[Row], n_least: int) -> tuple[list[Row], Counter[str]]:
    """What a pool keeps of ``rows``, and what it drops."""
    dropped: Counter[str] = Counter(duplicate=0, surplus=0)
    pool = Pool(0, n_least, dropped)
    for row in rows:
        pool.add(row)
    return sorted(pool.close()), dropped


def in_groups(n: int, size: int) -> list[Row]:
    """``n`` rows in groups of this size."""
    return [Row(f"{i:04}", f"{i // size}", ("", ""), i % 2, f"{i:04}") for i in range(n)]


def test_a_pool_keeps_all_of_a_few_rows() -> None:
    rows = in_groups(100, 3)
    assert pooled(rows, 100) == (rows, Counter(duplicate=0, surplus=0))


def test_a_pool_keeps_the_fewest_whole_groups_that_suffice() -> None:
    kept, dropped = pooled(in_groups(1_000, 4), 50)
    assert Counter(Counter(row.group for row in kept).values()) == {4: 13}
    assert dropped == Counter(duplicate=0, surplus=948)


def test_what_a_pool_keeps_and_counts_does_not_depend_on_the_order_of_rows() -> None:
    rows = in_groups(400, 4) * 3
    expected = pooled(rows, 50)
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert pooled(rows, 50) == expected
    assert expected[1] == Counter(duplicate=104, surplus=1_044)


def test_a_pool_never_holds_many_more_rows_than_it_keeps() -> None:
    pool = Pool(0, 40, Counter())
    held = 0
    for row in in_groups(2_000, 1):
        pool.add(row)
        held = max(held, pool.n_rows)
    assert held == 50


@pytest.fixture
def least_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small dataset counts as a large one."""
    monkeypatch.setattr("w2s_core.entries.prepare.LEAST_KEPT", 0)


@pytest.mark.usefixtures("least_kept")
def test_a_large_split_is_chosen_from_a_part_of_it(tmp_path: Path) -> None:
    tables, metrics = run(tmp_path / "a", sentences(1_000), sentences(500, start=1_000))
    assert [len(tables[name]) for name in OUTPUTS] == [20, 20, 10, 20]
    assert metrics["train_dropped_surplus"] == 800
    assert metrics["test_dropped_surplus"] == 420


@pytest.mark.usefixtures("least_kept")
def test_training_rows_like_a_surplus_test_row_are_dropped(tmp_path: Path) -> None:
    _, metrics = run(tmp_path / "a", sentences(1_000), sentences(500, start=900))
    assert metrics["train_dropped_in_test"] == 100


@pytest.mark.usefixtures("least_kept")
def test_the_order_of_a_large_split_does_not_matter(tmp_path: Path) -> None:
    train, test = sentences(1_000), sentences(40, start=1_000)
    expected = run(tmp_path / "a", train, test)
    random.Random(0).shuffle(train)
    assert run(tmp_path / "b", train, test) == expected


def test_a_row_knows_its_number_over_all_shards(tmp_path: Path) -> None:
    inputs = {}
    for name, start in (("train-0", 0), ("train-1", 40), ("test", 80)):
        inputs[name] = tmp_path / f"{name}.jsonl"
        inputs[name].write_text("".join(json.dumps(row) + "\n" for row in questions(40, start=start)))
    data = DataConfig(**SMALL, max_chars=100).model_dump()
    collected = collect(
        {**CLASSIFY, "dataset": "sciq", "source": {"kind": "folder"}, "data_seed": 0, "data": data}, inputs
    )
    assert collected.n_raw == {"train": 80, "test": 40}
    assert {row.position for row in collected.usable["train"]} == set(range(1, 81))
    assert all(row.shown[1].endswith(f"A: {row.candidate}") for row in collected.splits["weak_train"])


def test_a_group_is_cut_only_where_whole_ones_do_not_suffice() -> None:
    rows = [Row(f"{g}{k}", f"{g}", ("", ""), k % 2, f"{g}{k}") for g in range(6) for k in range(3)]
    splits = sample_balanced(rows, {"one": 8, "other": 8}, seed=0)
    assert [len(split.rows) for split in splits.values()] == [8, 8]
    assert not {row.group for row in splits["one"].rows} & {row.group for row in splits["other"].rows}


def test_offline_rows_fill_every_split(tmp_path: Path) -> None:
    data = DataConfig(**SMALL, max_chars=1_000).model_dump()
    source = {"kind": "offline", "world": WorldConfig().model_dump()}
    params = {**CLASSIFY, "dataset": "boolq", "source": source, "data_seed": 0, "data": data}
    metrics = prepare(params, {}, tmp_path, Silent())
    assert [metrics[f"{name}_rows"] for name in OUTPUTS] == [20, 20, 10, 20]


@pytest.mark.parametrize("dataset", ["sst2", "amazon_polarity", "sciq", "boolq"])
def test_real_rows_fill_every_split(tmp_path: Path, dataset: str) -> None:
    if not (REAL / dataset).exists():
        pytest.skip("the sample of real rows is not here")
    inputs = {split: REAL / dataset / f"{split}.parquet" for split in ("train", "test")}
    data = DataConfig(n_train=1_000, n_validation=100, n_test=500, max_chars=2_000).model_dump()
    params = {**CLASSIFY, "dataset": dataset, "source": {"kind": "folder"}, "data_seed": 0, "data": data}
    metrics = prepare(params, inputs, tmp_path, Silent())
    assert [metrics[f"{name}_positive"] for name in OUTPUTS] == [250, 250, 50, 250]


def test_a_row_that_a_formatter_refuses_is_named(tmp_path: Path) -> None:
    rows = [{"scenario": f"text {i} [SEP] trait", "label": i % 2} for i in range(40)]
    broken = [*rows[:2], {"scenario": "text", "label": 0}]
    with pytest.raises(DataError, match=r"ethics_virtue: row 3 of the test rows: column 'scenario' must read"):
        run(tmp_path / "a", rows, broken, dataset="ethics_virtue")


def test_questions_that_cannot_be_asked_are_counted(tmp_path: Path) -> None:
    asked = questions(40)
    unasked = {**asked[0], **{f"distractor{k}": asked[0]["correct_answer"] for k in (1, 2, 3)}}
    _, metrics = run(tmp_path / "a", [*asked, unasked], questions(20, start=40), dataset="sciq")
    assert metrics["train_dropped_unasked"] == 1


def test_large_groups_that_are_all_that_is_left_do_not_unbalance_a_split(tmp_path: Path) -> None:
    def about(passages: range, sizes: tuple[int, int]) -> RawRows:
        return [
            {"passage": f"passage {p}", "question": f"question {q}", "answer": bool((p + q) % 2 == 0 or q >= sizes[1])}
            for p in passages
            for q in range(sizes[0])
        ]

    train, test = about(range(7), (9, 5)), about(range(7, 9), (8, 8))
    tables, _ = run(tmp_path / "a", train, test, dataset="boolq", n_train=400, n_validation=100, allow_fewer=True)
    for name in ("weak_train", "transfer_train", "validation"):
        assert 0.45 <= n_positive(tables[name]) / len(tables[name]) <= 0.55
