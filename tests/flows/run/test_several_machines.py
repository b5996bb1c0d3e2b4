"""Grids on several machines, as far as no server is needed: what a dataset's run tells, and ``w2s deploy``."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from artifacts.store.s3.objects import Objects
from flows.run.drain import Failure, Outcome
from flows.run.grid import counts_told, final_state
from flows.serve.deployments import pooled
from tests.flows.cli.test_cli import run
from tests.toy_runs import open_session


def test_last_words_of_a_run_tell_its_counts(tmp_path: Path) -> None:
    plan = open_session(tmp_path).plan
    first, second, third, *_ = (entry.node for entry in plan.planned.values())
    failed = Outcome(ran=[first], failed=[Failure(second, "9 failed before")], blocked=[third])

    assert counts_told(final_state(plan, failed).message or "") == {"failed": 1, "blocked": 1, "ran": 1}
    assert counts_told(final_state(plan, Outcome(ran=[first, second])).message or "") == {"ran": 2}


@pytest.mark.parametrize("message", ["", "Flow run process crashed", "No heartbeat: its process is gone."])
def test_run_that_was_ended_by_others_tells_no_counts(message: str) -> None:
    assert counts_told(message) == {}


def test_datasets_may_have_a_work_pool_of_their_own() -> None:
    pools = {deployment.name: deployment.work_pool_name for deployment in pooled("ours", "pods")}

    assert pools.pop("dataset") == "pods"
    assert set(pools.values()) == {"ours"}


def test_bucket_of_a_store_is_made_unless_it_is_there(s3_url: str) -> None:
    objects = Objects(f"s3://made-{uuid.uuid4().hex[:8]}/store")

    objects.create_bucket()
    objects.overwrite("kept", b"")
    objects.create_bucket()

    assert [entry.path for entry in objects.entries("")] == ["kept"]


def test_deploy_without_a_server_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))

    code, printed = run(capsys, "deploy")

    assert code == 2
    assert printed.startswith("w2s: PREFECT_API_URL: no server is named")
    assert printed.count("\n") == 1
