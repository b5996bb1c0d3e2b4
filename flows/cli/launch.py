"""Runs a grid from the command line: a server, the flow in this process, the display, and the closing words."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from typing import TypeVar

from rich.console import Console

from artifacts.errors import Stopped, W2sError
from artifacts.results.query import pgr_table
from artifacts.waiting import STOP, show_in
from flows.cli.display import Display
from flows.home import Home, Places
from flows.report.page.page import fresh_page
from flows.report.tables import show, unsure_labels
from flows.run.drain import Outcome
from flows.run.interrupts import INTERRUPTS
from flows.run.session import Session
from flows.serve.environment import load_settings
from flows.serve.server import local_server
from tasks.devices import check_runner

T = TypeVar("T")

OK, FAILED = 0, 1

LOOK_S = 1.0
"""How often it is looked whether the home and the store are there."""

LITTLE_BYTES = 1 << 20
"""With less room than this, a server that fails has most likely run out of it."""


def launch(session: Session, console: Console, program: str, grid: str, arguments: list[str]) -> int:
    """Run what ``session`` lacks, as a Prefect flow in this process.

    Args:
        session: an open session with pending nodes.
        console: where to show progress.
        program: what the user types for this program, to repeat in advice.
        grid: what the user calls the grid: a preset or a file, and options that change it.
        arguments: all that the user typed after the program: ``run``, the grid, options.

    Returns:
        The exit code.
    """
    check_runner(session.config.runtime)
    session.home.root.mkdir(parents=True, exist_ok=True)
    show_in(session.home.root)
    clock = time.monotonic()
    command = shlex.join([program, *arguments])
    plan = session.plan
    n_pending, n_nodes = len(plan.pending), len(plan.planned)
    say(
        console,
        f"{session.config.name}: {n_pending} of {n_nodes} stages to run, {n_nodes - n_pending} reused; "
        f"{session.forecast()}",
    )
    try:
        with local_server(session.home.root, lambda line: say(console, line), meanwhile=_import_flows) as server:
            load_settings()
            import httpx  # with Prefect, not before

            from flows.run.grid import SESSION, run_grid, stop_runs

            with (
                session.remaining() as remaining,
                Display(console, session.home, n_pending, remaining.told) as display,
                INTERRUPTS.at_the_end(console.show_cursor),
            ):
                session.listeners += [remaining, display]
                SESSION.set(session)
                try:
                    state = _guarded(
                        lambda: run_grid(session.config, str(session.home.root), return_state=True),
                        session.home,
                        stop_runs,
                    )
                except httpx.HTTPError as error:
                    raise W2sError(_server_failed(session, error, command)) from error
            cause = state.result(raise_on_failure=False) if state.is_failed() else None
            if isinstance(cause, W2sError):
                raise cause
            outcome = session.outcome
            if outcome is None or (state.is_failed() and not outcome.failed) or state.is_crashed():
                raise W2sError(f"the flow broke: {state.message}; go on with: {command}")
            n_task_runs = len(outcome.ran) + len(outcome.reused) + len(outcome.failed)
            server.flush(state.state_details.flow_run_id, n_task_runs)
    except (KeyboardInterrupt, Stopped):
        say(console, f"interrupted; finished stages stay, go on with: {command}")
        raise
    _close(session, outcome, console, time.monotonic() - clock)
    if outcome.failed:
        say(console, f"logs: {session.home.logs}; finished stages stay, try again with: {command}")
    say(console, f"results: {session.home.results}")
    name = session.config.name
    if session.plan.graph.pairs:
        with contextlib.suppress(W2sError):  # the flow has said why not
            say(console, f"report: {fresh_page(session.home, name)}")
    say(console, f"next: {program} pgr --grid {name} --by dataset")
    say(console, f"      {program} sql \"SELECT * FROM pgr WHERE grid = '{name}'\"")
    say(console, f"      {program} plan {grid} --set training.epochs=1   (what that change would rerun)")
    return FAILED if outcome.failed else OK


def _import_flows() -> None:
    """Import what takes seconds; what is wrong with it is said when it is needed."""
    with contextlib.suppress(Exception):
        load_settings()
        import flows.run.grid  # noqa: F401


def _guarded(run: Callable[[], T], home: Home, stop: Callable[[], None]) -> T:
    """Call ``run`` in a thread, while this one hears signals, and looks after the folders of the run.

    Args:
        run: is interrupted by ``stop``, and never in the middle of something.
        home: the project.
        stop: lets ``run`` come to its end soon.

    Raises:
        KeyboardInterrupt: a signal came.
        W2sError: a folder is gone, without which the run cannot go on.
    """
    places = Places(home)
    ended: Future[T] = Future()

    def call() -> None:
        try:
            ended.set_result(run())
        except BaseException as error:
            ended.set_exception(error)

    # Whatever hangs in it must not keep the process from ending.
    threading.Thread(target=copy_context().run, args=(call,), name="flow", daemon=True).start()
    try:
        while not ended.done():
            places.check()
            wait([ended], LOOK_S)
    except BaseException as error:
        if isinstance(error, W2sError):
            INTERRUPTS.end_soon(FAILED)
        STOP.set()
        stop()
        wait([ended])
        raise
    return ended.result()


def _server_failed(session: Session, error: Exception, command: str) -> str:
    cause = str(error).splitlines()[0]
    free_bytes = shutil.disk_usage(session.home.root).free
    if free_bytes < LITTLE_BYTES:
        cause = f"no space left at {session.home.root}"
    return (
        f"the Prefect server failed ({cause}; log: {session.home.logs / 'server.log'}); "
        f"finished stages stay, go on with: {command}"
    )


def _close(session: Session, outcome: Outcome, console: Console, seconds: float) -> None:
    name = session.config.name
    table = pgr_table(session.home.results, name, "pair") if session.plan.graph.pairs else None
    if table is not None and table.num_rows:
        show(table, title=f"{name}: performance gap recovered")
        for line in unsure_labels(table):
            say(console, line)
    for audit in session.audits:
        if audit.metrics["verdict"] == "fail":
            say(console, f"do not trust {audit.labels['dataset']}: {audit.metrics['reasons']}")
    n_reused = len(outcome.reused) + len(session.plan.planned) - len(session.plan.pending)
    say(console, f"{len(outcome.ran)} stages ran, {n_reused} reused, {seconds:.0f} s")
    for failure in outcome.failed:
        say(console, f"failed: {failure.node.name}: {failure.message}")
    if outcome.blocked:
        say(console, f"{len(outcome.blocked)} stages were not tried, because they read what failed")


def say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
