"""The commands about datasets and models."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from artifacts.errors import UsageError
from flows.cli.app import (
    FAILED,
    Format,
    FormatName,
    Output,
    Overrides,
    Source,
    app,
    changed_fields,
    complain,
    console,
    data_grid,
)
from flows.home import Home
from flows.run.interrupts import INTERRUPTS
from w2s_core.config import LARGEST
from w2s_core.data.datasets import DATASETS, called


@app.command()
def datasets(format: Format = None, output: Output = None) -> None:
    """List the datasets.

    Example: w2s datasets --format json
    """
    from flows.report.listings import datasets_table
    from flows.report.tables import show

    show(datasets_table(), format, output=output)


@app.command()
def audit(
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASETS", help="Names, or 'all': of a folder, all that it holds.")
    ],
    source: Source = None,
    models: Annotated[str | None, typer.Option(help="A ladder, or names: also count in their tokens.")] = None,
    format: Format = None,
    output: Output = None,
    overrides: Overrides = None,
) -> None:
    """Say whether datasets can be trusted: sizes, balance, duplicates, and what gives a label away.

    Example: w2s audit sst2 sciq --source my-data
    """
    from flows.report.tables import show
    from flows.run.audits import all_there, checks_table, print_audits, run_audits

    home = Home.from_environment()
    names = list(dict.fromkeys(name.strip() for text in datasets for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError("DATASETS: name at least one; `w2s datasets` lists them")
    is_all = "all" in names
    config = data_grid(list(DATASETS) if is_all else names, source, overrides, models)
    if is_all:
        config = all_there(config)
    with_models = models is not None or config.source == "offline"
    try:
        audited = run_audits(config, home, with_models=with_models)
    except BaseException:
        # What an interrupt cuts short may fail in another way than by it.
        if INTERRUPTS.exit_code is not None:
            complain("interrupted; finished audits stay, the same command does the others")
        raise
    store = home.open_store()
    if audited.done:
        if format in (None, "table") and output is None:
            print_audits(console, store, audited.done)
        else:
            show(checks_table(store, audited.done), format, output=output)
    for failure in audited.failures:
        complain(failure)
    if audited.failures:
        sys.exit(FAILED)


@app.command("show")
def show_examples(
    dataset: Annotated[str, typer.Argument(help="Its name.")],
    source: Source = None,
    n: Annotated[int, typer.Option("--n", min=1, max=LARGEST, help="How many groups of examples.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ids: Annotated[
        bool,
        typer.Option("--ids", help="Instead, the rows that a supervisor labels: split, id, and what it is shown."),
    ] = False,
    transcript: Annotated[
        bool,
        typer.Option("--transcript", help="Instead, what debaters said about it in the last grid that had them."),
    ] = False,
    grid: Annotated[
        str | None, typer.Option(help="A preset or a TOML file, whose source and data settings choose the rows.")
    ] = None,
    format: Annotated[
        FormatName | None,
        typer.Option(help="Of the rows to label; default: what --output ends with, else csv."),
    ] = None,
    output: Output = None,
    overrides: Overrides = None,
) -> None:
    """Print examples as models read them, with their labels and groups; the rows to label, or debates.

    Examples: w2s show sciq --source my-data, w2s show sciq --transcript,
    w2s show boolq --ids --grid demo --output boolq.csv
    """
    from flows.plan.load import load_grid
    from flows.report.examples import print_examples, rows_to_label
    from flows.report.tables import show
    from flows.report.transcripts import print_transcripts

    if output is not None and not ids:
        raise UsageError("--output is for the rows to label: give --ids, too")
    if transcript:
        if ids or source is not None or grid is not None or overrides:
            raise UsageError("--transcript shows what is stored: with it, only --n and --json count")
        print_transcripts(console, Home.from_environment().open_store(), called(dataset), n, as_json=as_json)
        return
    if grid is None:
        config = data_grid([dataset], source, overrides)
    else:
        fields = {**changed_fields(overrides, source=source), "datasets": [dataset], "name": "data", "audit": True}
        config = load_grid(grid, fields)
    if ids:
        show(rows_to_label(config), format, output=output, usual="csv")
    else:
        print_examples(console, config, n, as_json=as_json)


@app.command()
def methods(format: Format = None, output: Output = None) -> None:
    """List what methods are made of: losses, treatments of labels, stopping rules, ways to learn.

    Example: w2s methods
    """
    from flows.report.listings import methods_table
    from flows.report.tables import show

    show(methods_table(), format, output=output)


@app.command()
def supervisors(format: Format = None, output: Output = None) -> None:
    """List who may supervise besides models: kinds, ways to combine an ensemble, structures of simulated errors.

    Example: w2s supervisors
    """
    from flows.report.listings import supervisors_table
    from flows.report.tables import show

    show(supervisors_table(), format, output=output)


@app.command()
def models(format: Format = None, output: Output = None) -> None:
    """List the models and the ladders.

    Example: w2s models
    """
    from flows.report.listings import models_table
    from flows.report.tables import show

    show(models_table(), format, output=output)
