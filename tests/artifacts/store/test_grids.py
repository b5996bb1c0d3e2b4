"""Tests of ``artifacts.store.grids``."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts import files
from artifacts.errors import CorruptArtifact, UsageError
from artifacts.store.grid_runs import GridRun
from artifacts.store.grids import Grids
from artifacts.store.local import LocalStore
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
from artifacts.store.grids import Grids
from artifacts.store.local import LocalStore
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
    store.gc(grids.reach(), dry_run=False)
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


# Definitions


def complete(grids: Grids, node: str, key: str = KEY) -> None:
    grids.start(run_of(node=node)).finish(run_of(key=key, node=node), "complete")


def nodes_of(grids: Grids, name: str) -> list[str]:
    return [run.nodes[0].node for run in grids.runs(name)]


def test_other_definition_under_a_name_leaves_the_earlier_as_a_version(grids: Grids) -> None:
    complete(grids, "one", "k1")
    complete(grids, "two", "k2")
    complete(grids, "three", "k3")
    assert grids.names() == ["demo", "demo@1", "demo@2"]
    assert [nodes_of(grids, name) for name in grids.names()] == [["three"], ["one"], ["two"]]
    assert grids.reachable() == {(STAGE, "k1"), (STAGE, "k2"), (STAGE, "k3")}
    assert grids.runs("demo@1")[0].state == "complete"
    assert grids.runs("demo@1")[0].replaced


def test_version_is_there_from_the_start_of_the_run_that_replaces_it(grids: Grids) -> None:
    complete(grids, "one")
    replaced = grids.replaced_by(run_of(node="two"))
    grids.start(run_of(node="two"))
    assert grids.names() == ["demo", "demo@1"]
    assert replaced is not None
    assert (replaced.version, replaced.run.nodes[0].node) == ("demo@1", "one")


def test_same_definition_again_is_no_version(grids: Grids) -> None:
    complete(grids, "one", "k1")
    assert grids.replaced_by(run_of(node="one")) is None
    complete(grids, "one", "k2")
    assert grids.names() == ["demo"]


def test_definition_that_comes_back_has_its_name_back(grids: Grids) -> None:
    complete(grids, "one", "k1")
    complete(grids, "two")
    run = grids.start(run_of(node="one"))
    assert grids.names() == ["demo", "demo@2"]
    assert (STAGE, "k1") in grids.reachable()
    run.finish(run_of(node="one", key="k3"), "complete")
    assert nodes_of(grids, "demo") == ["one"]
    assert nodes_of(grids, "demo@2") == ["two"]


def test_of_an_earlier_definition_its_last_complete_run_stays(grids: Grids) -> None:
    complete(grids, "one", "k1")
    grids.start(run_of(node="one")).finish(run_of(node="one"), "failed")
    complete(grids, "two")
    assert [run.state for run in grids.runs("demo@1")] == ["complete"]


def test_name_that_another_definition_is_running_under_is_refused(grids: Grids) -> None:
    run = grids.start(run_of(node="one"))
    with pytest.raises(UsageError, match="'demo' is being run with another definition"):
        grids.start(run_of(node="two"))
    assert states(grids) == ["running"]
    run.finish(run_of(node="one"), "complete")
    complete(grids, "two")


def test_killed_run_of_another_definition_is_in_nobodys_way(grids: Grids, store: LocalStore) -> None:
    kill(start_elsewhere(store))
    complete(grids, "two")
    assert grids.names() == ["demo", "demo@1"]
    assert grids.runs("demo@1")[0].state == "interrupted"


def test_version_can_be_dropped(grids: Grids) -> None:
    complete(grids, "one", "k1")
    complete(grids, "two", "k2")
    grids.drop("demo@1")
    assert grids.reachable() == {(STAGE, "k2")}


def test_version_expires(grids: Grids) -> None:
    complete(grids, "one", "k1")
    complete(grids, "two", "k2")
    for days in (30, float("inf"), float("nan"), 10**300):
        assert grids.expired(days) == []
    assert grids.expired(0) == ["demo@1"]
    assert grids.reachable(without=["demo@1"]) == {(STAGE, "k2")}


def test_versions_of_two_stores_stay_apart(grids: Grids, tmp_path: Path) -> None:
    other = Grids(LocalStore(tmp_path / "other"))
    for where, nodes in ((grids, ("one", "two")), (other, ("three", "two"))):
        for node in nodes:
            complete(where, node, f"key of {node}")
    grids.merge(other)
    assert {key for _, key in grids.reachable()} == {f"key of {node}" for node in ("one", "two", "three")}
    assert sorted(nodes_of(grids, name)[0] for name in grids.names()) == ["one", "three", "two"]


def test_other_definition_of_another_store_becomes_a_version(grids: Grids, tmp_path: Path) -> None:
    other = Grids(LocalStore(tmp_path / "other"))
    complete(grids, "one", "k1")
    complete(other, "two", "k2")
    grids.merge(other)
    assert {key for _, key in grids.reachable()} == {"k1", "k2"}
    assert grids.names() == ["demo", "demo@1"]


def test_crash_between_the_two_files_of_a_replacement_loses_and_doubles_nothing(
    grids: Grids, store: LocalStore
) -> None:
    complete(grids, "one", "k1")
    before = (store.root / "grids" / "demo.json").read_text()
    complete(grids, "two", "k2")
    (store.root / "grids" / "demo.json").write_text(before)
    complete(grids, "two", "k2")
    assert grids.names() == ["demo", "demo@1"]
    assert nodes_of(grids, "demo") == ["two"]


def test_grid_that_was_not_run_yet_takes_the_revisions_of_the_one_it_is_derived_from(grids: Grids) -> None:
    grids.start(run_of()).finish(run_of(), "complete")
    assert grids.revisions("demo-seeds-1") == {"org/model": "c0ffee"}
    assert grids.revisions("demos") == {}


def test_grid_file_without_the_newer_fields_is_read(grids: Grids, store: LocalStore) -> None:
    complete(grids, "one")
    text = (store.root / "grids" / "demo.json").read_text()
    assert "replaced" not in text
    assert "adopted" not in text
    assert grids.runs("demo")[0].replaced is None
