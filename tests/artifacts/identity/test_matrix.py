"""The matrix of edits: what a change makes run again, counted in executions."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.harness import N_NODES, TINY, Project

GOOD = ["a fine and moving film", "warm, funny and wise", "great fun from start to end", "a joy to watch"]
LONG = {"sentence": "far too long " * 1000}
BAD = ["dull and far too long", "a mess without a plot", "cold, slow and silly", "not worth the time"]


def rows(split: str, n_rows: int) -> list[dict[str, Any]]:
    """Rows in the schema of SST-2, half of each class, no two alike."""
    return [
        {"sentence": f"{(GOOD if i % 2 else BAD)[i // 2 % 4]} {split} number {i}", "label": i % 2, "idx": i}
        for i in range(n_rows)
    ]


def write_rows(path: Path, items: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")


def edit_row(path: Path, index: int, **changes: Any) -> None:
    items = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    items[index].update(changes)
    write_rows(path, items)


def grid(folder: Path, **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(TINY), "source": str(folder / "data"), **changes}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of the tiny grid on files."""
    folder = tmp_path_factory.mktemp("matrix") / "work"
    for dataset in ("sst2", "cola"):
        write_rows(folder / "data" / dataset / "train.jsonl", rows("train", 48))
        write_rows(folder / "data" / dataset / "test.jsonl", rows("test", 16))
    # One row that is too long for the dataset's limit, so that `prepare` drops it.
    write_rows(folder / "data" / "sst2" / "test.jsonl", [*rows("test", 16), {**LONG, "label": 1, "idx": 16}])
    project = Project(folder)
    assert project.run(grid(folder)).stages == N_NODES
    shutil.copytree(folder, folder.with_name("pristine"))
    return folder


@pytest.fixture
def finished(built: Path) -> Project:
    """The finished project, as it was: every test has its own copy, at the same place."""
    shutil.rmtree(built)
    shutil.copytree(built.with_name("pristine"), built)
    return Project(built)


@pytest.fixture
def project(finished: Project) -> Project:
    """The same, whose code may be edited, and runs in processes of their own."""
    finished.copy_code()
    return finished


def test_nothing_changed_runs_nothing(finished: Project) -> None:
    assert not finished.run(grid(finished.folder)).stages


def test_input_file_touched_runs_nothing(finished: Project) -> None:
    os.utime(finished.folder / "data" / "sst2" / "train.jsonl", (1, 1))

    assert not finished.run(grid(finished.folder)).stages


def test_row_that_prepare_drops_edited_runs_prepare_alone(finished: Project) -> None:
    edit_row(finished.folder / "data" / "sst2" / "test.jsonl", 16, sentence=LONG["sentence"] + " and longer")

    assert finished.run(grid(finished.folder)).stages == {"prepare": 1}


def test_training_row_edited_runs_nodes_of_its_dataset_only(finished: Project) -> None:
    for index in range(48):
        edit_row(finished.folder / "data" / "sst2" / "train.jsonl", index, sentence=f"now it is row {index} of good")

    ran = finished.run(grid(finished.folder)).stages

    assert ran == {stage: n_nodes for stage, n_nodes in N_NODES.items() if stage != "pretrain"}


def test_test_row_edited_runs_prepare_labels_and_scores_but_no_training(finished: Project) -> None:
    for index in range(16):
        edit_row(finished.folder / "data" / "sst2" / "test.jsonl", index, sentence=f"another text {index}")

    assert finished.run(grid(finished.folder)).stages == {"prepare": 1, "weak_labels": 1, "score": 3}


NO_MEANING = {
    "comment": ("w2s_core/metrics.py", "def accuracy(", "# A comment.\ndef accuracy("),
    "docstring": ("w2s_core/metrics.py", '"""Fraction of', '"""The fraction of'),
    "formatting": ("w2s_core/metrics.py", "np.mean(harden(probs) == labels)", "np.mean(\n    harden(probs)==labels\n)"),
    "annotation of a parameter": ("w2s_core/metrics.py", "def harden(probs: np.ndarray)", "def harden(probs)"),
}


def test_edits_without_meaning_run_nothing(project: Project) -> None:
    for edit in NO_MEANING.values():
        project.edit(*edit)

    assert not project.run(grid(project.folder)).stages


AFTER_TRAINING = {"train_gt": 2, "weak_labels": 1, "train_w2s": 1, "score": 3}

