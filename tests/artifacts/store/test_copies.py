"""Tests of ``artifacts.store.copies``, and of ``w2s store push`` and ``pull``."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.store.contract import Store
from artifacts.store.copies import copy
from artifacts.store.grids import Grids
from artifacts.store.local import LocalStore
from artifacts.store.s3.store import S3Store
from tests.artifacts.store.test_s3_store import OTHER, publish, weights_of
from tests.flows.cli.test_cli import run
from tests.toy_artifacts import KEY, STAGE, run_of


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home" / "store")


@pytest.fixture
def remote(s3_url: str, tmp_path: Path) -> S3Store:
    return S3Store(s3_url, tmp_path / "cache")


@pytest.fixture(params=["push", "pull"])
def ends(request: pytest.FixtureRequest, local: LocalStore, remote: S3Store) -> tuple[Store, Store]:
    """Source and target."""
    return (local, remote) if request.param == "push" else (remote, local)


def test_artifact_arrives_whole(ends: tuple[Store, Store]) -> None:
    source, target = ends
    made = publish(source)
    assert copy(source, target).n_artifacts == 1
    assert target.get(STAGE, KEY) == made
    assert weights_of(target) == "weights"
    assert list(target.verify()) == []


def test_only_what_is_missing_is_copied(ends: tuple[Store, Store]) -> None:
    source, target = ends
    publish(source, "theirs")
    publish(source, key=OTHER)
    publish(target, "ours!!")
    copied = copy(source, target)
    assert (copied.n_artifacts, copied.n_there) == (1, 1)
    assert weights_of(target) == "ours!!"
    assert copy(source, target)[:3] == (0, 0, 2)


def test_evicted_artifact_arrives_evicted(ends: tuple[Store, Store]) -> None:
    source, target = ends
    publish(source)
    source.evict(STAGE, KEY, "model")
    copy(source, target)
    assert target.get(STAGE, KEY) == source.get(STAGE, KEY)


def test_artifact_with_other_values_is_not_copied(local: LocalStore, remote: S3Store) -> None:
    publish(local)
    (local.output_path(STAGE, KEY, "model") / "weights.bin").write_text("WEIGHTS")
    copied = copy(local, remote)
    assert copied.problems[0].what.startswith("model: digest ")
    assert remote.get(STAGE, KEY) is None


def test_grids_arrive_and_keep_their_artifacts(ends: tuple[Store, Store]) -> None:
    source, target = ends
    publish(source)
    Grids(source).start(run_of()).finish(run_of(key=KEY), "complete")
    copy(source, target)
    target.gc(Grids(target).reach(), dry_run=False)
    assert target.get(STAGE, KEY) is not None
    assert Grids(target).runs("demo") == Grids(source).runs("demo")


def test_run_that_went_on_when_it_was_copied_is_replaced_by_its_end(ends: tuple[Store, Store]) -> None:
    source, target = ends
    run_on = Grids(source).start(run_of())
    copy(source, target)
    assert [run.state for run in Grids(target).runs("demo")] == ["interrupted"]
    run_on.finish(run_of(key=KEY), "complete")
    copy(source, target)
    assert [run.state for run in Grids(target).runs("demo")] == ["complete"]


def test_push_and_pull_say_what_they_copied(
    s3_url: str, local: LocalStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish(local)
    assert "copied 1 artifacts, 25 bytes; 0 were there" in run(capsys, "store", "push", s3_url)[1]

    monkeypatch.setenv("W2S_HOME", str(tmp_path / "second"))
    code, output = run(capsys, "store", "pull", s3_url)

    assert code == 0
    assert output.splitlines()[-1] == "copied 1 artifacts, 25 bytes; 0 were there"
    assert (tmp_path / "second" / "results.duckdb").exists()
    assert weights_of(LocalStore(tmp_path / "second" / "store")) == "weights"


def test_store_is_not_copied_to_itself(
    s3_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("W2S_STORE", s3_url)
    assert run(capsys, "store", "push", s3_url + "/") == (2, f"w2s: {s3_url} is this store itself; name another\n")


def test_unreachable_store_is_one_line(
    s3_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("W2S_STORE", s3_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    code, output = run(capsys, "status")

    assert code == 1
    assert output.count("\n") == 1
