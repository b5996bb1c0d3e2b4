"""The command line, ``w2s``. Imports torch and Prefect only to run stages."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from artifacts.errors import UsageError, W2sError
from flows.home import Home
from flows.load import load_grid, overridden_grid, parse_value, preset_names
from flows.store_cli import store_app
from w2s_core.config import GridConfig
from w2s_core.datasets import DATASETS

app = typer.Typer(
    help="Weak-to-strong generalization experiments as cached stages.\n\n"
    "A GRID is the name of a preset, or the path of a TOML file (`w2s init` writes one).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(store_app, name="store")

# Without emoji: a text with ":x:" is shown as it is.
console = Console(emoji=False)
errors = Console(stderr=True, emoji=False)

FAILED = 1
USAGE = 2
INTERRUPTED = 130

Grid = Annotated[str, typer.Argument(metavar="GRID", help="Preset name or TOML file.")]
Source = Annotated[
    str | None,
    typer.Option(help="'offline', 'hub', or a folder with <dataset>/{train,test}.{parquet,jsonl}."),
]
Names = Annotated[str | None, typer.Option(help="Comma-separated, instead of the grid's.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override any field, such as training.epochs=3."),
]
Rehash = Annotated[
    bool, typer.Option("--rehash", help="Digest external files again instead of trusting size and time.")
]
Format = Annotated[Literal["table", "csv", "json", "parquet"], typer.Option(help="How to print it.")]
Output = Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")]


def main() -> None:
    """Entry point: one line per error, exit code 2 for usage, 1 for a run, 130 after Ctrl-C."""
    try:
        app(standalone_mode=True)
    except (W2sError, OSError) as error:
        _complain(str(error))
        sys.exit(USAGE if isinstance(error, UsageError) else FAILED)


def _complain(line: str) -> None:
    errors.print(f"w2s: {line}", markup=False, highlight=False, soft_wrap=True)


def program() -> str:
    """What to type for this program: its name where the shell finds it, else the path that was used."""
    used = Path(sys.argv[0])
    found = shutil.which("w2s")
    if used.name != "w2s" or (found is not None and Path(found).samefile(used)):
        return "w2s"
    return os.path.relpath(used)


def _overrides(
    overrides: list[str] | None,
    *,
    source: str | None = None,
    datasets: str | None = None,
    models: str | None = None,
    methods: str | None = None,
    seeds: str | None = None,
) -> dict[str, Any]:
    """The fields that options set, by dotted name."""
    fields: dict[str, Any] = {}
    for pair in overrides or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r}: write FIELD=VALUE, such as --set training.epochs=3")
        fields[name.strip()] = parse_value(value.strip())
    if source is not None:
        fields["source"] = source
    for name, text in {"datasets": datasets, "methods": methods, "models": models}.items():
        if text is not None:
            fields[name] = [word.strip() for word in text.split(",") if word.strip()]
    if models is not None and "," not in models:
        fields["models"] = models  # a ladder
    if seeds is not None:
        fields["seeds"] = [parse_value(word.strip()) for word in seeds.split(",")]
    return fields


def _data_grid(
    datasets: list[str], source: str | None, overrides: list[str] | None, models: str | None = None
) -> GridConfig:
    """A grid that is asked for its data only: whatever rows there are will do."""
    values = {"name": "data", "datasets": datasets, "self_training": True, "data": {"allow_fewer": True}}
    return overridden_grid(values, _overrides(overrides, source=source, models=models), "options")


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("grid.toml"),
) -> None:
    """Write a commented grid to start from.

    Example: w2s init my-grid.toml
    """
    if path.exists():
        raise UsageError(f"{path} is there already; choose another name")
    text = (resources.files("flows") / "template.toml").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    console.print(f"wrote {path}; next: w2s plan {path}", highlight=False)


@app.command()
def plan(
    grid: Grid,
    why: Annotated[bool, typer.Option("--why", help="One line per node that will run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    update: Annotated[bool, typer.Option("--update", help="As if Hub revisions moved to today's commits.")] = False,
    rehash: Rehash = False,
    source: Source = None,
    datasets: Names = None,
    models: Names = None,
    methods: Names = None,
    seeds: Names = None,
    overrides: Overrides = None,
) -> None:
    """Say what a run would do, and why; runs nothing.

    Example: w2s plan demo --why
    """
    from flows.run import Session
    from flows.show_plan import as_records, print_plan

    config = load_grid(
        grid,
        _overrides(overrides, source=source, datasets=datasets, models=models, methods=methods, seeds=seeds),
    )
    session = Session.open(config, Home.from_environment(), update=update, rehash=rehash)
    if as_json:
        json.dump(as_records(session.plan), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        print_plan(console, session.plan, grid=grid, why=why)


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
    overrides: Overrides = None,
) -> None:
    """Run what a grid lacks, and land the results.

    Finished stages stay, whatever happens: the same command goes on where it ended.

    Example: w2s run demo
    """
    from flows.run import Session

    more = list(overrides or [])
    more += [f"runtime.workers={workers}"] if workers is not None else []
    more += [f"runtime.threads={threads}"] if threads is not None else []
    config = load_grid(
        grid, _overrides(more, source=source, datasets=datasets, models=models, methods=methods, seeds=seeds)
    )
    session = Session.open(config, Home.from_environment(), update=update, rehash=rehash)
    if not session.plan.pending:
        session.record_fresh()
        console.print(
            f"nothing to do: all {len(session.plan.planned)} stages of {config.name} are fresh; "
            f"{program()} pgr --grid {config.name}",
            highlight=False,
        )
        return
    from flows.launch import launch

    sys.exit(launch(session, console, program(), grid, sys.argv[1:]))


@app.command()
def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of the server; default: 4200, or that of the server in use.")
    ] = None,
) -> None:
    """Serve the Prefect UI and the deployments of this project, until Ctrl-C.

    Example: w2s up
    """
    from flows.up import up as serve

    serve(Home.from_environment(), console, port)


@app.command()
def deploy(
    pool: Annotated[str, typer.Option(help="Work pool whose workers run the deployments.")] = "w2s",
    datasets: Annotated[str | None, typer.Option(help="Work pool for the datasets of the grids, if another.")] = None,
) -> None:
    """Put the deployments on a work pool of the server in PREFECT_API_URL, for workers on several machines.

    Example: w2s deploy --pool w2s
    """
    from flows.deploy import deploy as put

    put(Home.from_environment(), console, pool, datasets)


@app.command()
def status() -> None:
    """Say what is running now, and what the last run of each grid did.

    Example: w2s status
    """
    from flows.show_status import print_status

    print_status(console, Home.from_environment())


@app.command()
def doctor(format: Format = "table", output: Output = None) -> None:
    """Look at all that a run needs, and say what is wrong and what to do; exit code 1 where there is a problem.

    Example: w2s doctor
    """
    from flows.doctor import as_table, examine
    from flows.findings import PROBLEM
    from flows.tables import show

    findings = examine(Home.from_environment())
    show(as_table(findings), format, output=output)
    sys.exit(FAILED if any(finding.verdict == PROBLEM for finding in findings) else 0)


@app.command()
def explain(
    node: Annotated[str, typer.Argument(help="Start of a node id or key; `w2s plan GRID --why` lists ids.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say everything that is known of one node.

    Example: w2s explain 3fa9c2
    """
    from flows.show_status import explain_node

    explain_node(console, Home.from_environment(), node, as_json=as_json)


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
    from artifacts.query import pgr_table
    from flows.tables import show

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
    from flows.figures import write_figures

    home = Home.from_environment()
    for path in write_figures(home.results, grid, output or home.figures(grid)):
        console.print(path, markup=False, highlight=False, soft_wrap=True)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT.")],
    format: Format = "table",
    output: Output = None,
) -> None:
    """Ask the results file; read-only. Tables: scores, predictions, weak_labels, curves, nodes, pairs; views: pgr, …

    Example: w2s sql "SELECT dataset, median(pgr) FROM pgr WHERE flag IS NULL GROUP BY dataset"
    """
    from artifacts.query import run_query
    from flows.tables import show

    show(run_query(Home.from_environment().results, statement), format, output=output)


