"""The command line, ``w2s``. Imports torch and Prefect only to run stages."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
from pathlib import Path

from artifacts.errors import UsageError, W2sError
from artifacts.store.contract import ABSENT_LINE
from flows.cli import data, export, grids, results, service, store  # noqa: F401  their commands
from flows.cli.app import FAILED, USAGE, app, complain
from flows.run.interrupts import INTERRUPTS, grace_s
from tasks import LOGGERS

N_NEW = 100_000
"""So many new objects before the garbage collector looks: those of a plan stay, and millions of them are looked through
again and again otherwise."""


MOST_BROKEN = 5
"""Lines on broken artifacts."""


def main() -> None:
    """Entry point: one line per error, exit code 2 for usage, 1 for a run, 130 after Ctrl-C, 143 after SIGTERM."""
    # Names of files may hold bytes that are no text; a line about them is printed all the same.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    thresholds = gc.get_threshold()
    gc.set_threshold(N_NEW)
    lines = _Lines()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(lines)
    with INTERRUPTS.heard():
        try:
            _require_text()
            grace_s()  # refused now, not in the last moments
            app(standalone_mode=True)
        except (W2sError, OSError) as error:
            if INTERRUPTS.exit_code is None:
                complain(str(error))
                sys.exit(USAGE if isinstance(error, UsageError) else FAILED)
        except Exception as error:
            if INTERRUPTS.exit_code is None:
                raise
            complain(f"while it ended: {type(error).__name__}: {error}")
        finally:
            for name in LOGGERS:
                logging.getLogger(name).removeHandler(lines)
            lines.finish()
            gc.set_threshold(*thresholds)
            # However the interrupted command took it: typer says 130 of any.
            if INTERRUPTS.exit_code is not None:
                sys.exit(INTERRUPTS.exit_code)


class _Lines(logging.Handler):
    """What is logged goes to the terminal, as a line each; of many broken artifacts, the first ones and how many."""

    def __init__(self) -> None:
        super().__init__()
        self._n_broken = 0

    def emit(self, record: logging.LogRecord) -> None:
        is_broken = record.msg == ABSENT_LINE
        self._n_broken += is_broken
        if not is_broken or self._n_broken <= MOST_BROKEN:
            complain(record.getMessage())

    def finish(self) -> None:
        """Say how many lines were left out."""
        if self._n_broken > MOST_BROKEN:
            complain(f"{self._n_broken - MOST_BROKEN} more artifacts are broken and count as absent")


def _require_text() -> None:
    """Refuse what is not UTF-8 in all that a command is told by the system: it could be no part of a key or a file.

    Raises:
        UsageError: an argument, a setting or the current folder.
    """
    told = {f"argument {number}": text for number, text in enumerate(sys.argv[1:], start=1)}
    told |= {name: text for name, text in os.environ.items() if name.startswith("W2S_")}
    told["the current folder"] = str(Path.cwd())
    for what, text in told.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{what} is not UTF-8: {text!r}; give it another name") from None


if __name__ == "__main__":
    main()
