"""What all commands share: the application, its consoles, and options that several have."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from artifacts.errors import UsageError
from flows.plan.grid import GridConfig
from flows.plan.load import overridden_grid, parse_value

app = typer.Typer(
    help="Weak-to-strong generalization experiments as cached stages.\n\n"
    "A GRID is the name of a preset, or the path of a TOML file (`w2s init` writes one).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"w2s {importlib.metadata.version('w2s')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """What stands before a command."""


# Without emoji: a text with ":x:" is shown as it is.
console = Console(emoji=False)
errors = Console(stderr=True, emoji=False)

FAILED = 1
USAGE = 2
"""Exit codes."""

Grid = Annotated[str, typer.Argument(metavar="GRID", help="Preset name or TOML file.")]
Source = Annotated[
    str | None,
    typer.Option(
        help="'offline', 'hub', or a folder with <dataset>/{train,test}.{parquet,jsonl,csv}, or clones of the Hub's."
    ),
]
Names = Annotated[str | None, typer.Option(help="Comma-separated, instead of the grid's.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override any field, such as training.epochs=3."),
]
Named = Annotated[
    str | None, typer.Option("--name", help="What to call it; by default options that change it give it a name.")
]
Rehash = Annotated[
    bool, typer.Option("--rehash", help="Digest external files again instead of trusting size and time.")
]
FormatName = Literal["table", "csv", "json", "parquet", "markdown", "latex"]
Format = Annotated[
    FormatName | None, typer.Option(help="How to print it; default: what --output ends with, else a table.")
]
Output = Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")]


def complain(line: str) -> None:
    """A line about what is wrong."""
    errors.print(f"w2s: {line}", markup=False, highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """A line of the answer, as it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def program() -> str:
    """What to type for this program: its name where the shell finds it, else the path that was used."""
    used = Path(sys.argv[0])
    found = shutil.which("w2s")
    if used.name != "w2s" or (found is not None and Path(found).samefile(used)):
        return "w2s"
    return os.path.relpath(used)


def changed_fields(
    overrides: list[str] | None,
    *,
    source: str | None = None,
    datasets: str | None = None,
    models: str | None = None,
    methods: str | None = None,
    seeds: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """The fields that options set, by dotted name."""
    fields: dict[str, Any] = {}
    for pair in overrides or []:
        field, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r}: write FIELD=VALUE, such as --set training.epochs=3")
        fields[field.strip()] = parse_value(value.strip())
    if source is not None:
        fields["source"] = source
    for field, text in {"datasets": datasets, "methods": methods, "models": models}.items():
        if text is not None:
            fields[field] = [word.strip() for word in text.split(",") if word.strip()]
    if models is not None and "," not in models:
        fields["models"] = models  # a ladder
    if seeds is not None:
        fields["seeds"] = [parse_value(word.strip()) for word in seeds.split(",")]
    if name is not None:
        fields["name"] = name
    return fields


def typed(grid: str, overrides: list[str] | None, **options: str | None) -> str:
    """A grid and the options that make it another one, as a shell takes them."""
    words = [word for option, text in options.items() if text is not None for word in (f"--{option}", text)]
    return shlex.join([grid, *words, *(word for pair in overrides or [] for word in ("--set", pair))])


def data_grid(
    datasets: list[str], source: str | None, overrides: list[str] | None, models: str | None = None
) -> GridConfig:
    """A grid that is asked for its data only: whatever rows there are will do."""
    values = {"name": "data", "datasets": datasets, "self_training": True, "data": {"allow_fewer": True}}
    return overridden_grid(values, changed_fields(overrides, source=source, models=models), "options")