@app.command()
def grids(
    drop: Annotated[str | None, typer.Option(help="Forget this grid; `w2s store gc` then frees its artifacts.")] = None,
) -> None:
    """List the presets and the grids that were run, or forget one.

    Example: w2s grids
    """
    from artifacts.grids import Grids
    from flows.show_status import print_grids

    if drop is not None:
        Grids(Home.from_environment().open_store()).drop(drop)
        console.print(f"dropped {drop}; `w2s store gc --dry-run` shows what that frees", highlight=False)
        return
    print_grids(console, Home.from_environment(), preset_names())


@app.command()
def datasets(format: Format = "table", output: Output = None) -> None:
    """List the datasets.

    Example: w2s datasets --format json
    """
    from flows.listings import datasets_table
    from flows.tables import show

    show(datasets_table(), format, output=output)


@app.command()
def audit(
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASETS", help="Names, or 'all': of a folder, all that it holds.")
    ],
    source: Source = None,
    models: Annotated[str | None, typer.Option(help="A ladder, or names: also count in their tokens.")] = None,
    format: Format = "table",
    output: Output = None,
    overrides: Overrides = None,
) -> None:
    """Say whether datasets can be trusted: sizes, balance, duplicates, and what gives a label away.

    Example: w2s audit sst2 sciq --source my-data
    """
    from flows.audits import all_there, checks_table, print_audits, run_audits
    from flows.tables import show

    home = Home.from_environment()
    names = list(dict.fromkeys(name.strip() for text in datasets for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError("DATASETS: name at least one; `w2s datasets` lists them")
    is_all = "all" in names
    config = _data_grid(list(DATASETS) if is_all else names, source, overrides, models)
    if is_all:
        config = all_there(config)
    with_models = models is not None or config.source == "offline"
    try:
        audited = run_audits(config, home, with_models=with_models)
    except KeyboardInterrupt:
        _complain("interrupted; finished audits stay, the same command does the others")
        sys.exit(INTERRUPTED)
    store = home.open_store()
    if audited.done:
        if format == "table" and output is None:
            print_audits(console, store, audited.done)
        else:
            show(checks_table(store, audited.done), format, output=output)
    for failure in audited.failures:
        _complain(failure)
    if audited.failures:
        sys.exit(FAILED)


@app.command("show")
def show_examples(
    dataset: Annotated[str, typer.Argument(help="Its name.")],
    source: Source = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many groups of examples.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    overrides: Overrides = None,
) -> None:
    """Print examples as models read them, with their labels and groups.

    Example: w2s show sciq --source my-data
    """
    from flows.examples import print_examples

    print_examples(console, _data_grid([dataset], source, overrides), n, as_json=as_json)


@app.command()
def models(format: Format = "table", output: Output = None) -> None:
    """List the models and the ladders.

    Example: w2s models
    """
    from flows.listings import models_table
    from flows.tables import show

    show(models_table(), format, output=output)


if __name__ == "__main__":
    main()
