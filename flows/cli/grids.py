"""The commands about grids: write one, plan it, run it, and see what became of it."""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifacts.errors import UsageError, W2sError
from flows.cli.app import (
    Grid,
    Named,
    Names,
    Overrides,
    Rehash,
    Source,
    app,
    changed_fields,
    console,
    program,
    say,
    typed,
)
from flows.home import Home
from flows.plan.load import load_grid, preset_names

if TYPE_CHECKING:
    from flows.run.session import Session


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("grid.toml"),
) -> None:
    """Write a commented grid to start from.

    Example: w2s init my-grid.toml
    """
    if path.exists():
        raise UsageError(f"{path} is there already; choose another name")
    path.write_bytes((resources.files("flows") / "template.toml").read_bytes())
    console.print(f"wrote {path}; next: w2s plan {path}", highlight=False)


@app.command()
def plan(
    grid: Grid,
    why: Annotated[bool, typer.Option("--why", help="One line per node that will run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    update: Annotated[bool, typer.Option("--update", help="As if Hub revisions moved to today's commits.")] = False,
    rehash: Rehash = False,
    power: Annotated[
        bool, typer.Option("--power", help="Also the smallest difference between methods that the grid could detect.")
    ] = False,
    spread: Annotated[
        str | None,
        typer.Option(
            metavar="ITEMS,SEEDS,DATASETS",
            help="For --power: standard deviations of a difference in accuracy; default: of earlier runs.",
        ),
    ] = None,
    gap: Annotated[
        float | None, typer.Option(help="For --spread: ceiling less supervisor, which turns accuracy into PGR.")
    ] = None,
    source: Source = None,
    datasets: Names = None,
    models: Names = None,
    methods: Names = None,
    seeds: Names = None,
    name: Named = None,
    overrides: Overrides = None,
) -> None:
    """Say what a run would do, and why; runs nothing.

    Example: w2s plan demo --why
    """
    from flows.report.plan import as_records, print_plan
    from flows.report.power import Power
    from flows.run.session import Session

    options = {"source": source, "datasets": datasets, "models": models, "methods": methods, "seeds": seeds}
    config = load_grid(grid, changed_fields(overrides, **options, name=name))
    home = Home.from_environment()
    if not power and (spread is not None or gap is not None):
        raise UsageError("--spread and --gap are of --power; add it")
    if gap is not None and spread is None:
        raise UsageError("--gap goes with --spread; earlier runs know their own gaps")
    power_of_grid = Power(config, home.results, spread, gap) if power else None
    session = Session.open(config, home, update=update, rehash=rehash)
    if as_json:
        more = {"power": power_of_grid.records()} if power_of_grid is not None else {}
        time = session.forecast() if session.plan.pending else None
        json.dump({"grid": config.name, "time": time, **as_records(session.plan), **more}, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    say(f"grid {config.name}")
    if (changed := session.changed) is not None:
        say(changed)
    forecast = session.forecast() if session.plan.pending else ""
    print_plan(console, session.plan, grid=typed(grid, overrides, **options, name=name), why=why, forecast=forecast)
    for line in power_of_grid.lines() if power_of_grid is not None else ():
        say(line)


@app.command()
def run(
    grid: Grid,
    workers: Annotated[int | None, typer.Option(help="Stages at a time.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of each.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Move Hub revisions to today's commits.")] = False,
    rehash: Rehash = False,
    source: Source = None,
    datasets: Names = None,
    models: Names = None,
    methods: Names = None,
    seeds: Names = None,
    name: Named = None,
    overrides: Overrides = None,
) -> None:
    """Run what a grid lacks, and land the results.

    Finished stages stay, whatever happens: the same command goes on where it ended.

    Example: w2s run demo
    """
    from flows.run.session import Session

    more = list(overrides or [])
    more += [f"runtime.workers={workers}"] if workers is not None else []
    more += [f"runtime.threads={threads}"] if threads is not None else []
    options = {"source": source, "datasets": datasets, "models": models, "methods": methods, "seeds": seeds}
    config = load_grid(grid, changed_fields(more, **options, name=name))
    session = Session.open(config, Home.from_environment(), update=update, rehash=rehash)
    if (changed := session.changed) is not None:
        say(changed)
    if not session.plan.pending and session.record_fresh():
        console.print(
            f"nothing to do: all {len(session.plan.planned)} stages of {config.name} are fresh; "
            f"{program()} pgr --grid {config.name}",
            highlight=False,
        )
        _say_report(session)
        return
    from flows.cli.launch import launch

    sys.exit(launch(session, console, program(), typed(grid, overrides, **options), sys.argv[1:]))


def _say_report(session: Session) -> None:
    """Where the page of a grid's results is, if it has any."""
    from flows.report.page.page import fresh_page

    if session.plan.graph.pairs:
        try:
            say(f"report: {fresh_page(session.home, session.config.name)}")
        except W2sError as error:
            say(f"no report: {error}")


@app.command()
def status() -> None:
    """Say what is running now, and what the last run of each grid did.

    Example: w2s status
    """
    from flows.report.status import print_status

    print_status(console, Home.from_environment())


@app.command()
def explain(
    node: Annotated[str, typer.Argument(help="Start of a node id or key; `w2s plan GRID --why` lists ids.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say everything that is known of one node.

    Example: w2s explain 3fa9c2
    """
    from flows.report.status import explain_node

    explain_node(console, Home.from_environment(), node, as_json=as_json)


@app.command()
def grids(
    drop: Annotated[str | None, typer.Option(help="Forget this grid; `w2s store gc` then frees its artifacts.")] = None,
) -> None:
    """List the presets and the grids that were run, or forget one.

    Example: w2s grids
    """
    from artifacts.store.grids import Grids
    from flows.report.status import print_grids

    home = Home.from_environment()
    if drop is not None:
        Grids(home.open_store()).drop(drop)
        home.report(drop).unlink(missing_ok=True)  # the server lists what is there
        console.print(f"dropped {drop}; `w2s store gc --dry-run` shows what that frees", highlight=False)
        return
    print_grids(console, home, preset_names())
