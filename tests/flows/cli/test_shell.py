"""The SQL shell: what ends a statement, what it survives, and what it remembers."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifacts.errors import UsageError
from artifacts.results.build import build
from flows.cli import shell
from flows.home import Home, output_kinds
from flows.run.interrupts import INTERRUPTS
from tests.flows.cli.test_cli import run
from tests.toy_grid import ToyGrid, rights

Type = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("home")
    grid = ToyGrid(root)
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    grid.run()
    build(grid.store, grid.results, output_kinds)
    return Home(root)


class Terminal(io.StringIO):
    """Somebody types here."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """What the shell prints, of answers and of errors, where these lines are typed; an exception is a key."""

    def typed(*lines: str | BaseException) -> tuple[str, str]:
        left: Iterator[str | BaseException] = iter((*lines, EOFError()))

        def read(prompt: str) -> str:
            line = next(left)
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr("builtins.input", read)
        monkeypatch.setattr(sys, "stdin", Terminal())
        with INTERRUPTS.heard():
            shell.ask(home)
        captured = capsys.readouterr()
        return captured.out, captured.err

    return typed


def test_statement_of_many_lines_ends_with_a_semicolon(typed: Type) -> None:
    out, err = typed("SELECT weak,", "strong", "FROM pairs;")
    assert "small  large" in out
    assert err == ""


def test_semicolon_in_quotes_or_a_comment_ends_nothing(typed: Type) -> None:
    out, err = typed("SELECT 'a;", "b' AS text -- c;", ", 7 AS n;")
    assert "text" in out
    assert err == ""


def test_error_is_one_line_and_the_next_statement_is_asked(typed: Type) -> None:
    out, err = typed("SELECT weak FROM pears;", "SELECT 12345 AS n;")
    assert err.startswith("w2s: Catalog Error")
    assert len(err.splitlines()) == 1
    assert "12345" in out


def test_writing_is_refused(typed: Type) -> None:
    assert "read-only" in typed("DELETE FROM pairs;")[1]


def test_interrupt_takes_back_what_was_typed(typed: Type) -> None:
    out, err = typed("SELECT nothing", KeyboardInterrupt(), "SELECT 12345 AS n;")
    assert "12345" in out
    assert err == ""


def test_interrupted_query_is_one_line(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise RuntimeError("Query interrupted")

    typed()  # the names are read before
    asked = shell.run_query
    monkeypatch.setattr(shell, "run_query", lambda path, sql: interrupted() if "range" in sql else asked(path, sql))
    assert typed("FROM range(5);")[1] == "w2s: interrupted\n"


def test_history_is_kept_for_the_next_shell(home: Home, typed: Type) -> None:
    typed()
    assert home.asked.exists()


def test_names_of_tables_and_columns_are_completed() -> None:
    complete = shell._completer(["pgr", "pgr_by_pair", "scores"])
    assert [complete("pgr", place) for place in range(3)] == ["pgr", "pgr_by_pair", None]


def test_what_is_piped_in_is_answered_without_prompts(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 1 AS one;\nSELECT 2 AS two"))
    with INTERRUPTS.heard():
        shell.ask(home)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == ["one", "────", "1", "two", "────", "2"]


def test_no_results_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run a grid first"):
        shell.ask(Home(tmp_path))


@pytest.mark.parametrize("words", [[], ["SELECT 1", "--tables"], ["--shell", "--format", "csv"]])
def test_sql_takes_one_of_a_statement_tables_and_shell(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = run(capsys, "sql", *words)
    assert code == 2
    assert len(printed.splitlines()) == 1


def test_tables_are_listed_with_what_they_are(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("W2S_HOME", str(home.root))
    code, printed = run(capsys, "sql", "--tables")
    assert code == 0
    assert "What each grid compares" in printed
