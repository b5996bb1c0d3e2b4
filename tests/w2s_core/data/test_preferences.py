"""Datasets of pairs: what their dialogues share, in which order completions stand, which rows give nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.plan.grid import DataConfig
from tests.places import REAL
from w2s_core.data.datasets import DATASETS, Preference
from w2s_core.data.layouts import folder_files
from w2s_core.entries.prepare import prepare
from w2s_core.watch import Silent

ASKED = "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Is it so?"


def never(n: int) -> int:
    raise AssertionError("nothing is drawn")


def pair(dataset: str = "hh_rlhf", **row: Any) -> Preference:
    [example] = DATASETS.get(dataset).format(row, never)
    assert isinstance(example, Preference)
    return example


def dialogues(chosen: str, rejected: str) -> dict[str, str]:
    return {"chosen": ASKED + chosen, "rejected": ASKED + rejected}


def test_the_shared_part_ends_where_the_answers_begin_that_differ() -> None:
    example = pair(**dialogues("\n\nAssistant: It is so.", "\n\nAssistant: It is not."))
    assert example.passage == ASKED.strip()
    assert {example.first, example.second} == {"Assistant: It is so.", "Assistant: It is not."}
    assert (example.first, example.second)[example.gt_label] == "Assistant: It is so."


def test_completions_may_go_on_with_further_turns() -> None:
    example = pair(**dialogues("\n\nAssistant: Yes.\n\nHuman: Good.\n\nAssistant: It is.", "\n\nAssistant: No."))
    assert (example.first, example.second)[example.gt_label].endswith("Human: Good.\n\nAssistant: It is.")


def test_dialogues_that_go_on_from_one_another_are_of_one_group() -> None:
    shorter = {name: f"\n\nHuman: Hi.\n\nAssistant:{text}" for name, text in (("chosen", "a"), ("rejected", "b"))}
    assert pair(**shorter).group == pair(**dialogues("\n\nAssistant: Yes.", "\n\nAssistant: No.")).group


@pytest.mark.parametrize(
    "row",
    [
        dialogues("\n\nAssistant: Yes. ", "\n\nAssistant:  Yes."),
        {"chosen": "\n\nHuman: a\n\nAssistant: Yes.", "rejected": "\n\nHuman: b\n\nAssistant: No."},
    ],
    ids=["equal completions", "nothing shared"],
)
def test_what_cannot_be_compared_gives_no_example(row: dict[str, str]) -> None:
    assert DATASETS.get("hh_rlhf").format(row, never) == []


def test_order_says_nothing_of_which_is_preferred() -> None:
    rows = [dialogues(f"\n\nAssistant: {i}.", f"\n\nAssistant: {-i}!") for i in range(1, 201)]
    there = [pair(**row) for row in rows]
    back = [pair(chosen=row["rejected"], rejected=row["chosen"]) for row in rows]
    assert [example.shown for example in there] == [example.shown for example in back]
    assert [example.gt_label for example in there] == [1 - example.gt_label for example in back]
    assert 70 <= sum(example.gt_label for example in there) <= 130


def test_any_files_of_prompt_chosen_and_rejected_are_a_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "preferences"
    folder.mkdir()
    rows = [
        {"prompt": f"Question {i}", "chosen": f"right {i}", "rejected": f"wrong {i}", "score": i} for i in range(80)
    ]
    for split, part in (("train", rows[:60]), ("test", rows[60:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    data = DataConfig(n_train=20, n_validation=6, n_test=8, max_chars=100).model_dump()
    params = {
        "setting": "prefer", "dataset": "preferences", "source": {"kind": "folder"}, "data_seed": 0, "data": data,
    }  # fmt: skip
    prepare(params, folder_files(tmp_path, "preferences"), tmp_path, Silent())
    table = pq.read_table(tmp_path / "test.parquet")
    assert table.column_names == ["id", "group", "passage", "first", "second", "gt_label"]
    for row in table.to_pylist():
        assert row[("first", "second")[row["gt_label"]]] == f"right {row['passage'].split()[1]}"


def test_limit_on_length_is_of_what_a_model_reads_at_once(tmp_path: Path) -> None:
    example = {"prompt": "p" * 10, "chosen": "c" * 20, "rejected": "r" * 30}
    rows = [{name: text + f" {i}" for name, text in example.items()} for i in range(10, 60)]
    files = {split: tmp_path / f"{split}.jsonl" for split in ("train", "test")}
    for file in files.values():
        file.write_text("".join(json.dumps(row) + "\n" for row in (rows[:35] if file == files["train"] else rows[35:])))
    data = DataConfig(n_train=20, n_validation=6, n_test=8, max_chars=13 + 33).model_dump()
    params = {"setting": "prefer", "dataset": "preferences", "source": {"kind": "folder"}, "data_seed": 0}
    assert prepare({**params, "data": data}, files, tmp_path, Silent())["test_dropped_too_long"] == 0


def test_a_clone_of_the_repository_has_both_parts(tmp_path: Path) -> None:
    for part in ("helpful-base", "harmless-base"):
        folder = tmp_path / "hh-rlhf" / part
        folder.mkdir(parents=True)
        for split in ("train", "test"):
            (folder / f"{split}.jsonl.gz").touch()
    for name, part in (("hh_helpful", "helpful-base"), ("hh_harmless", "harmless-base")):
        files = folder_files(tmp_path, name)
        assert {split: file.parent.name for split, file in files.items()} == {"train": part, "test": part}


def test_real_dialogues_share_what_comes_before_the_answers() -> None:
    file = REAL / "hh_rlhf" / "train.parquet"
    if not file.exists():
        pytest.skip("the sample of real rows is not here")
    rows = pq.read_table(file).slice(0, 300).to_pylist()
    examples = [example for row in rows for example in DATASETS.get("hh_rlhf").format(row, never)]
    assert len(examples) > 0.98 * len(rows)
    for example in examples:
        passage, first, second = example.shown
        assert passage.startswith("Human:")
        assert first.startswith("Assistant:")
        assert second.startswith("Assistant:")
