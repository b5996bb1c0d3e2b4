"""What ``w2s doctor`` finds of home, store, results and database; gone when its advice is followed."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from artifacts.results.build import build
from artifacts.store.local import LocalStore
from flows.cli import main as cli
from flows.home import Home, output_kinds
from flows.serve.doctor_places import GIB, check_home, check_results, check_store, file_system, judge_room, own_database
from flows.serve.findings import OK, PROBLEM, WARNING, Finding
from tasks.workers.checkpoints import checkpoint_folder
from tests.flows.serve.test_doctor import found
from tests.s3_server import Service
from tests.toy_grid import ToyGrid, rights
from tests.toy_runs import drain, open_session


@pytest.fixture
def home() -> Home:
    """A home that is not there yet."""
    return Home.from_environment()


# The home


def test_home_in_which_nothing_can_be_made_is_a_problem() -> None:
    wrong = found(check_home, Home(Path("/proc/self")))  # where root cannot write, either

    assert wrong["home"].verdict == PROBLEM
    assert wrong["home"].found.startswith("/proc/self cannot be written to (")


def test_home_that_is_a_file_is_well_when_it_is_moved_away(home: Home) -> None:
    home.root.touch()

    assert found(check_home, home)["home"].found == f"{home.root} is a file, not a folder"

    home.root.rename(home.root.with_suffix(".old"))
    assert found(check_home, home)["home"].verdict == OK


@pytest.mark.parametrize(("free", "verdict"), [(20 * GIB, OK), (5 * GIB, WARNING), (GIB // 2, PROBLEM)])
def test_little_room_is_a_warning_and_none_a_problem(free: int, verdict: str) -> None:
    assert judge_room("disk", Path("/here"), free, 100 * GIB).verdict == verdict


def test_file_system_of_a_path_is_that_of_the_nearest_mount() -> None:
    assert file_system(Path("/proc/self/status")) == "proc"


# The store


def test_store_that_is_a_file_is_a_problem_until_another_is_named(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.root.mkdir()
    (home.root / "store").write_text("mine")

    wrong = found(check_store, home)["store"]

    assert wrong.found == f"{home.root / 'store'} is a file, not a folder"
    assert wrong.advice == "move it away, or set W2S_STORE to another folder"
    monkeypatch.setenv("W2S_STORE", str(tmp_path / "other"))
    assert found(check_store, home)["store"].verdict == OK


def test_folder_of_something_else_is_a_problem(home: Home) -> None:
    (home.root / "store").mkdir(parents=True)
    (home.root / "store" / "photo.jpg").touch()

    wrong = found(check_store, home)["check"]

    assert (wrong.verdict, wrong.advice) == (PROBLEM, "choose an empty or new folder, or another W2S_HOME")
    assert "photo.jpg" in wrong.found


def test_url_that_is_no_store_is_a_problem(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("W2S_STORE", "gs://bucket/store")

    assert "gs://bucket/store is no store" in found(check_store, home)["check"].found


def test_broken_artifact_is_a_warning_until_the_grid_is_run_again(home: Home) -> None:
    drain(open_session(home.root))
    [file] = (home.root / "store").glob("prepare/*/test.parquet")
    file.write_bytes(b"to")

    wrong = found(check_store, home)["artifacts"]

    assert wrong.verdict == WARNING
    assert wrong.found.startswith("1 of ")
    assert file.parent.name[:12] in wrong.found
    drain(open_session(home.root))
    assert found(check_store, home)["artifacts"].verdict == OK


def test_checkpoints_of_no_use_are_a_warning_until_they_are_collected(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    LocalStore(home.root / "store").create()
    folder = checkpoint_folder(home.root, "one") / "7"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"node": "unknown"}))

    wrong = found(check_store, home)["checkpoints"]

    assert wrong == Finding("checkpoints", WARNING, "1 of no use to any grid, 19 bytes", "`w2s store gc` removes them")
    sys.argv = ["w2s", "store", "gc"]
    with pytest.raises(SystemExit):
        cli.main()
    assert "checkpoints" not in found(check_store, home)


def test_store_on_s3_is_tried_and_left_as_it_was(
    home: Home, s3_url: str, s3_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("W2S_STORE", s3_url)

    assert found(check_store, home)["store"] == Finding(
        "store", OK, f"{s3_url}: an object was written on conditions, read and removed"
    )
    assert _objects(s3_url) == []
    assert not home.root.exists()


def _objects(url: str) -> list[Any]:
    from artifacts.store.s3.objects import Objects

    return list(Objects(url).entries(""))


def test_missing_bucket_is_a_problem(home: Home, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("W2S_STORE", "s3://nowhere/store")

    wrong = found(check_store, home)["check"]

    assert wrong[1:] == (PROBLEM, "s3://nowhere/store: there is no bucket nowhere", "create it first")


def test_missing_credentials_are_a_problem(
    home: Home, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("W2S_STORE", s3_url)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    wrong = found(check_store, home)["check"]

    assert wrong.found == f"{s3_url}: no credentials"
    assert wrong.advice is not None
    assert wrong.advice.startswith("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    assert found(check_store, home)["store"].verdict == OK


@pytest.mark.parametrize("condition", ["HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"])
def test_service_without_conditional_writes_is_a_problem(
    home: Home, s3_url: str, s3_service: Service, monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    honest = s3_service.application

    def careless(environ: dict[str, Any], start_response: Any) -> Any:
        environ.pop(condition, None)
        return honest(environ, start_response)

    monkeypatch.setattr(s3_service, "application", careless)
    monkeypatch.setenv("W2S_STORE", s3_url)

    wrong = found(check_store, home)["store"]

    assert wrong.verdict == PROBLEM
    assert "this service" in wrong.found
    assert _objects(s3_url) == []


# The results


def test_damaged_results_are_a_problem_until_they_are_built_anew(home: Home) -> None:
    grid = ToyGrid(home.root)
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    grid.run()
    build(grid.store, home.results, output_kinds)
    assert found(check_results, home)["results"].found == f"{home.results}: 1 grids, 1 PGRs"
    home.results.write_bytes(b"no database" * 1000)

    wrong = found(check_results, home)["check"]

    assert wrong.verdict == PROBLEM
    assert wrong.advice == "`w2s results rebuild` builds it anew"
    build(grid.store, home.results, output_kinds, is_anew=True)
    assert found(check_results, home)["results"].verdict == OK


def test_damaged_database_of_the_home_is_a_problem_until_it_is_moved_away(home: Home) -> None:
    path = home.root / "prefect" / "prefect.db"
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE flow_run (id)")
    assert own_database(path).found.startswith(f"{path}: 0 flow runs, ")
    path.write_bytes(b"no database" * 1000)

    wrong = own_database(path)

    assert wrong.verdict == PROBLEM
    assert wrong.advice is not None
    move = wrong.advice.partition("mv ")[2].split()[:2]
    Path(move[0]).rename(move[1])
    assert own_database(path).verdict == OK