CODE = {
    "deep helper of all who read texts": (
        ("w2s_core/training/portions.py", "n_rows = max(1, int(", "n_rows = max(1, 0 + int("),
        AFTER_TRAINING,
    ),
    "module constant": (("w2s_core/metrics.py", "N_BINS = 15", "N_BINS = 14"), {"weak_labels": 1, "score": 3}),
}

ALONE = {
    "score": (
        ("w2s_core/metrics.py", "(probs - labels) ** 2", "(labels - probs) ** 2"),
        "code: w2s_core.metrics:brier",
    ),
    "prepare": (
        ("w2s_core/entries/prepare.py", "MAX_MAJORITY = 0.55", "MAX_MAJORITY = 0.56"),
        "code: w2s_core.entries.prepare:MAX_MAJORITY",
    ),
    "pretrain": (
        ("w2s_core/training/language.py", "CURVE_EVERY = 10", "CURVE_EVERY = 20"),
        "code: w2s_core.training.language:CURVE_EVERY",
    ),
    "weak_labels": (
        ("w2s_core/entries/predict.py", "quality: dict[str, Any] = {}", "quality: dict[str, Any] = dict()"),
        "code: w2s_core.entries.predict:weak_labels",
    ),
}
"""Edits of what one stage alone reaches, and makes the same with; what the plan says of each."""

UNREACHED = {
    "a loss that no node uses": ("w2s_core/methods/confidence.py", "len(logits) / 2", "len(logits) // 2"),
    "the formatter of another dataset": (
        "w2s_core/data/nlp/pairs.py",
        """f"Q: {clean(row['question'])}\"""",
        """f"Ask: {clean(row['question'])}\"""",
    ),
}


@pytest.mark.parametrize("what", CODE)
def test_code_edited_runs_exactly_the_stages_that_reach_it(what: str, project: Project) -> None:
    edit, expected = CODE[what]
    project.edit(*edit)

    assert project.run(grid(project.folder)).stages == expected


def test_code_that_one_stage_reaches_edited_runs_that_stage_alone_and_is_named(project: Project) -> None:
    for edit, _ in ALONE.values():
        project.edit(*edit)

    ran = project.run(grid(project.folder))

    assert ran.stages == {stage: N_NODES[stage] for stage in ALONE}
    reasons = {(node["stage"], node["reason"]) for node in ran.plan["nodes"] if node["cause"]}
    assert reasons == {(stage, reason) for stage, (_, reason) in ALONE.items()}


def test_code_that_no_node_of_the_grid_reaches_edited_runs_nothing(project: Project) -> None:
    for edit in UNREACHED.values():
        project.edit(*edit)
    for file in ("artifacts/store/contract.py", "flows/cli/display.py", "tasks/workers/run_stage.py"):
        path = project.code / file
        path.write_text(path.read_text(encoding="utf-8") + "\nEDITED = 1\n", encoding="utf-8")

    assert not project.run(grid(project.folder)).stages


def test_base_class_edited_runs_the_stages_that_reach_the_class(project: Project) -> None:
    project.edit("w2s_core/data/sampling.py", "class Split:", "class Split(Based):")
    project.edit("w2s_core/data/sampling.py", "class Row(", "class Based:\n    depth = 1\n\n\nclass Row(")
    assert project.run(grid(project.folder)).stages == {"prepare": 1}

    project.edit("w2s_core/data/sampling.py", "depth = 1", "depth = 2")

    assert project.run(grid(project.folder)).stages == {"prepare": 1}


def test_formatter_edited_runs_its_dataset_alone_is_named_and_keeps_the_number_of_pgr_rows(finished: Project) -> None:
    both = grid(finished.folder, datasets=["sst2", "cola"])
    finished.run(both)
    finished.copy_code()
    before = finished.count_pgr()
    finished.edit("w2s_core/data/nlp/texts.py", 'Example(sentence, "Positive?"', 'Example(sentence, "Good or bad?"')

    ran = finished.run(both)

    nodes = {(node["labels"].get("dataset"), node["status"]) for node in ran.plan["nodes"]} - {(None, "fresh")}
    assert nodes == {("sst2", "stale"), ("sst2", "depends"), ("cola", "fresh")}
    [reason] = [node["reason"] for node in ran.plan["nodes"] if node["status"] == "stale"]
    assert reason == "code: w2s_core.data.nlp.texts:_sst2"
    assert ran.stages == {"prepare": 1} | AFTER_TRAINING
    assert finished.count_pgr() == before


