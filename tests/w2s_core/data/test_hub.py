"""Datasets from the Hub: which repository and commit, which rows, what is downloaded, and how each failure reads.

A server on this machine plays the Hub. Rows are loaded in processes of their own, because the libraries read from the
environment, once, where the Hub and the cache are.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from artifacts.errors import UsageError
from flows.plan.grid import GridConfig
from flows.plan.resolve import Resolved, resolve
from tests.fake_hub import FakeHub, serving
from w2s_core.data.datasets import DATASETS
from w2s_core.data.hub import NotOnHubError, resolve_hub
from w2s_core.errors import DataError

ROWS = [{"text": f"tweet {i}", "label": i % 2, "idx": i} for i in range(40)]
WANTED = [{"text": row["text"], "label": row["label"]} for row in ROWS]
CHOICES = [{"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}}]

LOAD = """
import json, sys
from w2s_core.errors import DataError
from w2s_core.data.hub import load_hub
kinds = {"text": str, "label": int, "question": str, "choices": {"text": list[str], "label": list[str]}}
for line in sys.stdin:
    case, columns, source = json.loads(line)
    try:
        splits = load_hub({"source": source}, {}, {name: kinds.get(name, str) for name in columns})
        print(json.dumps([case, {split: list(rows) for split, rows in splits.items()}]), flush=True)
    except DataError as error:
        print(json.dumps([case, str(error)]), flush=True)
"""
"""Loads each source that it reads, and prints its rows or its refusal."""


def write(branch: Path, files: dict[str, list[dict[str, Any]]]) -> None:
    for name, rows in files.items():
        (branch / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), branch / name)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    root = tmp_path_factory.mktemp("hub")
    shards = {f"data/train-0000{i}-of-00002.parquet": ROWS[20 * i :][:20] for i in (0, 1)}
    for id in ("org/plain", "org/large", "org/gated"):
        write(root / id / "main", {**shards, "data/test-00000-of-00001.parquet": ROWS[:10]})
    folders = {
        f"{name}/{split}.parquet": ROWS[:n] for name, n in (("one", 10), ("other", 20)) for split in ("train", "test")
    }
    write(root / "org/folders/main", folders)
    # As the Hub converts it: a folder for each configuration, in it one for each split, and no card.
    converted = {f"{name}/{split}/0000.parquet": CHOICES for name in ("easy", "hard") for split in ("train_r2", "dev")}
    write(root / "org/scripted/refs/convert/parquet", converted | {"easy/train_r2/0000.parquet": CHOICES * 2})
    (root / "org/scripted/main").mkdir()
    (root / "org/scripted/main/scripted.py").write_text("raise SystemExit('never run')")
    with serving(FakeHub(root, gated={"org/gated"}, renamed={"old": "org/plain"})) as hub:
        yield hub


def source(revision: str, id: str, **fields: Any) -> dict[str, Any]:
    usual = {"config": None, "splits": {"train": "train", "test": "test"}, "prefix": None, "is_converted": False}
    return {"id": id, "revision": revision, **usual, **fields}


def load(
    hub: FakeHub, cache: Path, cases: dict[str, tuple[list[str], dict[str, Any]]], **environ: str
) -> dict[str, Any]:
    """What one new process makes of each case: its rows by split, or its refusal."""
    neutral = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    here = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        input="".join(json.dumps([name, *case]) + "\n" for name, case in cases.items()),
        env={**neutral, **here, **environ},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def loaded(hub: FakeHub, cache: Path) -> dict[str, Any]:
    """All cases that need the Hub, in one process, since each would be slow to start."""
    plain, tweet = hub.commit("org/plain"), ["text", "label"]
    scripted = {"splits": {"train": "train_r2", "test": "dev"}, "is_converted": True}
    converted = hub.commit("org/scripted", "refs/convert/parquet")
    cases = {
        "script": (tweet, source(hub.commit("org/scripted"), "org/scripted")),
        "whole": (tweet, source(plain, "org/plain")),
        "old": (tweet, source(plain, "old")),
        "folder": (tweet, source(hub.commit("org/folders"), "org/folders", dir="other")),
        "prefix": (tweet, source(hub.commit("org/large"), "org/large", prefix=20)),
        "converted": (["question", "choices"], source(converted, "org/scripted", config="easy", **scripted)),
        "gated": (tweet, source(hub.commit("org/gated"), "org/gated")),
        "missing": (tweet, source("0" * 40, "org/no")),
        "split": (tweet, source(plain, "org/plain", splits={"train": "train", "test": "validation"})),
        "config": (tweet, source(plain, "org/plain", config="hard")),
        "column": (["sentence"], source(plain, "org/plain")),
        "kind": (["text", "idx"], source(plain, "org/plain")),
    }
    return load(hub, cache, cases)


def test_all_files_of_a_split_are_loaded(loaded: dict[str, Any]) -> None:
    assert loaded["whole"] == {"train": WANTED, "test": WANTED[:10]}


def test_a_folder_of_a_repository_is_loaded_alone(loaded: dict[str, Any]) -> None:
    assert loaded["folder"] == {"train": WANTED[:20], "test": WANTED[:20]}


def test_an_id_without_an_organization_is_loaded_under_its_present_name(loaded: dict[str, Any]) -> None:
    assert loaded["old"] == loaded["whole"]


def test_a_prefix_is_the_first_rows_of_each_split(loaded: dict[str, Any]) -> None:
    assert loaded["prefix"] == {"train": WANTED[:20], "test": WANTED[:10]}


def test_what_lies_behind_a_prefix_is_not_downloaded(loaded: dict[str, Any], hub: FakeHub) -> None:
    asked = {request.rpartition("/")[2] for request in hub.requests if "org/large/resolve" in request}
    assert "train-00000-of-00002.parquet" in asked
    assert "train-00001-of-00002.parquet" not in asked


def test_converted_rows_are_those_of_one_configuration(loaded: dict[str, Any]) -> None:
    assert loaded["converted"] == {"train": CHOICES * 2, "test": CHOICES}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (
            "script",
            "cannot get dataset org/scripted from the Hub (RuntimeError: Dataset scripts are no longer supported",
        ),
        ("missing", "cannot get dataset org/no from the Hub ("),
        ("split", "cannot get dataset org/plain from the Hub (ValueError: Unknown split"),
        ("config", "cannot get dataset org/plain from the Hub (ValueError: BuilderConfig 'hard' not found"),
    ],
)
def test_what_cannot_be_loaded_is_named_and_a_folder_advised(loaded: dict[str, Any], case: str, expected: str) -> None:
    assert loaded[case].startswith(expected)
    assert loaded[case].endswith("; set source to a folder that holds <dataset>/train.parquet and test.parquet")
    assert "\n" not in loaded[case]


def test_a_gated_dataset_is_to_be_accepted_or_put_in_a_folder(loaded: dict[str, Any]) -> None:
    assert loaded["gated"] == (
        "cannot get dataset org/gated from the Hub (it is gated); accept its terms on its page and log in with "
        "`hf auth login` or set HF_TOKEN, or set source to a folder that holds <dataset>/train.parquet and test.parquet"
    )


def test_a_missing_column_is_named_with_those_there(loaded: dict[str, Any]) -> None:
    expected = "org/plain on the Hub, split train: no column 'sentence'; there are text, label, idx"
    assert loaded["column"] == expected


def test_a_value_of_another_kind_is_named_with_its_row(loaded: dict[str, Any]) -> None:
    assert loaded["kind"] == "org/plain on the Hub, split train: column 'idx' must hold text, but row 1 has 0"


def test_without_the_hub_the_cache_serves_its_commit_and_no_other(
    loaded: dict[str, Any], hub: FakeHub, cache: Path
) -> None:
    columns = ["text", "label"]
    cases = {
        "same": (columns, source(hub.commit("org/plain"), "org/plain")),
        "other": (columns, source("0" * 40, "org/plain")),
    }
    found = load(hub, cache, cases, HF_HUB_OFFLINE="1")
    assert found["same"] == loaded["whole"]
    assert f"(LookupError: only another commit of it is at hand, {hub.commit('org/plain')})" in found["other"]


@pytest.fixture
def online(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """The Hub as this process sees it."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return hub


