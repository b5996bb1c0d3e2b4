"""The command that gives weights to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.app import app, say
from flows.home import Home


@app.command()
def export(
    node: Annotated[str, typer.Argument(help="Start of a node id or key, as `w2s plan GRID --why` or SQL has them.")],
    output: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that is not there yet.")],
    weights: Annotated[
        str | None, typer.Option(help="Which ones, where stopping rules took several, such as model.val_weak.")
    ] = None,
) -> None:
    """Write the weights of a node as a folder of transformers, with a card that says what made them.

    Example: w2s export 3fa9c2 my-student
    """
    from flows.report.card import export_node

    export_node(Home.from_environment(), node, output, weights)
    say(str(output))
