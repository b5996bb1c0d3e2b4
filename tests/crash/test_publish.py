"""kill -9 at every change that the store makes: what is left is nothing, or everything, and needs no repair.

``mortal`` is the process that is killed. Also here: two processes that want the same node.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifacts import files
from artifacts.store.grids import Grids
from artifacts.store.local import LocalStore
from artifacts.store.manifest import Manifest
from tests.crash import mortal
from tests.places import ROOT
from tests.toy_artifacts import KEY, STAGE, digest, manifest, run_of

KillAt = Callable[[str, Path, int], bool]
"""Runs an operation on a store until its n-th change; whether the operation was killed."""


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written survives the death of a process without it, and tests have no time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def kill_at() -> Iterator[KillAt]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.crash.mortal"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def kill(operation: str, root: Path, n: int) -> bool:
            requests.write(json.dumps([operation, str(root), n]) + "\n")
            requests.flush()
            return {"killed\n": True, "done\n": False}[answers.readline()]

        yield kill
        process.stdin.close()


def deaths(
    kill_at: KillAt, operation: str, prepare: Callable[[LocalStore], None], tmp_path: Path
) -> Iterator[LocalStore]:
    """A store after each possible death of an operation, and at last after its end."""
    n, is_killed = 0, True
    while is_killed:
        root = tmp_path / str(n)
        prepare(LocalStore(root))
        is_killed = kill_at(operation, root, n)
        yield LocalStore(root)
        n += 1
    assert n > 5, "nothing was killed"


def nothing(store: LocalStore) -> None:
    """A store that was never written."""


def break_it(store: LocalStore) -> None:
    mortal.publish(store, "broken")
    (store.output_path(STAGE, KEY, "model") / "weights.bin").unlink()


def publish_and_evict(store: LocalStore) -> None:
    mortal.publish(store)
    mortal.evict(store)


def weights_of(store: LocalStore, found: Manifest) -> str:
    """The weights that are stored, which are those that the manifest says."""
    text = (store.output_path(STAGE, KEY, "model") / "weights.bin").read_text()
    assert digest(text) == found.outputs["model"].digest
    return text


def assert_next_run_succeeds(store: LocalStore) -> None:
    """Without unlocking or cleaning anything."""
    assert store.running() == []
    mortal.publish(store)
    found = store.get(STAGE, KEY)
    assert found is not None
    assert weights_of(store, found)


def assert_gc_leaves_no_rubbish(store: LocalStore) -> None:
    store.gc(lambda: {(STAGE, KEY)}, dry_run=False)
    assert files.names(store.root / STAGE) == [KEY]
    assert files.names(store.root / "broken") == []
    assert files.names(store.root / "claims") == []
    assert files.names(store.folder(STAGE, KEY)) == ["manifest.json", "model", "side"]


def test_killed_publish_leaves_nothing_or_everything(kill_at: KillAt, tmp_path: Path) -> None:
    outcomes = set()
    for store in deaths(kill_at, "publish", nothing, tmp_path):
        found = store.get(STAGE, KEY)
        outcomes.add(found is not None)
        assert store.problem(STAGE, KEY) is None
        assert found is None or weights_of(store, found) == "weights"
        assert_next_run_succeeds(store)
        assert_gc_leaves_no_rubbish(store)
    assert outcomes == {False, True}


def test_killed_publish_over_a_broken_artifact_leaves_no_mixture(kill_at: KillAt, tmp_path: Path) -> None:
    for store in deaths(kill_at, "publish", break_it, tmp_path):
        found = store.get(STAGE, KEY)
        assert found is None or weights_of(store, found) == "weights"
        assert_next_run_succeeds(store)
        assert_gc_leaves_no_rubbish(store)


def test_killed_publish_over_an_evicted_artifact_leaves_it_evicted_or_whole(kill_at: KillAt, tmp_path: Path) -> None:
    outcomes = set()
    for store in deaths(kill_at, "publish_other_bytes", publish_and_evict, tmp_path):
        found = store.get(STAGE, KEY)
        assert found is not None
        output = found.outputs["model"]
        outcomes.add(output.evicted)
        if output.evicted:
            assert output.digest == digest("weights")
        else:
            assert weights_of(store, found) == "otherwise"
            assert output.superseded == (digest("weights"),)
        assert_next_run_succeeds(store)
        assert_gc_leaves_no_rubbish(store)
    assert outcomes == {False, True}


def test_killed_eviction_leaves_a_valid_artifact(kill_at: KillAt, tmp_path: Path) -> None:
    outcomes = set()
    for store in deaths(kill_at, "evict", mortal.publish, tmp_path):
        found = store.get(STAGE, KEY)
        assert found is not None
        outcomes.add(found.outputs["model"].evicted)
        assert_next_run_succeeds(store)
        assert_gc_leaves_no_rubbish(store)
    assert outcomes == {False, True}


def test_killed_gc_leaves_nothing_or_everything(kill_at: KillAt, tmp_path: Path) -> None:
    for store in deaths(kill_at, "gc", mortal.publish, tmp_path):
        assert store.problem(STAGE, KEY) is None
        assert store.get(STAGE, KEY) in (None, manifest())
        assert_next_run_succeeds(store)
        assert_gc_leaves_no_rubbish(store)


def test_killed_run_leaves_a_grid_file_that_can_be_read(kill_at: KillAt, tmp_path: Path) -> None:
    outcomes = set()
    for store in deaths(kill_at, "run_grid", nothing, tmp_path):
        grids = Grids(store)
        states = [run.state for run in grids.runs("demo")]
        outcomes.add(tuple(states))
        grids.start(run_of()).finish(run_of(key=KEY), "complete")
        assert [run.state for run in grids.runs("demo")] == ["complete"]
        store.gc(set, dry_run=False)
        assert files.names(store.root / "grids") == ["demo.json"]
    assert outcomes == {(), ("interrupted",), ("complete",)}


WORK = """
import pathlib, sys
from artifacts.store.local import LocalStore
from tests.toy_artifacts import KEY, STAGE, publish
store = LocalStore(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
with store.claim(STAGE, KEY):
    if store.get(STAGE, KEY) is None:
        publish(store)
        print("executed", flush=True)
"""

HOLD = """
import pathlib, sys
from artifacts.store.local import LocalStore
from tests.toy_artifacts import KEY, STAGE
with LocalStore(pathlib.Path(sys.argv[1])).claim(STAGE, KEY, label="holder"):
    print("ready", flush=True)
    sys.stdin.readline()
"""

PUBLISH_AT_ONCE = """
import pathlib, sys
from artifacts.store.local import LocalStore
from tests.toy_artifacts import KEY, STAGE, manifest, write_draft
store = LocalStore(pathlib.Path(sys.argv[1]))
weights = sys.argv[2]
with store.draft(STAGE, KEY) as draft:
    write_draft(draft, weights)
    print("ready", flush=True)
    sys.stdin.readline()
    print(store.publish(draft, manifest(weights=weights)).outputs["model"].digest, flush=True)
"""


def start(program: str, store: LocalStore, *args: str) -> subprocess.Popen[str]:
    """A process that has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(store.root), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def let_go(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Let all go on at once; what each said till its end."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.communicate()[0] for process in processes]


def test_node_that_several_processes_want_is_executed_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    said = let_go([start(WORK, store) for _ in range(3)])
    assert sorted(said) == ["", "", "executed\n"]


def test_first_of_several_publishers_wins_and_all_get_what_stands(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    said = let_go([start(PUBLISH_AT_ONCE, store, weights) for weights in ("a", "b", "c")])
    found = store.get(STAGE, KEY)
    assert found is not None
    assert said == [found.outputs["model"].digest + "\n"] * 3
    assert weights_of(store, found) in ("a", "b", "c")
    assert_gc_leaves_no_rubbish(store)


def test_claim_of_a_killed_process_is_free(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    holder = start(HOLD, store)
    assert [(claim.pid, claim.label) for claim in store.running()] == [(holder.pid, "holder")]
    holder.kill()
    holder.communicate()
    assert_next_run_succeeds(store)
