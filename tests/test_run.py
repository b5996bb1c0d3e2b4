"""What is written down around a run: the grid file, the results, and which weights stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.grids import Grids
from artifacts.query import pgr_table
from tests.toy_runs import open_session, submitter


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
    run(tmp_path, retention=retention)

    trained = [m for m in open_session(tmp_path).store.manifests() if m.stage.startswith("train_")]
    there = {f"{m.stage} {m.labels['half']}" for m in trained if not m.outputs["model"].evicted}
    assert there == kept


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
