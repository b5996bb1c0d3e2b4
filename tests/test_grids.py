"""Tests of ``artifacts.grids``."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts import files
from artifacts.errors import CorruptArtifact, UsageError
from artifacts.grids import GridRun, Grids
from artifacts.local_store import LocalStore
from tests.toy_artifacts import KEY, STAGE, publish, run_of


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def grids(store: LocalStore) -> Grids:
    return Grids(store)


def states(grids: Grids) -> list[str]:
    return [run.state for run in grids.runs("demo")]


START_A_RUN = """
import pathlib, sys
from artifacts.grids import Grids
from artifacts.local_store import LocalStore
from tests.toy_artifacts import run_of
grids = Grids(LocalStore(pathlib.Path(sys.argv[1])))
grids.start(run_of())
print("started", flush=True)
sys.stdin.read()
"""


def start_elsewhere(store: LocalStore) -> subprocess.Popen[str]:
    """Another process in the middle of a run."""
    process = subprocess.Popen(
        [sys.executable, "-c", START_A_RUN, str(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_no_run_no_grids_and_nothing_created(grids: Grids, store: LocalStore) -> None:
    assert grids.all() == []
    assert grids.runs("demo") == []
    assert grids.revisions("demo") == {}
    assert grids.reachable() == set()
    assert not grids.is_latest(run_of())
    assert not store.root.exists()


def test_run_is_read_back(grids: Grids, store: LocalStore) -> None:
    run = grids.start(run_of())
    run.finish(run_of(key=KEY), "complete")
    (grid,) = Grids(LocalStore(store.root)).all()
    (read,) = grid.runs
    assert grid.name == read.name == "demo"
    assert read.nodes == run_of(key=KEY).nodes
    assert read.pairs == run_of(key=KEY).pairs
    assert read.state == "complete"
    assert read.started <= (read.finished or "")


def test_run_that_goes_on_is_running(grids: Grids) -> None:
    grids.start(run_of())
    assert states(grids) == ["running"]


def test_update_shows_before_the_end(grids: Grids) -> None:
    run = grids.start(run_of())
    run.update(run_of(key=KEY))
    (read,) = grids.runs("demo")
    assert (read.nodes[0].key, read.state, read.finished) == (KEY, "running", None)
    run.finish(run_of(key=KEY), "failed")


def test_run_of_a_killed_process_is_interrupted(grids: Grids, store: LocalStore) -> None:
    process = start_elsewhere(store)
    assert states(grids) == ["running"]
    kill(process)
    assert states(grids) == ["interrupted"]


def test_lock_file_of_a_killed_run_is_garbage(grids: Grids, store: LocalStore) -> None:
    kill(start_elsewhere(store))
    store.gc(grids.reachable(), dry_run=False)
    assert files.names(store.root / "grids") == ["demo.json"]


def test_complete_run_replaces_those_before_it(grids: Grids) -> None:
    for state in ("complete", "failed", "interrupted", "complete"):
        grids.start(run_of()).finish(run_of(), state)
    assert states(grids) == ["complete"]


def test_runs_since_the_last_complete_one_are_kept(grids: Grids) -> None:
    for state in ("complete", "failed", "interrupted"):
        grids.start(run_of()).finish(run_of(), state)
    assert states(grids) == ["complete", "failed", "interrupted"]


def test_complete_run_spares_an_earlier_one_that_goes_on(grids: Grids, store: LocalStore) -> None:
    process = start_elsewhere(store)
    grids.start(run_of()).finish(run_of(), "complete")
    assert states(grids) == ["running", "complete"]
    kill(process)


def test_concurrent_runs_of_one_grid_keep_each_others_entries(grids: Grids, store: LocalStore) -> None:
    processes = [start_elsewhere(store) for _ in range(3)]
    grids.start(run_of()).finish(run_of(), "failed")
    assert states(grids) == ["running"] * 3 + ["failed"]
    for process in processes:
        kill(process)


def test_revisions_are_those_of_the_last_run(grids: Grids) -> None:
    grids.start(run_of()).finish(run_of(), "complete")
    moved = dataclasses.replace(run_of(), revisions={"org/model": "decade"})
    grids.start(moved).finish(moved, "failed")
    assert grids.revisions("demo") == {"org/model": "decade"}


def test_same_run_again_is_the_latest(grids: Grids) -> None:
    grids.start(run_of()).finish(run_of(key=KEY), "complete")
    assert grids.is_latest(run_of(key=KEY))


@pytest.mark.parametrize("other", [run_of(), run_of(key=KEY, node="other")], ids=["key", "node"])
def test_run_about_something_else_is_not_the_latest(grids: Grids, other: GridRun) -> None:
    grids.start(run_of()).finish(run_of(key=KEY), "complete")
    assert not grids.is_latest(other)


def test_failed_run_is_not_the_latest(grids: Grids) -> None:
    grids.start(run_of()).finish(run_of(key=KEY), "failed")
    assert not grids.is_latest(run_of(key=KEY))


def test_keys_of_all_kept_runs_are_reachable(grids: Grids) -> None:
    for name, key in {"one": "k1", "two": "k2"}.items():
        grids.start(run_of(name)).finish(run_of(name, key), "complete")
    grids.start(run_of("two")).finish(run_of("two", "k3"), "failed")
    assert grids.reachable() == {(STAGE, "k1"), (STAGE, "k2"), (STAGE, "k3")}


def test_artifact_made_since_a_run_was_written_down_is_reachable(grids: Grids, store: LocalStore) -> None:
    grids.start(run_of())
    publish(store)
    assert grids.reachable() == {(STAGE, KEY)}


def test_artifact_of_another_node_is_not_reachable(grids: Grids, store: LocalStore) -> None:
    grids.start(run_of(node="other"))
    publish(store)
    assert grids.reachable() == set()


def test_dropped_grid_is_gone(grids: Grids) -> None:
    grids.start(run_of()).finish(run_of(), "complete")
    grids.drop("demo")
    assert grids.names() == []


def test_dropping_an_unknown_grid_names_the_near_ones(grids: Grids) -> None:
    grids.start(run_of()).finish(run_of(), "complete")
    with pytest.raises(UsageError, match="unknown grid 'dem'; did you mean demo"):
        grids.drop("dem")


def test_dropping_an_unknown_grid_lists_the_known_ones(grids: Grids) -> None:
    with pytest.raises(UsageError, match="no grid was run yet"):
        grids.drop("demo")
    grids.start(run_of()).finish(run_of(), "complete")
    with pytest.raises(UsageError, match="unknown grid 'xyz'; known: demo"):
        grids.drop("xyz")


def test_running_grid_is_not_dropped(grids: Grids) -> None:
    grids.start(run_of())
    with pytest.raises(UsageError, match="'demo' is running"):
        grids.drop("demo")


def test_running_grid_does_not_keep_one_whose_name_it_begins_with(grids: Grids) -> None:
    grids.start(run_of("demo-2"))
    grids.start(run_of("demo")).finish(run_of("demo"), "complete")
    grids.drop("demo")
    assert grids.names() == ["demo-2"]


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": [{"id": 1}]}', '{"runs": [{"nodes": [1]}]}'])
def test_garbled_grid_file_is_an_error_that_can_be_followed(grids: Grids, store: LocalStore, text: str) -> None:
    grids.start(run_of()).finish(run_of(), "complete")
    (store.root / "grids" / "demo.json").write_text(text)
    with pytest.raises(CorruptArtifact, match="w2s grids --drop demo"):
        grids.reachable()
    grids.drop("demo")
    assert grids.reachable() == set()
