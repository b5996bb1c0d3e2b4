"""``gc`` beside runs: whatever it does at whichever moment, nothing goes that a run needs.

No timing: ``gc`` is called from inside a run, or a run from inside ``gc``, at each place where the two can meet.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from artifacts.results.landing import Landing
from artifacts.results.query import pgr_table
from artifacts.store.contract import SWEEPING, Store, outlast_gc
from artifacts.store.grid_runs import dump
from artifacts.store.grids import Grids
from artifacts.store.local import LocalStore
from flows.run.garbage import collect_garbage
from flows.run.session import Session
from tasks.workers.checkpoints import checkpoint_folder, sweep
from tests.homes import LONG, Runs
from tests.toy_artifacts import KEY, STAGE, publish, run_of
from tests.toy_runs import finished, open_session, submitter

OTHER = "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def clean(session: Session) -> None:
    collect_garbage(session.home, session.store, dry_run=False)


def run(session: Session, executed: list[str], **how: Any) -> None:
    session.run(submitter(session, executed, **how), n_at_once=4)
    assert session.outcome is not None
    assert not session.outcome.failed
    assert open_session(session.home.root, **changes_of(session)).plan.pending == []


def changes_of(session: Session) -> dict[str, Any]:
    values = session.config.model_dump(mode="json")
    return {name: values[name] for name in ("name", "seeds", "retention", "data")}


def names(session: Session) -> list[str]:
    return sorted(entry.node.name for entry in session.plan.planned.values())


def test_gc_before_and_after_every_stage_of_a_run_removes_nothing_that_it_needs(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    executed: list[str] = []
    submit = submitter(session, executed)

    def submit_beside_gc(order: Any, ended: Any) -> None:
        clean(session)
        submit(order, ended)
        clean(session)

    session.run(submit_beside_gc, n_at_once=4)

    assert sorted(executed) == names(session)
    assert not open_session(tmp_path).plan.pending


def test_what_a_dropped_grid_alone_had_and_gc_removed_after_the_plan_is_made_again(tmp_path: Path) -> None:
    finished(tmp_path)
    session = open_session(tmp_path, seeds=[0, 1], name="more")
    n_planned = len(session.plan.pending)
    Grids(session.store).drop("toy")
    clean(session)

    executed: list[str] = []
    run(session, executed)

    assert len(executed) > n_planned
    assert sorted(executed) == names(session)


def test_fresh_grid_whose_artifacts_gc_removed_after_the_plan_has_work(tmp_path: Path) -> None:
    finished(tmp_path)
    session = open_session(tmp_path, name="again")
    assert not session.plan.pending
    Grids(session.store).drop("toy")
    clean(session)

    assert not session.record_fresh()

    assert session.plan.pending
    run(session, [])


def test_run_that_starts_after_gc_has_looked_keeps_what_it_found_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path)
    session = open_session(tmp_path, seeds=[0, 1], name="more")
    Grids(session.store).drop("toy")
    swept: list[int] = []
    executed: list[str] = []
    real_sweep = LocalStore._sweep

    def sweep_late(*arguments: Any) -> Any:
        # All was listed, and judged to be of no use.
        if not swept:
            swept.append(len(session.plan.planned) - len(session.plan.pending))
            run(session, executed)
        return real_sweep(*arguments)

    monkeypatch.setattr(LocalStore, "_sweep", sweep_late)
    collect_garbage(session.home, LocalStore(tmp_path / "store"), dry_run=False)

    assert len(executed) + swept[0] == len(session.plan.planned)
    assert not open_session(tmp_path, seeds=[0, 1], name="more").plan.pending


def test_published_while_gc_lists_stays_whatever_the_grids_say(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store)

    def keep() -> set[tuple[str, str]]:
        if store.get(STAGE, OTHER) is None:
            publish(store, OTHER)
        return set()

    store.gc(keep, dry_run=False)

    assert [made.key for made in store.manifests()] == [OTHER]


def test_made_anew_while_gc_looks_stays(store: LocalStore) -> None:
    publish(store)
    calls: list[None] = []

    def keep() -> set[tuple[str, str]]:
        calls.append(None)
        if len(calls) == 1:
            store._set_aside(store.folder(STAGE, KEY))
            publish(store)
        return set()

    store.gc(keep, dry_run=False)

    assert store.get(STAGE, KEY) is not None


def test_grid_that_begins_while_gc_holds_the_claim_keeps_its_artifact(store: LocalStore) -> None:
    publish(store)
    grids = Grids(store)
    reach = grids.reach()
    calls: list[None] = []

    def keep() -> Any:
        calls.append(None)
        if len(calls) == 3:  # listed, found to be waste, and now claimed
            assert [claim.label for claim in store.running()] == [SWEEPING]
            (store.root / "grids").mkdir()
            (store.root / "grids" / "demo.json").write_text(dump("demo", [run_of(key=KEY)]))
        return reach()

    store.gc(keep, dry_run=False)

    assert len(calls) >= 3
    assert store.get(STAGE, KEY) is not None


def test_who_begins_to_rely_on_an_artifact_waits_until_gc_is_through_with_it(store: LocalStore) -> None:
    publish(store)
    waited: list[tuple[str, str]] = []

    class Watched:
        """A store whose claims are seen."""

        running = store.running

        def claim(self, stage: str, key: str, **how: Any) -> Any:
            waited.append((stage, key))
            return store.claim("other", key, **how)

    watched: Store = Watched()  # type: ignore[assignment]
    with store.claim(STAGE, KEY, label=SWEEPING), store.claim(STAGE, OTHER, label="a training"):
        outlast_gc(watched, {(STAGE, KEY), (STAGE, OTHER)})

    assert waited == [(STAGE, KEY)]


def test_artifact_of_another_grids_node_is_kept_as_soon_as_a_run_relies_on_it(tmp_path: Path) -> None:
    finished(tmp_path)
    session = open_session(tmp_path, name="cut", data={"n_train": 1234})
    [before] = [made for made in session.store.manifests() if made.stage == "prepare"]
    executed: list[str] = []
    submit = submitter(session, executed)

    def submit_with_same_rows(order: Any, ended: Any) -> None:
        # Early cutoff: what reads these rows has the key that it had, under another node id.
        if order["stage"] == "prepare":
            with session.store.draft("prepare", order["key"]) as draft:
                session.store.copy_files(before, draft)
                session.store.publish(draft, dataclasses.replace(before, key=order["key"], node=order["node"]))
        submit(order, ended)

    reused: list[str] = []

    def clean_when_one_is_reused(event: str, node: Any, seconds: float) -> None:
        if event == "reused" and node.stage == "train_gt":
            reused.append(node.id)
            if len(reused) == 1:
                Grids(session.store).drop("toy")
                clean(session)

    session.listeners.append(clean_when_one_is_reused)
    session.run(submit_with_same_rows, n_at_once=1)

    assert len(reused) == 1
    assert executed
    assert open_session(tmp_path, name="cut", data={"n_train": 1234}).plan.pending == []


def test_weights_that_another_run_waits_for_are_not_evicted(tmp_path: Path) -> None:
    session = open_session(tmp_path, retention="none")
    other = open_session(tmp_path, name="other")
    with other.recorded():
        run(session, [])
        trained = [made for made in session.store.manifests() if made.stage.startswith("train_")]
        assert not any(made.outputs["model"].evicted for made in trained)
        other.look_again()

    run(open_session(tmp_path, retention="none", name="last"), [])
    trained = [made for made in session.store.manifests() if made.stage.startswith("train_")]
    assert all(made.outputs["model"].evicted for made in trained)


def test_eviction_after_the_plan_is_seen_when_the_run_begins(tmp_path: Path) -> None:
    finished(tmp_path)
    session = open_session(tmp_path, name="more", methods=["xent", "logconf"])
    [made] = [m for m in session.store.manifests() if m.stage == "train_gt" and m.labels["half"] == "weak_train"][:1]
    session.store.evict(made.stage, made.key, "model")

    with session.recorded():
        pass

    assert session.made[made.node].outputs["model"].evicted


def test_checkpoint_of_a_run_that_began_after_the_listing_is_kept(tmp_path: Path) -> None:
    folder = checkpoint_folder(tmp_path, KEY) / "7"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"node": "node"}')
    store = LocalStore(tmp_path / "store")
    grids = Grids(store)

    def running() -> set[str]:
        return set()

    nodes = grids.nodes()

    def nodes_late() -> set[str]:
        assert folder.exists()
        if not grids.names():
            grids.start(run_of())
        return nodes()

    assert sweep(tmp_path, nodes=nodes_late, running=running, dry_run=False) == []
    assert folder.exists()


def test_results_land_beside_gc_that_removes_what_was_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path)
    session = open_session(tmp_path, name="more", seeds=[1])
    removed: list[str] = []

    session.home.results.unlink()
    copy = Landing._copy

    def copy_after_gc(*arguments: Any) -> None:
        # The grids were read, their tables not yet.
        if not removed:
            Grids(session.store).drop("toy")
            removed.extend(item.what for item in collect_garbage(session.home, session.store, dry_run=False))
        copy(*arguments)

    monkeypatch.setattr(Landing, "_copy", copy_after_gc)
    run(session, [])

    assert any(what.startswith("score/") for what in removed)
    assert pgr_table(session.home.results, "more", "pair").num_rows == 3


@pytest.mark.slow
def test_gc_again_and_again_beside_a_grid_removes_nothing_that_it_needs(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    assert runs.run("run", runs.grid("first"))[0] == 0
    assert runs.run("grids", "--drop", "first")[0] == 0
    grid = runs.grid("second", seeds=[0, 1], training=LONG)
    process = runs.command("run", grid)
    n_beside = 0
    while process.poll() is None:
        code, output = runs.run("store", "gc")
        assert code == 0, output
        n_beside += process.poll() is None
    output, _ = process.communicate()

    assert process.returncode == 0, output
    assert n_beside >= 3
    assert re.search(r"\b0 stale, 0 depend", runs.run("plan", grid)[1])
    assert "second: complete" in runs.run("status")[1]
