"""Who runs, who is blocked, and who is reused, when a plan is brought to its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import Stopped
from flows.plan.compare import Status
from flows.run.drain import Ended
from tests.toy_runs import drain, open_session, submitter


def is_training_of_m(order: Any) -> bool:
    return order["name"].startswith("sst2 train_gt offline-m")


def test_everything_runs_once(tmp_path: Path) -> None:
    session = open_session(tmp_path)

    outcome, executed = drain(session)

    assert len(executed) == len(set(executed)) == len(session.plan.planned)
    assert not outcome.failed
    assert not open_session(tmp_path).plan.pending


def test_failure_ends_only_what_depends_on_it(tmp_path: Path) -> None:
    outcome, executed = drain(open_session(tmp_path), fails=is_training_of_m)

    assert [failure.message for failure in outcome.failed] == ["it broke"]
    assert [node.name for node in outcome.blocked] == ["sst2 score offline-m transfer_train seed 0"]
    assert "sst2 score offline-xs->offline-m xent seed 0" in executed


def test_stopped_node_ends_a_run_in_which_nothing_has_failed(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    executed: list[str] = []
    submit = submitter(session, executed)

    def stopped(order: Any, ended: Callable[[Ended], None]) -> None:
        if is_training_of_m(order):
            ended(Ended(order, "stopped"))
        else:
            submit(order, ended)

    with pytest.raises(Stopped, match="finished stages stay"):
        session.drain(session.plan, stopped, n_at_once=1)

    assert session.outcome is not None
    assert [node.name for node in session.outcome.ran] == executed
    assert executed
    assert not session.outcome.failed
    assert not session.outcome.blocked


def test_next_run_goes_on_where_a_failed_one_ended(tmp_path: Path) -> None:
    drain(open_session(tmp_path), fails=is_training_of_m)

    _, executed = drain(open_session(tmp_path))

    assert sorted(executed) == [
        "sst2 score offline-m transfer_train seed 0",
        "sst2 train_gt offline-m transfer_train seed 0",
    ]


def test_broken_artifact_that_is_made_again_alike_leaves_descendants_reused(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    drain(session)
    [prepared] = (tmp_path / "store" / "prepare").glob("*/test.parquet")
    prepared.unlink()

    outcome, executed = drain(open_session(tmp_path))

    assert executed == ["sst2 prepare"]
    # The three pretrainings were fresh; all others proved done when their turn came.
    assert len(outcome.reused) == len(session.plan.planned) - 1 - 3


def test_broken_artifact_that_is_made_again_otherwise_reruns_its_readers(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    drain(session)
    [prepared] = (tmp_path / "store" / "prepare").glob("*/test.parquet")
    prepared.unlink()

    _, executed = drain(open_session(tmp_path), content=lambda order: "new")

    assert len(executed) == len(session.plan.planned) - 3


SUPERVISOR = "sst2 train_gt offline-xs weak_train seed 0"


def evict_supervisor(home: Path) -> None:
    session = open_session(home)
    for entry in session.plan.planned.values():
        if entry.node.name == SUPERVISOR:
            assert entry.key
            session.store.evict("train_gt", entry.key, "model")


def break_labels(home: Path) -> None:
    for file in (home / "store" / "weak_labels").glob("*/test.parquet"):
        file.unlink()


def test_evicted_weights_that_nothing_needs_are_fresh(tmp_path: Path) -> None:
    drain(open_session(tmp_path))
    evict_supervisor(tmp_path)

    assert not open_session(tmp_path).plan.pending


def test_evicted_weights_that_are_needed_are_made_again_first(tmp_path: Path) -> None:
    drain(open_session(tmp_path))
    evict_supervisor(tmp_path)
    break_labels(tmp_path)

    outcome, executed = drain(open_session(tmp_path))

    labels = ["sst2 weak_labels offline-xs seed 0", "sst2 weak_labels offline-s seed 0"]
    assert sorted(executed) == sorted([SUPERVISOR, *labels])
    assert executed.index(SUPERVISOR) < executed.index(labels[0])
    assert not outcome.failed
    assert not open_session(tmp_path).plan.pending


def test_plan_says_what_remade_weights_can_touch(tmp_path: Path) -> None:
    drain(open_session(tmp_path))
    evict_supervisor(tmp_path)
    break_labels(tmp_path)

    planned = open_session(tmp_path).plan.planned.values()

    remade = [entry for entry in planned if entry.cause == "evicted"]
    assert [entry.node.name for entry in remade] == [SUPERVISOR]
    touched = {entry.node.stage for entry in planned if entry.status is Status.DEPENDS}
    assert touched == {"train_w2s", "score"}


def test_weights_remade_with_other_bytes_rerun_their_readers(tmp_path: Path) -> None:
    drain(open_session(tmp_path))
    evict_supervisor(tmp_path)
    break_labels(tmp_path)

    _, executed = drain(open_session(tmp_path), content=lambda order: "other")

    assert "sst2 score offline-xs weak_train seed 0" in executed
    assert not open_session(tmp_path).plan.pending
