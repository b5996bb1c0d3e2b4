"""Runs a grid from the command line: a server, the flow in this process, the display, and the closing words."""

from __future__ import annotations

import shlex
import shutil
import time

from rich.console import Console

from artifacts.errors import W2sError
from artifacts.query import pgr_table
from flows.display import Display
from flows.drain import Outcome
from flows.run import Session
from flows.server import local_server
from flows.tables import show
from tasks.devices import check_runner

OK, FAILED, INTERRUPTED = 0, 1, 130

LITTLE_BYTES = 1 << 20
"""With less room than this, a server that fails has most likely run out of it."""


def launch(session: Session, console: Console, program: str, grid: str, arguments: list[str]) -> int:
    """Run what ``session`` lacks, as a Prefect flow in this process.

    Args:
        session: an open session with pending nodes.
        console: where to show progress.
        program: what the user types for this program, to repeat in advice.
        grid: what the user calls the grid: a preset, or a file.
        arguments: all that the user typed after the program: ``run``, the grid, options.

    Returns:
        The exit code.
    """
    check_runner(session.config.runtime)
    clock = time.monotonic()
    command = shlex.join([program, *arguments])
    plan = session.plan
    n_pending, n_nodes = len(plan.pending), len(plan.planned)
    _say(
        console,
        f"{session.config.name}: {n_pending} of {n_nodes} stages to run, {n_nodes - n_pending} reused",
    )
    try:
        with local_server(session.home.root, lambda line: _say(console, line)) as server:
            import httpx  # with Prefect, not before

            from flows.grid import SESSION, run_grid

            with Display(console, session.home, n_pending) as display:
                session.listeners.append(display)
                token = SESSION.set(session)
                try:
                    state = run_grid(session.config, str(session.home.root), return_state=True)
                except httpx.HTTPError as error:
                    raise W2sError(_server_failed(session, error, command)) from error
                finally:
                    SESSION.reset(token)
            cause = state.result(raise_on_failure=False) if state.is_failed() else None
            if isinstance(cause, W2sError):
                raise cause
            outcome = session.outcome
            if outcome is None or (state.is_failed() and not outcome.failed) or state.is_crashed():
                raise W2sError(f"the flow broke: {state.message}; go on with: {command}")
            n_task_runs = len(outcome.ran) + len(outcome.reused) + len(outcome.failed)
            server.flush(state.state_details.flow_run_id, n_task_runs)
    except KeyboardInterrupt:
        _say(console, f"interrupted; finished stages stay, go on with: {command}")
        return INTERRUPTED
    _close(session, outcome, console, time.monotonic() - clock)
    if outcome.failed:
        _say(console, f"logs: {session.home.logs}; finished stages stay, try again with: {command}")
    _say(console, f"results: {session.home.results}")
    name = session.config.name
    _say(console, f"next: {program} pgr --grid {name} --by dataset")
    _say(console, f"      {program} sql \"SELECT * FROM pgr WHERE grid = '{name}'\"")
    _say(console, f"      {program} plan {grid} --set training.epochs=1   (what that change would rerun)")
    return FAILED if outcome.failed else OK


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
    for audit in session.audits:
        if audit.metrics["verdict"] == "fail":
            _say(console, f"do not trust {audit.labels['dataset']}: {audit.metrics['reasons']}")
    n_reused = len(outcome.reused) + len(session.plan.planned) - len(session.plan.pending)
    _say(console, f"{len(outcome.ran)} stages ran, {n_reused} reused, {seconds:.0f} s")
    for failure in outcome.failed:
        _say(console, f"failed: {failure.node.name}: {failure.message}")
    if outcome.blocked:
        _say(console, f"{len(outcome.blocked)} stages were not tried, because they read what failed")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
