"""The commands that read results, and the one that builds them anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from artifacts.errors import UsageError
from flows.cli.app import (
    Format,
    Output,
    app,
    console,
    say,
)
from flows.home import Home, output_kinds

results_app = typer.Typer(help="Look after the results file.", no_args_is_help=True)
app.add_typer(results_app, name="results")


@app.command()
def pgr(
    grid: Annotated[str | None, typer.Option(help="Only this grid, by name.")] = None,
    by: Annotated[Literal["pair", "seed", "dataset", "method"], typer.Option(help="One row per this.")] = "pair",
    format: Format = None,
    output: Output = None,
) -> None:
    """Print performance gap recovered.

    Example: w2s pgr --grid demo --by method
    """
    from artifacts.results.query import pgr_table
    from flows.report.tables import show

    table = pgr_table(Home.from_environment().results, grid, by)
    show(table, format, output=output, title="performance gap recovered")


@app.command()
def compare(
    methods: Annotated[
        str | None,
        typer.Option(help="Comma-separated, the first is the reference; default: all, against the grid's first."),
    ] = None,
    grid: Annotated[str | None, typer.Option(help="Only this grid, by name.")] = None,
    by: Annotated[Literal["method", "dataset", "pair"], typer.Option(help="One row per this and measure.")] = "method",
    format: Format = None,
    output: Output = None,
) -> None:
    """Compare methods, pair by pair: differences in accuracy and PGR, 95 % intervals, and tests over datasets.

    Example: w2s compare --grid demo --methods xent,logconf
    """
    from artifacts.results.comparisons import compare as compared
    from flows.report.tables import show

    named = [word.strip() for word in (methods or "").split(",") if word.strip()]
    table = compared(Home.from_environment().results, grid, named, by)
    show(table, format, output=output, title="difference from the reference")


@app.command()
def figures(
    grid: Annotated[str, typer.Option(help="Name of the grid.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for the files; default: figures/GRID in the home.")
    ] = None,
) -> None:
    """Draw a grid's accuracies and its performance gap recovered, as SVG and PNG.

    Example: w2s figures --grid demo --output figures
    """
    from flows.report.figures import write_figures

    home = Home.from_environment()
    for path in write_figures(home.results, grid, output or home.figures(grid)):
        console.print(path, markup=False, highlight=False, soft_wrap=True)


@app.command()
def report(
    grid: Annotated[str | None, typer.Argument(metavar="[GRID]", help="Name of the grid; default: all.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="HTML file to write; default: reports/GRID.html or report.html in the home.")
    ] = None,
) -> None:
    """Write the results as one HTML file, with charts and tables to filter; it fetches nothing.

    Example: w2s report demo --output demo.html
    """
    from flows.report.page.page import write_page

    home = Home.from_environment()
    path = write_page(home, [] if grid is None else [grid], output or home.report(grid))
    console.print(path, markup=False, highlight=False, soft_wrap=True)


@app.command()
def sql(
    statement: Annotated[str | None, typer.Argument(metavar="[SQL]", help="One SELECT.")] = None,
    tables: Annotated[bool, typer.Option("--tables", help="Instead, say what there is to ask.")] = False,
    shell: Annotated[bool, typer.Option("--shell", help="Instead, ask one statement after another.")] = False,
    format: Format = None,
    output: Output = None,
) -> None:
    """Ask the results file; read-only. --tables lists tables and views, "FROM columns_of('pgr')" columns of one.

    Example: w2s sql "SELECT dataset, median(pgr) FROM pgr WHERE flag IS NULL GROUP BY dataset"
    """
    from artifacts.results.query import run_query
    from flows.cli.shell import ask
    from flows.report.tables import show

    if (statement is not None) + tables + shell != 1:
        raise UsageError("give one of these: a statement, --tables, or --shell")
    home = Home.from_environment()
    if shell:
        if format is not None or output is not None:
            raise UsageError("--shell prints tables: give --format and --output with a statement")
        ask(home)
        return
    show(run_query(home.results, statement or "FROM tables()"), format, output=output)


@results_app.command()
def rebuild() -> None:
    """Build the results file from nothing but the store; readers meanwhile get the one that is there.

    Landings bring only what is new, and replace a file that they cannot read, so this is needed only in doubt.

    Example: w2s results rebuild
    """
    from artifacts.results.build import build
    from artifacts.results.query import run_query

    home = Home.from_environment()
    build(home.open_store(), home.results, output_kinds, is_anew=True)
    [counts] = run_query(
        home.results,
        "SELECT (SELECT count(*) FROM grids) AS grids, (SELECT count(*) FROM scores) AS scores, "
        "(SELECT count(*) FROM predictions) AS predictions",
    ).to_pylist()
    told = ", ".join(f"{n:,} {name}" for name, n in counts.items())
    say(f"{home.results}: {told}, {home.results.stat().st_size:,} bytes")
