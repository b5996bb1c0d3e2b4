"""The commands that read results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.app import (
    Format,
    Output,
    app,
    console,
)
from flows.home import Home


@app.command()
def pgr(
    grid: Annotated[str | None, typer.Option(help="Only this grid, by name.")] = None,
    by: Annotated[Literal["pair", "seed", "dataset", "method"], typer.Option(help="One row per this.")] = "pair",
    format: Format = "table",
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
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT.")],
    format: Format = "table",
    output: Output = None,
) -> None:
    """Ask the results file; read-only. Tables: scores, predictions, labels, curves, nodes, pairs; views: pgr, …

    Example: w2s sql "SELECT dataset, median(pgr) FROM pgr WHERE flag IS NULL GROUP BY dataset"
    """
    from artifacts.results.query import run_query
    from flows.report.tables import show

    show(run_query(Home.from_environment().results, statement), format, output=output)
