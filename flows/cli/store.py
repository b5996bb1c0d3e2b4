"""The commands ``w2s store``: check, clean and copy the artifact store."""

from __future__ import annotations

from typing import Annotated

import typer

from artifacts.errors import UsageError, W2sError
from artifacts.store.grids import KEPT_DAYS
from artifacts.store.manifest import Manifest
from flows.cli.app import app, say
from flows.home import Home, output_kinds

store_app = typer.Typer(help="Check, clean and copy the artifact store.", no_args_is_help=True)
app.add_typer(store_app, name="store")

Elsewhere = Annotated[str, typer.Argument(metavar="URL", help="Another store: s3://BUCKET/PREFIX, or a folder.")]


@store_app.command()
def verify() -> None:
    """Read everything in the store, and say what is not as its manifest says.

    Example: w2s store verify
    """
    problems = list(Home.from_environment().open_store().verify())
    for problem in problems:
        say(f"{problem.stage} {problem.key[:12]}: {problem.what}")
    if problems:
        raise W2sError(f"{len(problems)} broken; `w2s run GRID` makes what a grid needs of them anew")
    say("every artifact is as its manifest says")


@store_app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    keep_replaced: Annotated[
        float, typer.Option(min=0, metavar="DAYS", help="Keep grids NAME@N, earlier definitions, for so long.")
    ] = KEPT_DAYS,
) -> None:
    """Remove what no grid needs (neither its last complete run nor any since), and checkpoints older than 14 days.

    Example: w2s store gc --dry-run
    """
    from flows.run.garbage import collect_garbage

    home = Home.from_environment()
    removed = collect_garbage(home, home.open_store(), dry_run=dry_run, keep_replaced=keep_replaced)
    for item in removed:
        say(f"{item.what}  {item.size_bytes:,} bytes")
    verb = "would free" if dry_run else "freed"
    total = sum(item.size_bytes for item in removed)
    say(f"{verb} {total:,} bytes in {len(removed)} places")


@store_app.command()
def push(url: Elsewhere) -> None:
    """Copy artifacts and grids to another store, where it lacks them.

    Example: w2s store push s3://my-bucket/w2s
    """
    home = Home.from_environment()
    _copy(home, home.store_url, url)


@store_app.command()
def pull(url: Elsewhere) -> None:
    """Copy artifacts and grids from another store, where this one lacks them.

    Example: w2s store pull s3://my-bucket/w2s
    """
    from artifacts.results.build import build

    home = Home.from_environment()
    _copy(home, url, home.store_url)
    build(home.open_store(), home.results, output_kinds)


def _copy(home: Home, source: str, target: str) -> None:
    from artifacts.store.copies import copy
    from artifacts.store.opening import open_store

    opened = [open_store(url, home.store_cache) for url in (source, target)]
    if opened[0].url == opened[1].url:
        raise UsageError(f"{opened[0].url} is this store itself; name another")

    def tell(made: Manifest) -> None:
        say(f"{made.stage} {made.key[:12]}  {sum(made.payload.values()):,} bytes")

    done = copy(*opened, tell)
    for problem in done.problems:
        say(f"{problem.stage} {problem.key[:12]} not copied: {problem.what}")
    say(f"copied {done.n_artifacts} artifacts, {done.size_bytes:,} bytes; {done.n_there} were there")
    if done.problems:
        raise W2sError(f"{len(done.problems)} of {source} not copied; `w2s store verify` there says more")
