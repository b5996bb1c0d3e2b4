"""What is written down around a run: the grid file, the results, and which weights stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import W2sError
from artifacts.results.query import pgr_table
from artifacts.store.grids import Grids
from flows.home import Home, Places
from flows.run.garbage import collect_garbage
from tests.toy_runs import finished, open_session, submitter


def run(home: Path, **changes: object) -> list[str]:
    """Run the toy grid; names of the nodes that were executed."""
    executed: list[str] = []
    session = open_session(home, **changes)
    session.run(submitter(session, executed), n_at_once=4)
    return executed


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        ("all", {"train_gt weak_train", "train_gt transfer_train", "train_w2s transfer_train"}),
        ("supervisors", {"train_gt weak_train"}),
        ("none", set()),
    ],
)
def test_retention_decides_which_weights_stay(retention: str, kept: set[str], tmp_path: Path) -> None:
    run(tmp_path, retention=retention, methods=["xent", "val_weak"])

    trained = [m for m in open_session(tmp_path).store.manifests() if m.stage.startswith("train_")]
    there = {f"{m.stage} {m.labels['half']}" for m in trained for o in m.outputs.values() if not o.evicted}
    assert there == kept
    assert any("model.val_weak" in m.outputs for m in trained)


def test_grid_whose_weights_were_evicted_is_fresh(tmp_path: Path) -> None:
    run(tmp_path, retention="none")

    assert not open_session(tmp_path, retention="none").plan.pending


def test_pretrained_weights_always_stay(tmp_path: Path) -> None:
    run(tmp_path, retention="none")

    made = [m for m in open_session(tmp_path).store.manifests() if m.stage == "pretrain"]
    assert len(made) == 3
    assert not any(m.outputs["model"].evicted for m in made)


def test_run_lands_its_pairs_in_the_results(tmp_path: Path) -> None:
    run(tmp_path)

    assert pgr_table(tmp_path / "results.duckdb", "toy", "pair").num_rows == 3


def test_run_is_recorded_with_every_key(tmp_path: Path) -> None:
    run(tmp_path)

    [recorded] = Grids(open_session(tmp_path).store).runs("toy")
    assert recorded.state == "complete"
    assert all(node.key for node in recorded.nodes)


def test_pair_is_recorded_with_the_other_scores_that_it_has(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    pairs = session.plan.graph.pairs
    first, last = pairs[0], pairs[-1]
    pairs[0] = first._replace(supervisor_score=last.weak_score, ceiling_plain_score=last.ceiling_score)
    session.run(submitter(session, []), n_at_once=4)

    [recorded] = Grids(session.store).runs("toy")
    assert recorded.pairs[0]["supervisor_score"] == recorded.pairs[-1]["weak_score"] is not None
    assert recorded.pairs[0]["ceiling_plain_score"] == recorded.pairs[-1]["ceiling_score"] is not None
    assert not any("supervisor_score" in pair or "ceiling_plain_score" in pair for pair in recorded.pairs[1:])


def test_failed_run_is_recorded_with_what_there_is(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    session.run(submitter(session, [], fails=lambda order: order["stage"] == "train_w2s"), n_at_once=4)

    [recorded] = Grids(session.store).runs("toy")
    assert recorded.state == "failed"
    assert {bool(node.key) for node in recorded.nodes if node.stage == "train_gt"} == {True}
    assert {node.key for node in recorded.nodes if node.stage == "train_w2s"} == {None}
    assert pgr_table(tmp_path / "results.duckdb", "toy", "pair").num_rows == 0


def test_run_of_another_machine_that_shares_the_store_lands_in_these_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("W2S_STORE", str(tmp_path / "shared"))
    here, there = tmp_path / "here", tmp_path / "there"
    run(here)
    run(there, seeds=[0, 1])

    session = open_session(here, seeds=[0, 1])
    assert not session.plan.pending
    session.record_fresh()

    assert pgr_table(here / "results.duckdb", "toy", "seed").num_rows == 6
    assert not (here / "store").exists()


DATASETS = ["sst2", "boolq"]


def run_by_dataset(home: Path) -> list[str]:
    """Run the toy grid as the flow of the deployments does: what is shared first, then a part per dataset."""
    executed: list[str] = []
    session = open_session(home, datasets=DATASETS)
    with session.recorded():
        session.drain(session.plan.shared, submitter(session, executed), n_at_once=4)
        for dataset in DATASETS:
            part = open_session(home, datasets=[dataset])
            part.drain(part.plan, submitter(part, executed), n_at_once=4)
        session.look_again()
    return executed


def test_grid_in_parts_is_the_grid_at_once(tmp_path: Path) -> None:
    executed = run_by_dataset(tmp_path / "parts")

    assert sorted(executed) == sorted(run(tmp_path / "whole", datasets=DATASETS))
    [parts] = Grids(open_session(tmp_path / "parts").store).runs("toy")
    [whole] = Grids(open_session(tmp_path / "whole").store).runs("toy")
    assert (parts.state, parts.nodes, parts.pairs) == ("complete", whole.nodes, whole.pairs)


def test_grid_whose_parts_miss_something_has_failed(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    with session.recorded():
        session.drain(session.plan.shared, submitter(session, []), n_at_once=4)
        session.look_again()

    [recorded] = Grids(session.store).runs("toy")
    assert recorded.state == "failed"
    assert {node.stage for node in recorded.nodes if node.key} == {"pretrain"}


def test_results_are_up_to_date_in_the_middle_of_a_run(tmp_path: Path) -> None:
    session = open_session(tmp_path, datasets=DATASETS)
    with session.recorded() as update:
        part = open_session(tmp_path, datasets=["boolq"])
        part.drain(part.plan, submitter(part, []), n_at_once=4)
        session.look_again()
        update()

        table = pgr_table(tmp_path / "results.duckdb", "toy", "pair")
        assert table["dataset"].to_pylist() == ["boolq"] * 3


def test_run_notices_that_its_home_or_store_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("W2S_STORE", str(tmp_path / "shared"))
    home = Home(tmp_path / "home")
    home.root.mkdir()
    places = Places(home)
    places.check()  # a store comes with the first artifact
    (tmp_path / "shared").mkdir()
    places.check()
    (tmp_path / "shared").rename(tmp_path / "elsewhere")
    with pytest.raises(W2sError, match=r"shared has been removed while the run went on$"):
        places.check()
    (tmp_path / "elsewhere").rename(tmp_path / "shared")
    places.check()
    home.root.rmdir()
    (tmp_path / "another").mkdir()
    (tmp_path / "another").rename(home.root)
    with pytest.raises(W2sError, match=r"home has been removed while the run went on$"):
        places.check()


# A name stands for one definition


@pytest.mark.parametrize(
    "changes",
    [{"training": {"epochs": 5}}, {"seeds": [1]}, {"methods": ["logconf"]}, {"data_seed": 3}],
    ids=lambda changes: next(iter(changes)),
)
def test_changed_grid_leaves_its_earlier_results_as_a_version(changes: dict[str, Any], tmp_path: Path) -> None:
    finished(tmp_path)
    before = pgr_table(tmp_path / "results.duckdb", "toy", "seed").to_pylist()

    session = open_session(tmp_path, **changes)
    changed = session.changed
    session.run(submitter(session, []), n_at_once=4)

    field = next(iter(changes))
    assert changed is not None
    assert changed.startswith(f"toy has changed since its last run ({field}")
    assert changed.endswith("what it was stays as toy@1")
    assert pgr_table(tmp_path / "results.duckdb", "toy@1", "seed").to_pylist() == before
    assert pgr_table(tmp_path / "results.duckdb", "toy", "seed").num_rows == 3
    assert collect_garbage(session.home, session.store, dry_run=False) == []
    assert not open_session(tmp_path).plan.pending


@pytest.mark.parametrize(
    "changes",
    [{"retention": "none"}, {"audit": True}, {"runtime": {"workers": 1}}, {"methods": [{"name": "xent"}]}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_no_number_is_no_other_definition(changes: dict[str, Any], tmp_path: Path) -> None:
    finished(tmp_path)

    assert open_session(tmp_path, **changes).changed is None


def test_earlier_definition_goes_when_its_time_is_over(tmp_path: Path) -> None:
    finished(tmp_path)
    run(tmp_path, seeds=[1])
    session = open_session(tmp_path, seeds=[1])

    planned = collect_garbage(session.home, session.store, dry_run=True, keep_replaced=0)
    assert Grids(session.store).names() == ["toy", "toy@1"]
    removed = collect_garbage(session.home, session.store, dry_run=False, keep_replaced=0)

    assert removed == planned
    assert removed[0].what.startswith("grid toy@1, replaced")
    assert Grids(session.store).names() == ["toy"]
    assert not open_session(tmp_path, seeds=[1]).plan.pending
    assert open_session(tmp_path).plan.pending


def test_running_grid_shows_at_once_what_it_reuses(tmp_path: Path) -> None:
    finished(tmp_path)
    session = open_session(tmp_path, name="more", seeds=[0, 1])

    with session.recorded() as update:
        update()
        assert pgr_table(tmp_path / "results.duckdb", "more", "seed")["seed"].to_pylist() == [0, 0, 0]