REGISTERED = {
    "loss": (
        "w2s_core/methods/losses.py",
        'LOSSES.register("xent"',
        'class New(Frozen):\n    loss: Literal["new"] = "new"\n\n\nLOSSES.register("new", Loss(xent, New))\n'
        'LOSSES.register("xent"',
    ),
    "dataset": (
        "w2s_core/data/nlp/pairs.py",
        "def _boolq(",
        'DATASETS.register("new", DATASETS.get("sst2"))\n\n\ndef _boolq(',
    ),
    "model": ("w2s_core/models/catalog.py", "for model in (\n", 'for model in (\n        _hub("new", "a/b", 1e-5),\n'),
}


def test_new_entries_registered_run_nothing(project: Project) -> None:
    for edit in REGISTERED.values():
        project.edit(*edit)

    assert not project.run(grid(project.folder)).stages


def add_field(project: Project) -> None:
    project.edit(
        "flows/plan/grid.py",
        "    max_grad_norm: float",
        "    new_knob: int = 3\n    max_grad_norm: float",
    )


def test_field_added_with_its_frozen_value_runs_nothing(project: Project) -> None:
    add_field(project)
    stages = project.code / "w2s_core" / "stages.py"
    frozen = "".join(f'ADDED["{stage}"]["training.new_knob"] = 3\n' for stage in ("train_gt", "train_w2s"))
    stages.write_text(stages.read_text(encoding="utf-8") + frozen, encoding="utf-8")

    assert not project.run(grid(project.folder)).stages


def test_field_added_without_its_frozen_value_runs_the_nodes_that_have_it(project: Project) -> None:
    add_field(project)

    # The trainings make what they made before, so nothing after them runs.
    assert project.run(grid(project.folder)).stages == {"train_gt": 2, "train_w2s": 1}


def test_default_changed_runs_the_nodes_that_used_it_and_the_plan_says_from_which_value_to_which(
    project: Project,
) -> None:
    project.edit("flows/plan/grid.py", "weight_decay: float = Field(0.0", "weight_decay: float = Field(0.5")

    ran = project.run(grid(project.folder))

    assert ran.stages == AFTER_TRAINING
    reasons = {node["stage"]: node["reason"] for node in ran.plan["nodes"] if node["cause"]}
    assert reasons["train_gt"] == "parameter: training.weight_decay 0.0 → 0.5"


@pytest.mark.slow
def test_helper_edited_while_a_grid_runs_leaves_no_artifact_that_its_code_did_not_make(project: Project) -> None:
    shutil.rmtree(project.home)
    planned = {n["node"]: n["code"] for n in project.plan(grid(project.folder))["nodes"]}

    ran = project.run(grid(project.folder), while_running=ALONE["score"][0])

    assert len(ran.failed) == 3
    assert all("SourceChanged" in line for line in ran.failed)
    assert all(m["code"]["digest"] == planned[m["node"]] for m in project.manifests())
    # The same command again goes on, and ends.
    assert project.run(grid(project.folder)).stages["score"] == 3
    assert not project.run(grid(project.folder)).stages


def test_artifact_deleted_runs_that_node_and_no_descendant(finished: Project) -> None:
    [labels] = finished.artifacts("weak_labels")
    shutil.rmtree(labels)

    assert finished.run(grid(finished.folder)).stages == {"weak_labels": 1}


def test_artifact_truncated_runs_that_node_and_no_descendant(finished: Project) -> None:
    [prepared] = finished.artifacts("prepare")
    file = prepared / "transfer_train.parquet"
    file.write_bytes(file.read_bytes()[:-1])

    assert finished.run(grid(finished.folder)).stages == {"prepare": 1}


def test_seed_added_runs_only_its_nodes(finished: Project) -> None:
    ran = finished.run(grid(finished.folder, seeds=[0, 1])).stages

    assert ran == {"train_gt": 2, "weak_labels": 1, "train_w2s": 1, "score": 3}


def test_model_added_runs_only_its_nodes(finished: Project) -> None:
    larger = copy.deepcopy(TINY["models"][1])
    larger["name"] = "l"
    larger["pretrain"]["size"]["width"] = 16

    ran = finished.run(grid(finished.folder, models=[*TINY["models"], larger])).stages

    # Pairs s-l and m-l: a pretraining, m as supervisor and l as ceiling, m's labels, two students; their scores.
    assert ran == {"pretrain": 1, "train_gt": 2, "weak_labels": 1, "train_w2s": 2, "score": 4}


def test_method_added_runs_only_its_nodes(finished: Project) -> None:
    ran = finished.run(grid(finished.folder, methods=["xent", "logconf"])).stages

    assert ran == {"train_w2s": 1, "score": 1}