def test_a_branch_is_resolved_to_its_commit(online: FakeHub) -> None:
    assert resolve_hub("org/plain", "main", "dataset") == online.commit("org/plain")


def test_the_converted_branch_is_resolved_to_its_own_commit(online: FakeHub) -> None:
    expected = online.commit("org/scripted", "refs/convert/parquet")
    assert resolve_hub("org/scripted", "refs/convert/parquet", "dataset") == expected


def test_a_commit_needs_no_hub() -> None:
    assert resolve_hub("org/name", "0" * 40, "model") == "0" * 40


def test_a_dataset_that_is_not_there_is_named(online: FakeHub) -> None:
    expected = r"cannot get dataset org/no from the Hub \(there is no public dataset of this name\); set source to a"
    with pytest.raises(NotOnHubError, match=expected):
        resolve_hub("org/no", "main", "dataset")


def test_a_revision_that_is_not_there_is_named(online: FakeHub) -> None:
    with pytest.raises(NotOnHubError, match=r"org/plain from the Hub \(it has no revision v2\); set source to a"):
        resolve_hub("org/plain", "v2", "dataset")


@pytest.mark.parametrize(("kind", "advice"), [("model", "local folder"), ("dataset", "set source to a folder")])
def test_without_the_hub_a_folder_is_advised(kind: str, advice: str) -> None:
    with pytest.raises(DataError, match=f"cannot get {kind} org/name from the Hub .*{advice}"):
        resolve_hub("org/name", "main", kind)


def test_a_hub_that_cannot_be_reached_is_asked_once(online: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(UsageError, match=r"^source: cannot get dataset \S+ from the Hub \(ConnectError: .*folder"):
            from_hub(ALIASED)


ALIASED = next(name for name in DATASETS if DATASETS.get(name).hub_aliases)


def from_hub(dataset: str, revisions: dict[str, str] | None = None) -> Resolved:
    config = GridConfig(datasets=(dataset,), source="hub", models="offline")
    return resolve(config, revisions or {})


def source_of(resolved: Resolved) -> Any:
    return next(node.params["source"] for node in resolved.graph.nodes.values() if node.stage == "prepare")


def test_another_id_of_the_same_rows_serves_where_the_first_is_gone(online: FakeHub) -> None:
    dataset = DATASETS.get(ALIASED)
    write(online.root / dataset.hub_aliases[0] / dataset.hub_revision, {"train.parquet": ROWS})
    resolved = from_hub(ALIASED)
    found = source_of(resolved)
    assert (found["id"], found["revision"]) == (
        dataset.hub_aliases[0],
        online.commit(dataset.hub_aliases[0], dataset.hub_revision),
    )
    # What was found is recorded, and used from then on without asking.
    n_requests = len(online.requests)
    assert source_of(from_hub(ALIASED, resolved.revisions)) == found
    assert len(online.requests) == n_requests


def test_ids_that_are_all_gone_are_named(online: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "root", tmp_path)
    dataset = DATASETS.get(ALIASED)
    with pytest.raises(UsageError) as caught:
        from_hub(ALIASED)
    assert str(caught.value).startswith(f"source: cannot get dataset {dataset.hub_id} from the Hub (there is no public")
    assert str(caught.value).endswith(f"({', '.join(dataset.hub_aliases)} tried, too)")
