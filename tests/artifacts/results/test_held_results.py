"""Results that another program holds, has left a log beside, or has damaged; and whether the advice helps."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from artifacts.errors import UsageError
from artifacts.results.build import build, shows
from artifacts.results.query import COPY, pgr_table, run_query
from flows.cli.results import rebuild
from flows.home import Home, output_kinds
from flows.report.figures import write_figures
from flows.serve.doctor_places import check_results
from flows.serve.findings import OK, WARNING
from tests.toy_grid import ToyGrid, rights
from tests.toy_runs import open_session, submitter

NOTEBOOK = """
import sys
import duckdb

connection = duckdb.connect(sys.argv[1])
for line in sys.stdin:
    connection.execute(line)
    print("done", flush=True)
"""
"""Somebody's notebook, which has forgotten ``read_only=True`` and runs one line of SQL after the other."""


class Notebook:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def execute(self, sql: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{sql}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def notebook(results: Path) -> Iterator[Notebook]:
    command = [sys.executable, "-c", NOTEBOOK, str(results)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    opened = Notebook(process)
    try:
        opened.execute("CREATE TABLE IF NOT EXISTS mine (number INTEGER)")
        opened.execute("INSERT INTO mine VALUES (1)")
        yield opened
    finally:
        if process.poll() is None:
            process.communicate()
            assert process.returncode == 0


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a grid whose results have landed."""
    grid = ToyGrid(tmp_path_factory.mktemp("landed"))
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    grid.run()
    build(grid.store, grid.results, output_kinds)
    return grid.results.parent


@pytest.fixture
def grid(landed: Path, tmp_path: Path) -> ToyGrid:
    """A copy of it."""
    shutil.copytree(landed, tmp_path, dirs_exist_ok=True)
    return ToyGrid(tmp_path)


def log(results: Path) -> Path:
    return results.with_name(f"{results.name}.wal")


def is_read(results: Path) -> bool:
    """Whether everything of ours that reads the results does so, and leaves nothing behind."""
    before = sorted(results.parent.iterdir())
    assert run_query(results, "SELECT count(*) AS n FROM scores").to_pylist() == [{"n": 3}]
    assert pgr_table(results, "toy", "pair").num_rows == 1
    assert sorted(results.parent.iterdir()) == before
    return True


def test_results_that_a_writer_holds_are_read(grid: ToyGrid, tmp_path: Path) -> None:
    with notebook(grid.results):
        with pytest.raises(duckdb.IOException, match="lock"):
            duckdb.connect(grid.results, read_only=True)

        assert is_read(grid.results)
        assert write_figures(grid.results, "toy", tmp_path / "figures")


def test_results_are_read_only_from_a_copy_too(grid: ToyGrid) -> None:
    with notebook(grid.results), pytest.raises(UsageError, match="read-only"):
        run_query(grid.results, "CREATE TABLE other AS SELECT 1")


def test_held_results_that_cannot_be_copied_name_the_program_and_are_read_when_it_ends(
    grid: ToyGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    with notebook(grid.results) as held:
        with monkeypatch.context() as patch:
            patch.setattr("artifacts.results.query.shutil.copyfile", full)
            with pytest.raises(UsageError) as caught:
                run_query(grid.results, "FROM scores")
        message = str(caught.value)
        assert f"(PID {held.process.pid})" in message
        assert "No space left on device" in message
        assert "end the program that holds it" in message
        assert "\n" not in message
        held.kill()
    assert is_read(grid.results)


def full(*paths: object) -> None:
    raise OSError(28, "No space left on device")


def test_landing_over_results_that_a_writer_holds_disturbs_nobody(grid: ToyGrid) -> None:
    with notebook(grid.results) as held:
        assert log(grid.results).exists()

        build(grid.store, grid.results, output_kinds)

        assert not log(grid.results).exists()
        held.execute("INSERT INTO mine VALUES (2)")
        with duckdb.connect(grid.results, read_only=True) as mine:
            assert mine.sql("SHOW TABLES").filter("name = 'mine'").fetchall() == []
    # Its end is that of its own file.
    assert is_read(grid.results)
    assert not log(grid.results).exists()


def test_log_of_a_killed_writer_is_gone_with_the_file_that_it_belongs_to(grid: ToyGrid) -> None:
    with notebook(grid.results) as held:
        held.kill()
    assert log(grid.results).exists()

    build(grid.store, grid.results, output_kinds)

    assert not log(grid.results).exists()
    assert is_read(grid.results)


@pytest.fixture(scope="module")
def left(landed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of results with a log beside them that a writer of an earlier version has begun after the landing."""
    folder = tmp_path_factory.mktemp("left")
    shutil.copytree(landed, folder, dirs_exist_ok=True)
    grid = ToyGrid(folder)
    with notebook(grid.results) as held:
        build(grid.store, grid.results, output_kinds)
        held.execute("CHECKPOINT")
        held.execute("INSERT INTO mine VALUES (2)")
        held.kill()
    return folder


@pytest.fixture
def orphaned(left: Path, tmp_path: Path) -> ToyGrid:
    """A copy of it."""
    shutil.copytree(left, tmp_path, dirs_exist_ok=True)
    grid = ToyGrid(tmp_path)
    with pytest.raises(duckdb.Error, match="WAL does not match"):
        duckdb.connect(grid.results, read_only=True)
    return grid


def test_log_that_fits_no_file_is_not_in_the_way(orphaned: ToyGrid) -> None:
    assert is_read(orphaned.results)


def test_doctor_says_who_holds_the_results_and_its_advice_helps(grid: ToyGrid) -> None:
    home = Home(grid.results.parent)
    with notebook(grid.results) as held:
        [warned] = check_results(home)
        held.kill()

    assert warned.verdict == WARNING
    assert f"(PID {held.process.pid})" in warned.found
    build(grid.store, grid.results, output_kinds)
    assert [finding.verdict for finding in check_results(home)] == [OK]


def test_doctor_warns_of_a_log_that_fits_no_file_until_results_land_again(orphaned: ToyGrid) -> None:
    home = Home(orphaned.results.parent)
    [warned] = check_results(home)
    assert warned.verdict == WARNING
    assert "WAL does not match" in warned.found

    build(orphaned.store, orphaned.results, output_kinds)

    assert [finding.verdict for finding in check_results(home)] == [OK]


def test_log_that_fits_no_file_is_a_reason_to_land_again(orphaned: ToyGrid) -> None:
    [run] = run_query(orphaned.results, "SELECT run FROM grids")["run"].to_pylist()
    assert not shows(orphaned.results, run)

    build(orphaned.store, orphaned.results, output_kinds)

    assert shows(orphaned.results, run)


def spoil(results: Path) -> None:
    results.write_bytes(b"no database" * 1000)


def spoil_blocks(results: Path) -> None:
    """What a bad disk does to the tables, while the headers are as they were."""
    content = bytearray(results.read_bytes())
    content[12288:] = bytes(byte ^ 255 for byte in content[12288:])
    results.write_bytes(content)


def make_newer(results: Path) -> None:
    """As a later version of DuckDB would write: its number is what the header begins with, after checksum and name."""
    content = bytearray(results.read_bytes())
    content[12:20] = (9999).to_bytes(8, "little")
    results.write_bytes(content)


def make_older(results: Path) -> None:
    """As an earlier version of w2s would have left it."""
    with duckdb.connect(results) as connection:
        connection.execute("DROP VIEW pgr_by_pair")


@pytest.mark.parametrize("change", [spoil, spoil_blocks, make_newer, make_older])
def test_what_is_said_of_results_that_cannot_be_read_helps(
    change: object, grid: ToyGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = grid.results
    assert callable(change)
    change(results)

    with pytest.raises(UsageError) as caught:
        pgr_table(results, "toy", "pair")

    message = str(caught.value)
    assert message.startswith(f"cannot read {results} (")
    assert message.endswith("; `w2s results rebuild` builds it anew")
    assert "\n" not in message
    monkeypatch.setenv("W2S_HOME", str(results.parent))
    rebuild()
    assert pgr_table(results, "toy", "pair").num_rows


@pytest.mark.parametrize("change", [spoil, spoil_blocks, make_newer, make_older])
def test_landing_replaces_results_that_cannot_be_read(change: object, grid: ToyGrid) -> None:
    assert callable(change)
    change(grid.results)

    build(grid.store, grid.results, output_kinds)

    assert is_read(grid.results)


def test_write_protected_results_are_read_and_replaced(grid: ToyGrid) -> None:
    grid.results.chmod(0o444)
    assert is_read(grid.results)

    build(grid.store, grid.results, output_kinds)

    assert is_read(grid.results)


def test_missing_results_are_there_after_a_run(tmp_path: Path) -> None:
    results = tmp_path / "results.duckdb"
    with pytest.raises(UsageError, match=f"no results at {results}: run a grid first"):
        pgr_table(results, "toy", "pair")
    session = open_session(tmp_path)
    submit = submitter(session, [])
    results.unlink()

    session.run(submit, n_at_once=4)

    assert pgr_table(results, "toy", "pair").num_rows


def test_copy_of_a_killed_reader_is_removed_when_it_is_old(grid: ToyGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = grid.results.with_name(f"{COPY}left")
    copy.mkdir()
    build(grid.store, grid.results, output_kinds)
    assert copy.exists()
    monkeypatch.setattr("artifacts.results.build.OLD_S", -1)

    build(grid.store, grid.results, output_kinds)

    assert not copy.exists()
