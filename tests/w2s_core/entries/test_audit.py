"""The stage ``audit``: facts about splits, duplicates, lengths in tokens, and the verdict on a dataset."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from artifacts.identity.fingerprint import Sources, fingerprint
from flows.plan.grid import DataConfig
from tests.places import REAL
from tests.tiny_models import CLASSIFY, VIEW, tiny_tokenizer
from w2s_core.config import WorldConfig
from w2s_core.data.checks import SCHEMA, Check
from w2s_core.data.datasets import DATASETS, Draw, Example, RawRow, multiple_choice
from w2s_core.data.sampling import Row
from w2s_core.entries.audit import Tokenizer, audit, data_checks, token_checks
from w2s_core.entries.prepare import Collected
from w2s_core.errors import DataError
from w2s_core.hashes import stable_hash, stable_int
from w2s_core.offline.rows import raw_rows
from w2s_core.settings.setting import VIEWS
from w2s_core.watch import Silent

N = 400


def row(text: str, gt_label: int = 0, group: str = "", prompt: str = "Good ?") -> Row:
    return Row(stable_hash(text, gt_label, prompt), group or text, (text, prompt), gt_label, "")


def rows(*texts: str) -> list[Row]:
    """Labels take turns."""
    return [row(text, i % 2) for i, text in enumerate(texts)]


TEXTS = VIEWS.get("classify")


def collected(**changed: list[Row]) -> Collected:
    """A dataset of two rows per split, but for those given; ``train`` and ``usable_test`` are what was usable."""
    splits = {
        "weak_train": rows("a b", "c d"),
        "transfer_train": rows("e f", "g h"),
        "validation": rows("i j", "k l"),
        "test": rows("m n", "o p"),
    }
    splits |= {name: of_split for name, of_split in changed.items() if name in splits}
    train = [row for name, of_split in splits.items() if name != "test" for row in of_split]
    usable = {"train": changed.get("train", train), "test": changed.get("usable_test", splits["test"])}
    dropped = {raw: Counter(too_long=0, duplicate=0, in_test=0, surplus=0, unbalanced=0) for raw in usable}
    return Collected(splits, usable, {raw: len(kept) for raw, kept in usable.items()}, dropped, [])


def check(data: Collected, split: str, name: str) -> Check:
    return next(check for check in data_checks(data, TEXTS) if (check.split, check.check) == (split, name))


def value(data: Collected, split: str, name: str) -> float:
    return check(data, split, name).value


def test_no_check_is_made_twice() -> None:
    names = [(check.split, check.check) for check in data_checks(collected(), TEXTS)]
    assert len(names) == len(set(names))


def test_distinct_rows_are_fine() -> None:
    assert {check.verdict for check in data_checks(collected(), TEXTS)} == {None, "ok"}


def test_rows_that_were_dropped_are_counted_by_reason() -> None:
    data = collected()
    data.dropped["train"]["duplicate"] = 3
    assert value(data, "train", "dropped.duplicate") == 3.0
    assert value(data, "train", "kept") == 6.0


def test_many_long_rows_are_worth_a_warning() -> None:
    data = collected()
    data.dropped["train"]["too_long"] = 2
    found = check(data, "train", "too_long")
    assert (found.value, found.threshold, found.verdict) == (0.25, 0.2, "warn")
    assert found.detail == "25.0% of the examples are longer than max_chars"


def test_training_rows_of_test_groups_are_worth_a_warning() -> None:
    data = collected()
    data.dropped["train"]["in_test"] = 2
    assert check(data, "train", "in_test").verdict == "warn"


def test_a_text_that_comes_twice_with_one_label_is_a_duplicate() -> None:
    train = [*rows("a", "b", "c", "d"), row("a", group="other")]
    assert value(collected(train=train), "train", "duplicates") == pytest.approx(0.2)
    assert value(collected(train=train), "train", "contradictions") == 0.0


def test_a_text_with_both_labels_is_a_contradiction() -> None:
    train = [*rows("a", "b", "c"), row("a", 1)]
    found = check(collected(train=train), "train", "contradictions")
    assert (found.value, found.verdict) == (0.5, "fail")
    assert value(collected(train=train), "train", "duplicates") == 0.0


def test_a_text_in_both_halves_is_shared() -> None:
    data = collected(transfer_train=rows("a b", "x y"))
    assert value(data, "all", "shared.halves.exact") == value(data, "all", "shared.halves.near") == 0.5


def test_a_text_in_two_parts_is_shared() -> None:
    data = collected(transfer_train=rows("e f", "q r"))
    data.splits["part.1"], data.splits["part.2"] = rows("a b", "q r"), rows("q r", "s t")
    names = ("part.1", "part.2", "halves")
    assert [value(data, "all", f"shared.{name}.exact") for name in names] == [0.5, 0.5, 0.5]


def test_texts_that_differ_in_punctuation_are_nearly_the_same() -> None:
    data = collected(test=rows("A, b!", "x y"))
    assert value(data, "all", "shared.test.exact") == 0.0
    assert check(data, "all", "shared.test.near").verdict == "fail"


def test_texts_without_a_letter_are_not_all_the_same() -> None:
    marks = [row("+", prompt="?"), row("-", prompt="?")]
    assert value(collected(weak_train=marks[:1], transfer_train=marks[1:]), "all", "shared.halves.near") == 0.0


def test_test_texts_are_looked_for_in_all_training_rows() -> None:
    data = collected(train=rows("m n", "never sampled"))
    assert value(data, "all", "shared.test.exact") == 0.5


def test_an_unbalanced_split_is_worth_a_warning() -> None:
    data = collected(test=[row("a", 1), row("b", 1), row("c", 0)])
    found = check(data, "test", "majority")
    assert (found.verdict, found.detail) == ("warn", "66.7% of the examples are of class 1")
    assert value(data, "test", "class_1") == pytest.approx(2 / 3)


def test_groups_and_their_sizes_are_counted() -> None:
    data = collected(test=[row("a", 0, "g"), row("b", 1, "g"), row("c", 1, "g"), row("d", 0, "h")])
    sizes = [value(data, "test", name) for name in ("groups", "rows_per_group.mean", "rows_per_group.max")]
    assert sizes == [2.0, 2.0, 3.0]


def test_lengths_are_of_passage_and_prompt() -> None:
    data = collected(test=[row("a" * n, n % 2) for n in range(1, 101)])
    lengths = [value(data, "test", f"length.chars.{name}") for name in ("min", "p50", "p95", "max")]
    assert lengths == [1 + 7, 50 + 7, 95 + 7, 100 + 7]


def tokens(rows: list[Row], max_length: int, tmp_path: Path) -> dict[str, Check]:
    checks = token_checks(
        "test", rows, "tiny", Tokenizer(tiny_tokenizer(with_specials=True), max_length), CLASSIFY, VIEW, tmp_path
    )
    return {check.check.removeprefix("tokens.tiny."): check for check in checks}


def test_rows_are_measured_in_tokens_with_those_that_frame_them(tmp_path: Path) -> None:
    found = tokens([row("one two three"), row("one")], 32, tmp_path)
    assert [found[name].value for name in ("min", "max", "cut", "unreadable")] == [6.0, 8.0, 0.0, 0.0]


def test_rows_that_a_model_cuts_are_counted(tmp_path: Path) -> None:
    found = tokens([row("one two three"), row("one")], 7, tmp_path)["cut"]
    assert (found.value, found.verdict) == (0.5, "warn")
    assert found.detail == "50.0% of the texts lose their beginning at the 7 tokens of tiny"


def test_a_prompt_that_a_model_cannot_read_is_a_fault(tmp_path: Path) -> None:
    found = tokens([row("one"), row("one", prompt="one two three good ?")], 6, tmp_path)["unreadable"]
    assert (found.value, found.verdict) == (1.0, "fail")
    assert "lower data.max_chars" in found.detail


def sentence(*parts: Any) -> str:
    return " ".join(f"w{stable_int(*parts, i) % 100}" for i in range(10))


def run(folder: Path, dataset: str, files: dict[str, list[dict[str, Any]]], **params: Any) -> dict[str, Any]:
    """The metrics of an audit of JSON Lines files; its table is in ``folder``."""
    inputs = params.pop("inputs", {})
    for split, lines in files.items():
        inputs[split] = folder / f"{split}.jsonl"
        inputs[split].write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = DataConfig(n_train=200, n_validation=20, n_test=40, max_chars=1_000, allow_fewer=True)
    source = {"kind": "folder"}
    params = {
        "setting": DATASETS.get(dataset).setting,
        "dataset": dataset,
        "source": source,
        "data_seed": 0,
        "data": data.model_dump(),
        "tokenizers": [],
        "corpus": ["words"],
        **params,
    }
    return audit(params, inputs, folder, Silent())


def statements(split: str, n: int, marker: str = "") -> list[dict[str, Any]]:
    """Rows of sst2; ``marker`` stands in those of class 1."""
    labels = [stable_int("label", split, i) % 2 for i in range(n)]
    return [
        {"sentence": f"{sentence(split, i)} {marker * label} {sentence(i)}", "label": label}
        for i, label in enumerate(labels)
    ]


def test_an_audit_leaves_a_table_of_checks(tmp_path: Path) -> None:
    metrics = run(tmp_path, "sst2", {"train": statements("train", N), "test": statements("test", 80)})
    written = pq.read_table(tmp_path / "checks.parquet")
    assert written.schema.equals(SCHEMA)
    assert metrics["rows_in"] == N + 80
    assert (metrics["verdict"], metrics["reasons"]) == ("ok", "")


def test_a_marker_that_reveals_labels_fails_the_dataset(tmp_path: Path) -> None:
    metrics = run(tmp_path, "sst2", {"train": statements("train", N, "zq"), "test": statements("test", 80, "zq")})
    assert metrics["verdict"] == "fail"
    assert "train: the word 'zq' gives the label away in" in metrics["reasons"]


def letter_if_right(row: RawRow, draw: Draw) -> list[Example]:
    """The fault of a public formatter of OpenBookQA: right answers are shown by their letter, wrong ones by text."""
    texts = dict(zip(row["choices"]["label"], row["choices"]["text"], strict=True))
    wrong = [text for letter, text in texts.items() if letter != row["answerKey"]]
    return multiple_choice(row["question_stem"], row["answerKey"], wrong, draw)


def test_a_formatter_that_shows_letters_for_right_answers_alone_fails_its_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {split: raw_rows(WorldConfig(), "openbookqa", split, n) for split, n in (("train", N), ("test", 80))}
    assert run(tmp_path, "openbookqa", files)["verdict"] == "ok"

    faulty = dataclasses.replace(DATASETS.get("openbookqa"), format=letter_if_right)
    monkeypatch.setitem(DATASETS._entries, "openbookqa", faulty)

    metrics = run(tmp_path, "openbookqa", files)
    assert metrics["verdict"] == "fail"
    assert "train: the length of the shown answer tells the label" in metrics["reasons"]
    assert "train: the form of the shown answer (" in metrics["reasons"]


def test_situations_that_reveal_their_label_fail_the_dataset(tmp_path: Path) -> None:
    files = {
        split: [
            {"scenario": row["sentence"] + " because it is right" * row["label"], "label": row["label"]}
            for row in statements(split, n)
        ]
        for split, n in (("train", N), ("test", 80))
    }
    metrics = run(tmp_path, "ethics_justice", files)
    assert metrics["verdict"] == "fail"
    assert "gives the label away" in metrics["reasons"]


def test_a_space_that_the_formatter_removes_reveals_nothing(tmp_path: Path) -> None:
    files = {"train": statements("train", N), "test": statements("test", 80)}
    for raw_row in files["train"]:
        raw_row["sentence"] += "  " * raw_row["label"]
    assert run(tmp_path, "sst2", files)["verdict"] == "ok"


def test_tokens_are_counted_for_each_tokenizer(tmp_path: Path) -> None:
    offline = {"name": "small", "kind": "offline", "max_length": 8, "hub": None, "n_words": 64}
    offline["world"] = WorldConfig().model_dump()
    folder = {"name": "local", "kind": "folder", "max_length": 64, "hub": None, "n_words": None, "world": None}
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    files = {"train": statements("train", N), "test": statements("test", 80)}
    inputs = {"tokenizer.local": tmp_path / "model"}
    run(tmp_path, "sst2", files, tokenizers=[offline, folder], inputs=inputs)
    checks = pq.read_table(tmp_path / "checks.parquet").to_pylist()
    found = {(check["split"], check["check"]): check["value"] for check in checks}
    assert found["test", "tokens.small.cut"] == 1.0
    assert found["weak_train", "tokens.local.cut"] == 0.0


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    spec = {"name": "local", "kind": "folder", "max_length": 64, "hub": None, "n_words": None, "world": None}
    (tmp_path / "model").mkdir()
    files = {"train": statements("train", N), "test": statements("test", 80)}
    with pytest.raises(DataError, match=r"model: cannot read the tokenizer: "):
        run(tmp_path, "sst2", files, tokenizers=[spec], inputs={"tokenizer.local": tmp_path / "model"})


def test_an_audit_depends_on_the_formatter_of_its_own_dataset_alone() -> None:
    params = {"setting": "classify", "dataset": "sst2", "source": {"kind": "folder"}, "corpus": ["words"]}
    reached = " ".join(fingerprint(Sources.on_disk("w2s_core"), "w2s_core.entries.audit:audit", params).parts)
    assert "w2s_core.data.nlp.texts:_sst2" in reached
    assert "w2s_core.data.leaks:FEATURES" in reached
    assert "amazon" not in reached


@pytest.mark.slow
@pytest.mark.parametrize("name", DATASETS.names())
def test_no_real_dataset_fails(name: str, tmp_path: Path) -> None:
    if not (REAL / name).exists():
        pytest.skip("the sample of real rows is not here")
    files = {split: pq.read_table(REAL / name / f"{split}.parquet").to_pylist() for split in ("train", "test")}
    assert run(tmp_path, name, files)["verdict"] != "fail"
