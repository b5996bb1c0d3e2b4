"""The commands about Prefect servers, and about what a run needs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flows.cli.app import (
    FAILED,
    Format,
    Output,
    app,
    console,
)
from flows.home import Home
from flows.serve.environment import load_settings


@app.command()
def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of the server; default: 4200, or that of the server in use.")
    ] = None,
) -> None:
    """Serve the Prefect UI and the deployments of this project, until Ctrl-C.

    Example: w2s up
    """
    from flows.serve.up import up as serve

    serve(Home.from_environment(), console, port)


@app.command()
def deploy(
    pool: Annotated[str, typer.Option(help="Work pool whose workers run the deployments.")] = "w2s",
    datasets: Annotated[str | None, typer.Option(help="Work pool for the datasets of the grids, if another.")] = None,
) -> None:
    """Put the deployments on a work pool of the server in PREFECT_API_URL, for workers on several machines.

    Example: w2s deploy --pool w2s
    """
    load_settings()
    from flows.serve.deploy import deploy as put

    put(Home.from_environment(), console, pool, datasets)


@app.command()
def doctor(format: Format = None, output: Output = None) -> None:
    """Look at all that a run needs, and say what is wrong and what to do; exit code 1 where there is a problem.

    Example: w2s doctor
    """
    from flows.report.tables import show
    from flows.serve.doctor import as_table, examine
    from flows.serve.findings import PROBLEM

    findings = examine(Home.from_environment())
    show(as_table(findings), format, output=output)
    sys.exit(FAILED if any(finding.verdict == PROBLEM for finding in findings) else 0)
