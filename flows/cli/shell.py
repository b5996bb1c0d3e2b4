"""``w2s sql --shell``: statements typed one after another, each asked of the results as they are by then.

What SQL may do, and how tables look, is elsewhere.
"""

from __future__ import annotations

import contextlib
import readline
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from artifacts.errors import UsageError
from artifacts.results.query import run_query
from flows.cli.app import complain, say
from flows.home import Home
from flows.report.tables import show
from flows.run.interrupts import INTERRUPTS

PROMPT, MORE = "w2s> ", "...> "

N_KEPT = 1_000
"""Lines of history."""

INTRODUCTION = "Read-only SQL; end a statement with `;`. FROM tables(); says what there is, Ctrl-D leaves."

NAMES = "SELECT table_name FROM duckdb_columns() WHERE NOT internal UNION SELECT column_name FROM duckdb_columns()"


def ask(home: Home) -> None:
    """Read statements from the terminal, or whatever stands for it, and print their rows until the input ends.

    A statement may have many lines, and ends with a semicolon, or where the input does. An error is one line, and the
    next statement is asked for.

    Raises:
        UsageError: there are no results to ask.
    """
    names = [row["table_name"] for row in run_query(home.results, NAMES).to_pylist()]
    is_typed = sys.stdin.isatty()
    if is_typed:
        say(INTRODUCTION)
    with INTERRUPTS.at_a_prompt(), _remembered(home.asked, names) if is_typed else contextlib.nullcontext():
        for statement in _statements(is_typed):
            _answer(home, statement)


def _statements(is_typed: bool) -> Iterator[str]:
    text = ""
    while True:
        try:
            line = input((MORE if text else PROMPT) if is_typed else "")
        except EOFError:
            if is_typed:
                say("")
            if text.strip():
                yield text
            return
        except KeyboardInterrupt:
            if INTERRUPTS.signal is not None:  # another than Ctrl-C, which ends the process
                raise
            say("")
            text = ""
            continue
        text = f"{text}{line}\n" if text or line.strip() else ""
        # A semicolon in quotes or in a comment ends nothing; what SQLite knows of that is so in DuckDB, too.
        if sqlite3.complete_statement(text):
            yield text
            text = ""


def _answer(home: Home, statement: str) -> None:
    try:
        show(run_query(home.results, statement))
    except UsageError as error:
        complain(str(error))
    except (KeyboardInterrupt, RuntimeError) as error:  # the latter is what DuckDB makes of Ctrl-C
        if INTERRUPTS.signal is not None or (isinstance(error, RuntimeError) and "interrupted" not in str(error)):
            raise
        complain("interrupted")


@contextlib.contextmanager
def _remembered(path: Path, names: list[str]) -> Iterator[None]:
    """Lines of earlier shells under the arrow keys, and names under Tab."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # none yet, or one of another readline
        readline.read_history_file(path)
    readline.set_history_length(N_KEPT)
    readline.set_completer(_completer(names))
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # what was typed is worth no failure
            readline.write_history_file(path)


def _completer(names: list[str]) -> Callable[[str, int], str | None]:
    def complete(begun: str, place: int) -> str | None:
        found = [name for name in sorted(names) if begun and name.startswith(begun)]
        return found[place] if place < len(found) else None

    return complete
