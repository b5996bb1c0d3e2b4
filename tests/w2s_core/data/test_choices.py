"""Multiple choice: exact examples of made-up rows, and what no formatter may give away."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.plan.grid import DataConfig
from w2s_core.config import WorldConfig
from w2s_core.data.datasets import DATASETS, Example
from w2s_core.entries.prepare import prepare
from w2s_core.errors import DataError
from w2s_core.hashes import stable_hash
from w2s_core.offline.rows import raw_rows
from w2s_core.watch import Silent

ROWS: dict[str, list[tuple[Any, ...]]] = {
    "cosmos_qa": [
        (
            "My  toast burnt .",
            "What smelled ?",
            "The toast .",
            "The cat .",
            "None of the above choices .",
            "The rain .",
            0,
        ),
        (
            "She took a tent .",
            "Where to ?",
            "To an opera .",
            "None of the above choices .",
            "To the hills .",
            "To bed .",
            2,
        ),
        ("He saw a train .", "Which colour ?", "Red .", "Blue .", "Green .", "None of the above choices .", 3),
    ],
    "dream": [
        (["W: Open? ", "M: At nine."], "When?", ["At nine.", "At eight.", "At ten."], "At nine."),
        (["M: My key?", "W: In  bed."], "Where is it?", ["In a car.", "In bed.", "At work."], "In bed."),
        (["W: Two tickets."], "What is it?", ["A map.", "A seat.", "Tickets."], "Tickets."),
    ],
    "hellaswag": [
        ("He lifts it. he", ["sets it down.", "eats it.", "sings to it.", "wears it."], "video~1", "0"),
        (
            "[header] Fruit [step] Wash it.",
            ["[substeps] Dry it.", "Paint it. [title] Sell it.", "Lose it.", "Ask it."],
            "page~2",
            "0",
        ),
        ("A dog waits. it", [", it reads.", "runs off.", ", it drives.", "prays."], "", "1"),
    ],
    "openbookqa": [
        ("Bees carry", {"text": ["pollen", "hammers", "all of these", "rivers"], "label": list("ABCD")}, "A"),
        (
            "which of these melts?",
            {"text": ["a brick", "a snowman", "a coin", "none of these"], "label": list("ABCD")},
            "B",
        ),
        (
            "Night falls since",
            {"text": ["we tire", "lamps go on", "owls call", "the earth turns"], "label": list("ABCD")},
            "D",
        ),
    ],
    "piqa": [
        ("keep a door open", "Put a wedge under it. ", "Put a wedge over it.", 0),
        ("How do I cool soup?", "heat it  for longer", "stir it and wait", 1),
        ("ruler", "draws straight lines", "draws perfect circles", 0),
    ],
    "quail": [
        ("Tom got a boat.", "What did he get?", ["a boat", "a bike", "not enough information", "a house"], 0),
        ("Tom got a boat.", "What did he eat?", ["a fish", "bread", "an egg", "not enough information"], 3),
        ("Ann hid it.", "Why?", ["not enough information", "It was hot.", "It was secret.", "She slept."], 2),
    ],
    "quartz": [
        ("Steep is fast.", "Now it is flat. It is", {"text": ["faster", "slower"], "label": list("AB")}, "B"),
        ("Steep is fast.", "Who wins?", {"text": ["the steep one ", "the flat one"], "label": list("AB")}, "A"),
        ("Salt slows ice.", "Salted, it freezes", {"text": ["later", "sooner"], "label": list("AB")}, "A"),
    ],
    "sciq": [
        ("What do lungs take in?", "air", "Soil", "Light", "Iron"),
        ("Which gas do plants give off? ", "oxygen", "Helium", "neon", "Argon"),
        ("What is frozen water called?", "ice", "steam", "Ice", "dew"),
    ],
    "social_iqa": [
        ("Kim lent a coat.", "How does Lee feel?", "warm", "angry at  Kim", "taller", "1"),
        ("Kim lent a coat.", "Why did Kim?", "to be cold", "to help Lee", "to sell it", "2\n"),
        ("Max is late.", "What will Max do?", "grow wings", "win a race", "hurry", "3"),
    ],
}
"""Columns in the order of the dataset."""

EXAMPLES: dict[str, list[tuple[str, int, str, str, str]]] = {
    "cosmos_qa": [
        ("4df325839b88977d6f24", 1, "My toast burnt .", "My toast burnt .", "Q: What smelled ?\nA: The toast ."),
        ("82b6a25d7b5a0ad5b058", 0, "My toast burnt .", "My toast burnt .", "Q: What smelled ?\nA: The rain ."),
        ("3d25430a22f8d477ea27", 1, "She took a tent .", "She took a tent .", "Q: Where to ?\nA: To the hills ."),
        ("142c002e3e4731e63498", 0, "She took a tent .", "She took a tent .", "Q: Where to ?\nA: To an opera ."),
    ],
    "dream": [
        ("684c5551001e19bbf889", 1, "W: Open?\nM: At nine.", "W: Open?\nM: At nine.", "Q: When?\nA: At nine."),
        ("ac4086eea991dfd91dbe", 0, "W: Open?\nM: At nine.", "W: Open?\nM: At nine.", "Q: When?\nA: At ten."),
        ("2df00f18222ffa013632", 1, "M: My key?\nW: In bed.", "M: My key?\nW: In bed.", "Q: Where is it?\nA: In bed."),
        ("2bcc36e012097564a929", 0, "M: My key?\nW: In bed.", "M: My key?\nW: In bed.", "Q: Where is it?\nA: At work."),
        ("07a11b0e5e944e4b448c", 1, "W: Two tickets.", "W: Two tickets.", "Q: What is it?\nA: Tickets."),
        ("764dd03f9da330869c20", 0, "W: Two tickets.", "W: Two tickets.", "Q: What is it?\nA: A map."),
    ],
    "hellaswag": [
        ("3da475e489012d14140c", 1, "video~1", "He lifts it. he", "Q: How does it go on?\nA: sets it down."),
        ("9c6c318aad1f9e8c0d3b", 0, "video~1", "He lifts it. he", "Q: How does it go on?\nA: eats it."),
        ("c985d53f3f3b8be7c6bc", 1, "page~2", "Fruit Wash it.", "Q: How does it go on?\nA: Dry it."),
        ("b764b515b2a01ec7e631", 0, "page~2", "Fruit Wash it.", "Q: How does it go on?\nA: Ask it."),
        ("9260f409cef2e705337c", 1, "A dog waits. it", "A dog waits. it", "Q: How does it go on?\nA: runs off."),
        ("f44de7e5f8b0573f176a", 0, "A dog waits. it", "A dog waits. it", "Q: How does it go on?\nA: , it drives."),
    ],
    "openbookqa": [
        ("d03928dd5798054d9d80", 1, "Bees carry", "", "Q: Bees carry\nA: pollen"),
        ("38b324df8f5fa339c3b8", 0, "Bees carry", "", "Q: Bees carry\nA: rivers"),
        ("906bacb804f03675b6a6", 1, "which of these melts?", "", "Q: which of these melts?\nA: a snowman"),
        ("0bb7e80b6bc3c15e4459", 0, "which of these melts?", "", "Q: which of these melts?\nA: a coin"),
        ("8aca60b5e7355404b4dd", 1, "Night falls since", "", "Q: Night falls since\nA: the earth turns"),
        ("3aac54b8b051452eb930", 0, "Night falls since", "", "Q: Night falls since\nA: we tire"),
    ],
    "piqa": [
        ("7407e4893cdea75553ed", 1, "keep a door open", "", "Q: keep a door open\nA: Put a wedge under it."),
        ("8648a0f53673a4cff53c", 0, "keep a door open", "", "Q: keep a door open\nA: Put a wedge over it."),
        ("9dc7301b8370936e6bdb", 1, "How do I cool soup?", "", "Q: How do I cool soup?\nA: stir it and wait"),
        ("7f518879248df57d83f4", 0, "How do I cool soup?", "", "Q: How do I cool soup?\nA: heat it for longer"),
        ("1110f48b4cd3dc9566a5", 1, "ruler", "", "Q: ruler\nA: draws straight lines"),
        ("5493ae50f09768a97308", 0, "ruler", "", "Q: ruler\nA: draws perfect circles"),
    ],
    "quail": [
        ("2d83589e1158483560cb", 1, "Tom got a boat.", "Tom got a boat.", "Q: What did he get?\nA: a boat"),
        ("f1b22ca19235ed26f6c1", 0, "Tom got a boat.", "Tom got a boat.", "Q: What did he get?\nA: a bike"),
        ("6933ba628edfe27d1032", 1, "Ann hid it.", "Ann hid it.", "Q: Why?\nA: It was secret."),
        ("0e898722fbb23bec2c28", 0, "Ann hid it.", "Ann hid it.", "Q: Why?\nA: It was hot."),
    ],
    "quartz": [
        ("3da3d1b30b6f011471e0", 1, "Steep is fast.", "Steep is fast.", "Q: Now it is flat. It is\nA: slower"),
        ("ce23fe485462cdb228e6", 0, "Steep is fast.", "Steep is fast.", "Q: Now it is flat. It is\nA: faster"),
        ("d9a4b90e088440bb4205", 1, "Steep is fast.", "Steep is fast.", "Q: Who wins?\nA: the steep one"),
        ("058f1e5975e58db3dd49", 0, "Steep is fast.", "Steep is fast.", "Q: Who wins?\nA: the flat one"),
        ("de7bd8fa78a5e73e94c6", 1, "Salt slows ice.", "Salt slows ice.", "Q: Salted, it freezes\nA: later"),
        ("7fd3410f7d5fdb601c4b", 0, "Salt slows ice.", "Salt slows ice.", "Q: Salted, it freezes\nA: sooner"),
    ],
    "sciq": [
        ("7ace084713f3a5f69558", 1, "What do lungs take in?", "", "Q: What do lungs take in?\nA: air"),
        ("19185facb4172f83f9a4", 0, "What do lungs take in?", "", "Q: What do lungs take in?\nA: iron"),
        ("e9663bb855822d3c5d86", 1, "Which gas do plants give off?", "", "Q: Which gas do plants give off?\nA: oxygen"),
        ("3100d95696badf7581ab", 0, "Which gas do plants give off?", "", "Q: Which gas do plants give off?\nA: argon"),
        ("0069a61346c903e16dc2", 1, "What is frozen water called?", "", "Q: What is frozen water called?\nA: ice"),
        ("ff7f6e8cc3bf4ba05a65", 0, "What is frozen water called?", "", "Q: What is frozen water called?\nA: dew"),
    ],
    "social_iqa": [
        ("52a14073a025cde2111e", 1, "Kim lent a coat.", "Kim lent a coat.", "Q: How does Lee feel?\nA: warm"),
        ("cba9107c4cb6ae481f97", 0, "Kim lent a coat.", "Kim lent a coat.", "Q: How does Lee feel?\nA: angry at Kim"),
        ("9c926f90dbead54c7cf8", 1, "Kim lent a coat.", "Kim lent a coat.", "Q: Why did Kim?\nA: to help Lee"),
        ("b1f1b5ff709d1b187f9d", 0, "Kim lent a coat.", "Kim lent a coat.", "Q: Why did Kim?\nA: to be cold"),
        ("0b552138563d26314506", 1, "Max is late.", "Max is late.", "Q: What will Max do?\nA: hurry"),
        ("c9b2ef14004356379039", 0, "Max is late.", "Max is late.", "Q: What will Max do?\nA: grow wings"),
    ],
}
"""Id, label, group, passage, prompt."""


def row_of(name: str, values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(DATASETS.get(name).columns, values, strict=True))


def row(name: str, n: int = 0, **changes: Any) -> dict[str, Any]:
    """A golden row of a dataset with some columns changed."""
    return row_of(name, ROWS[name][n]) | changes


def examples(name: str, row: dict[str, Any], drawn: int = 0) -> list[Example]:
    return DATASETS.get(name).format(row, lambda n: drawn)


@pytest.mark.parametrize("name", ROWS)
def test_made_up_rows_become_exactly_these_examples(tmp_path: Path, name: str) -> None:
    files = {
        "train": raw_rows(WorldConfig(), name, "train", 40),
        "test": [row_of(name, values) for values in ROWS[name]],
    }
    inputs = {split: tmp_path / f"{split}.jsonl" for split in files}
    for split, rows in files.items():
        inputs[split].write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = DataConfig(n_train=20, n_validation=10, n_test=6, max_chars=1_000, allow_fewer=True).model_dump()
    params = {"setting": "classify", "dataset": name, "source": {"kind": "folder"}, "data_seed": 0, "data": data}
    prepare(params, inputs, tmp_path, Silent())
    expected = [
        {
            "id": id,
            "group": stable_hash(name, re.sub(r"[\W_]+", " ", group.casefold()).strip()),
            "passage": passage,
            "prompt": prompt,
            "gt_label": gt_label,
        }
        for id, gt_label, group, passage, prompt in EXAMPLES[name]
    ]
    assert sorted(pq.read_table(tmp_path / "test.parquet").to_pylist(), key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("name", ROWS)
def test_the_candidate_is_the_answer_that_the_prompt_ends_in(name: str) -> None:
    for example in examples(name, row(name)):
        assert example.prompt.endswith(f"\nA: {example.candidate}")


@pytest.mark.parametrize(
    ("name", "column", "hidden", "keys"),
    [
        ("cosmos_qa", "label", -1, "0, 1, 2, 3"),
        ("hellaswag", "label", "", "'0', '1', '2', '3'"),
        ("openbookqa", "answerKey", "", "'A', 'B', 'C', 'D'"),
        ("piqa", "label", -1, "0, 1"),
        ("quail", "correct_answer_id", -1, "0, 1, 2, 3"),
        ("quartz", "answerKey", "C", "'A', 'B'"),
        ("social_iqa", "label", "0", "'1', '2', '3'"),
    ],
)
def test_a_key_without_an_answer_names_its_column(name: str, column: str, hidden: str | int, keys: str) -> None:
    with pytest.raises(DataError) as caught:
        examples(name, row(name, **{column: hidden}))
    expected = f"column {column!r} must be one of {keys}, but is {hidden!r} (a split with hidden labels cannot be used)"
    assert str(caught.value) == expected


@pytest.mark.parametrize("missing", [["one."], ["one.", "two.", "three."]])
def test_a_key_beyond_the_answers_is_refused(missing: list[str]) -> None:
    with pytest.raises(DataError, match="but is '3'"):
        examples("hellaswag", row("hellaswag", endings=missing, label="3"))


STOCK = ["None of the above choices .", "all of the above", "None of these", "Both A and B.", "not enough information"]


@pytest.mark.parametrize("answer", STOCK)
def test_a_stock_answer_is_never_the_wrong_one(answer: str) -> None:
    changed = row("cosmos_qa", answer1=answer, answer2=answer)
    assert examples("cosmos_qa", changed)[1].candidate == changed["answer3"]


@pytest.mark.parametrize("answer", STOCK)
def test_a_question_that_a_stock_answer_answers_is_left_out(answer: str) -> None:
    assert examples("cosmos_qa", row("cosmos_qa", answer0=answer)) == []


def test_an_answer_that_only_begins_like_a_stock_answer_is_kept() -> None:
    assert examples("cosmos_qa", row("cosmos_qa", answer0="All of these trees fell ."))[0].gt_label == 1


@pytest.mark.parametrize("name", ["openbookqa", "quartz"])
def test_right_and_wrong_answers_alike_are_shown_as_text(name: str) -> None:
    texts = row(name)["choices"]["text"]
    assert all(example.candidate in texts for example in examples(name, row(name)))


def test_the_case_of_an_answer_tells_nothing() -> None:
    sciq = row("sciq", correct_answer="NASA", distractor1="The Moon")
    assert [example.candidate for example in examples("sciq", sciq)] == ["nasa", "the moon"]


def test_marks_of_how_to_texts_are_removed() -> None:
    assert not any("[" in example.passage + example.prompt for example in examples("hellaswag", row("hellaswag", 1)))


def test_texts_of_one_source_share_a_group() -> None:
    other = row("hellaswag", ctx="Then he climbs. he")
    assert examples("hellaswag", other)[0].group == examples("hellaswag", row("hellaswag"))[0].group


def test_texts_without_a_source_have_a_group_each() -> None:
    texts = [row("hellaswag", source_id="", ctx=ctx) for ctx in ("one he", "two he")]
    assert len({examples("hellaswag", text)[0].group for text in texts}) == 2


@pytest.mark.parametrize("name", ["cosmos_qa", "dream", "quail", "quartz", "social_iqa"])
def test_questions_about_one_text_share_its_group(name: str) -> None:
    other = row(name, question="And then?")
    assert {example.group for example in examples(name, other)} == {examples(name, row(name))[0].group}


def test_speakers_keep_their_lines() -> None:
    assert examples("dream", row("dream"))[0].passage.splitlines() == ["W: Open?", "M: At nine."]


@pytest.mark.parametrize(
    ("name", "column", "n_answers"),
    [
        ("cosmos_qa", "label", 4),
        ("hellaswag", "label", 4),
        ("openbookqa", "answerKey", 4),
        ("piqa", "label", 2),
        ("quail", "correct_answer_id", 4),
        ("quartz", "answerKey", 2),
        ("social_iqa", "label", 3),
    ],
)
def test_the_right_answer_of_generated_rows_stands_in_every_place(name: str, column: str, n_answers: int) -> None:
    assert len({made[column] for made in raw_rows(WorldConfig(), name, "train", 60)}) == n_answers
