"""What the plan says of each node, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts import files
from artifacts.errors import ForeignStore
from artifacts.identity.keys import canonical_json, without_added
from flows.plan.compare import Planned, Status
from flows.report.plan import as_records
from flows.run.session import Session
from tests.toy_runs import drain, open_session
from w2s_core.stages import ADDED


def stage(session: Session, name: str) -> list[Planned]:
    return [entry for entry in session.plan.planned.values() if entry.node.stage == name]


def test_node_that_never_was_is_stale_as_never_built(tmp_path: Path) -> None:
    entries = open_session(tmp_path).plan.planned.values()

    assert {(entry.status, entry.reason) for entry in entries} == {(Status.STALE, "never built")}


def test_planning_writes_nothing(tmp_path: Path) -> None:
    open_session(tmp_path / "home")

    assert not (tmp_path / "home").exists()


def test_changed_parameter_is_named_with_both_values(tmp_path: Path) -> None:
    drain(open_session(tmp_path))

    session = open_session(tmp_path, training={"epochs": 5})

    assert {e.reason for e in stage(session, "train_gt")} == {"parameter: training.epochs 2 → 5"}
    assert {e.cause for e in stage(session, "score")} == {"input"}
    assert {e.status for e in stage(session, "prepare")} == {Status.FRESH}


def test_added_seed_is_new_rather_than_a_changed_parameter(tmp_path: Path) -> None:
    drain(open_session(tmp_path))

    pending = open_session(tmp_path, seeds=[0, 1]).plan.pending

    assert {entry.reason for entry in pending} == {"never built"}
    assert {entry.node.labels["seed"] for entry in pending} == {1}


def test_descendants_of_a_broken_artifact_depend_on_it(tmp_path: Path) -> None:
    drain(open_session(tmp_path))
    [file] = (tmp_path / "store" / "prepare").glob("*/test.parquet")
    file.write_bytes(b"t")

    session = open_session(tmp_path)

    [prepared] = stage(session, "prepare")
    assert (prepared.status, prepared.reason) == (Status.STALE, "payload: test.parquet: 1 of 3 bytes")
    assert {entry.status for entry in stage(session, "score")} == {Status.DEPENDS}
    [labels, _] = stage(session, "weak_labels")
    assert labels.reason == "reruns only if sst2 train_gt offline-xs weak_train seed 0, sst2 prepare gives new values"


def test_unreadable_manifest_is_a_reason_of_its_own(tmp_path: Path) -> None:
    drain(open_session(tmp_path))
    [file] = (tmp_path / "store" / "prepare").glob("*/manifest.json")
    file.write_text("{")

    [prepared] = stage(open_session(tmp_path), "prepare")

    assert prepared.reason.startswith("payload: manifest.json is no JSON")


def test_hours_saved_are_those_of_fresh_nodes(tmp_path: Path) -> None:
    drain(open_session(tmp_path))

    plan = open_session(tmp_path).plan

    assert plan.hours_saved == pytest.approx(len(plan.planned) * 3.6 / 3600)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read of a store, in order."""
    paths: list[str] = []
    read_text = files.read_text
    monkeypatch.setattr(files, "read_text", lambda path: paths.append(str(path)) or read_text(path))
    return paths


def manifests(paths: list[str]) -> list[str]:
    return [path for path in paths if path.endswith("/manifest.json")]


def test_plan_of_fresh_nodes_reads_every_manifest_once(tmp_path: Path, read: list[str]) -> None:
    drain(open_session(tmp_path))
    read.clear()

    planned = open_session(tmp_path).plan.planned

    assert len(manifests(read)) == len(set(manifests(read))) == len(planned)


def test_plan_with_something_to_do_reads_no_fresh_manifest_again(tmp_path: Path, read: list[str]) -> None:
    drain(open_session(tmp_path))
    read.clear()

    plan = open_session(tmp_path, seeds=[0, 1]).plan

    found = [path for path in manifests(read) if Path(path).exists()]
    assert plan.pending
    assert len(found) == len(set(found)) == plan.count(Status.FRESH)


def test_run_with_nothing_to_do_reads_no_manifest_again(tmp_path: Path, read: list[str]) -> None:
    drain(open_session(tmp_path))
    open_session(tmp_path).record_fresh()
    session = open_session(tmp_path)
    read.clear()

    assert session.record_fresh()
    assert not manifests(read)


def test_artifact_that_went_after_the_plan_is_noticed_when_the_run_begins(tmp_path: Path) -> None:
    drain(open_session(tmp_path))
    open_session(tmp_path).record_fresh()
    session = open_session(tmp_path)
    [gone] = (tmp_path / "store" / "prepare").glob("*/manifest.json")
    gone.unlink()

    assert not session.record_fresh()
    assert [entry.node.stage for entry in session.plan.pending if entry.status is Status.STALE] == ["prepare"]


def test_waves_read_of_earlier_waves_only(tmp_path: Path) -> None:
    graph = open_session(tmp_path).plan.graph

    waves = graph.waves()

    place = {node.id: number for number, wave in enumerate(waves) for node in wave}
    assert place.keys() == graph.nodes.keys()
    assert sum(map(len, waves)) == len(graph.nodes)
    assert all(place[parent.id] < place[node.id] for node in graph.nodes.values() for parent in node.parents)


def test_nodes_of_the_same_parameters_share_them(tmp_path: Path) -> None:
    planned = open_session(tmp_path, datasets=["sst2", "cola"]).plan.planned.values()

    scores = [entry.node for entry in planned if entry.node.stage == "score"]
    trainings = [entry.node for entry in planned if entry.node.stage == "train_w2s"]
    assert len({id(node.params) for node in scores}) == 1
    assert len({id(node.params) for node in trainings}) < len(trainings)
    assert all(node.counted == canonical_json(without_added(node.params, ADDED[node.stage])) for node in trainings)


def test_records_hold_every_node_with_its_parents(tmp_path: Path) -> None:
    records = as_records(open_session(tmp_path).plan)

    ids = {node["node"] for node in records["nodes"]}
    assert records["counts"] == {"fresh": 0, "stale": len(ids), "depends": 0}
    assert all(set(node["parents"]) <= ids for node in records["nodes"])


def test_store_made_by_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "photo.jpg").touch()

    with pytest.raises(ForeignStore, match=r"photo\.jpg"):
        open_session(tmp_path)
