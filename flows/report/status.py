"""What is running, what was run, and all that is known of one node, for the terminal. Reads the store only."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from rich.console import Console

from artifacts.errors import UsageError
from artifacts.identity.keys import JSON
from artifacts.store.contract import Store
from artifacts.store.grids import Grids
from artifacts.store.manifest import Manifest
from artifacts.waiting import notices
from flows.home import Home
from flows.report.remaining import remaining


def print_status(console: Console, home: Home) -> None:
    """Print what is being made now, and how the last run of each grid ended."""
    store = home.open_store()
    progress = {entry["key"]: entry for entry in read_progress(home).values()}
    running = store.running()
    _say(console, f"{len(running)} stages running")
    for claim in running:
        told = progress.get(claim.key)
        far = f"{told['done']}/{told['total']} {told['unit']}" if told else "starting or waiting"
        _say(
            console,
            f"  {claim.label}: {far}, since {claim.since} on {claim.host} (process {claim.pid})",
        )
    for notice in notices(home.root):
        _say(console, f"process {notice.pid} waits since {notice.since} for {notice.what}")
    _print_runs(console, store, home)


def print_grids(console: Console, home: Home, presets: list[str]) -> None:
    """Print the presets, and the last run of each grid that was run."""
    _say(console, f"presets: {', '.join(presets)}")
    _print_runs(console, home.open_store(), home)


def _print_runs(console: Console, store: Store, home: Home) -> None:
    grids = Grids(store)
    names = grids.names()
    if not names:
        _say(console, "no grid was run here yet; try: w2s run demo")
    for name in names:
        last = grids.runs(name)[-1]
        n_done = sum(node.key is not None for node in last.nodes)
        replaced = f", replaced {last.replaced}" if last.replaced else ""
        left = remaining(home, name) if last.state == "running" else ""
        _say(
            console,
            f"{name}: {last.state}, {n_done} of {len(last.nodes)} stages done, {last.started}{replaced}"
            + (f"; {left}" if left else ""),
        )


def read_progress(home: Home) -> dict[str, Mapping[str, JSON]]:
    """Node id to what its running stage told last."""
    told = {}
    for file in (home.root / "cache" / "progress").glob("*.json"):
        try:
            entry = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # it ended meanwhile
        told[entry["node"]] = entry
    return told


def explain_node(console: Console, home: Home, wanted: str, *, as_json: bool) -> None:
    """Print everything that is known of one node.

    Args:
        console: where to print.
        home: the project.
        wanted: the start of a node id or key.
        as_json: print the manifest as JSON instead.

    Raises:
        UsageError: no such node, or several.
    """
    store = home.open_store()
    found = versions(store, wanted)
    if not found:
        _explain_unbuilt(console, store, wanted)
        return
    last = found[-1]
    if as_json:
        from artifacts.store.manifest import dump

        sys.stdout.write(dump(last))
        return
    _print_manifest(console, store, last, n_versions=len(found))


def versions(store: Store, wanted: str) -> list[Manifest]:
    """All artifacts of the one node whose id, or a key, starts with ``wanted``, the latest last; [] if there is none.

    Raises:
        UsageError: it is the start of several.
    """
    found = [m for m in store.manifests() if m.node.startswith(wanted) or m.key.startswith(wanted)]
    n_nodes = len({manifest.node for manifest in found})
    if n_nodes > 1:
        raise UsageError(f"{wanted!r} is the start of {n_nodes} nodes; give more digits")
    return sorted(found, key=lambda m: m.timings.get("started", ""))


def _explain_unbuilt(console: Console, store: Store, wanted: str) -> None:
    grids = Grids(store)
    for name in grids.names():
        for node in grids.runs(name)[-1].nodes:
            if node.node.startswith(wanted):
                words = " ".join(str(value) for value in node.labels.values() if value is not None)
                _say(console, f"{node.stage} {words}: wanted by grid {name}, never built")
                return
    raise UsageError(f"no node or key starts with {wanted!r}; `w2s plan GRID --why` lists node ids")


def _print_manifest(console: Console, store: Store, manifest: Manifest, *, n_versions: int) -> None:
    words = " ".join(str(value) for value in manifest.labels.values() if value is not None)
    problem = store.problem(manifest.stage, manifest.key)
    _say(console, f"{manifest.stage} {words}")
    _say(console, f"  node     {manifest.node}")
    _say(console, f"  key      {manifest.key} ({n_versions} in the store; this is the latest)")
    _say(console, f"  state    {problem or 'whole'}")
    started, seconds = manifest.timings.get("started"), manifest.timings.get("seconds")
    _say(console, f"  made     {started}, {seconds} s")
    for name, entry in manifest.inputs.items():
        origin = entry["path"] or f"{entry['stage']} {entry['key'][:12]} {entry['output']}"
        _say(console, f"  reads    {name}: {origin} (digest {entry['digest'][:12]})")
    for name, output in manifest.outputs.items():
        size = "evicted" if output.evicted else f"{sum(output.files.values()):,} bytes"
        _say(console, f"  makes    {name}: {size} (digest {output.digest[:12]})")
    for name, value in manifest.params.items():
        _say(console, f"  param    {name}: {json.dumps(value)}")
    for name, value in manifest.metrics.items():
        _say(console, f"  metric   {name}: {json.dumps(value)}")
    _say(
        console,
        f"  code     {manifest.code_digest[:12]}, {len(manifest.code_parts)} functions and constants",
    )
    _say(console, "  with     " + ", ".join(f"{k} {v}" for k, v in manifest.environment.items()))
    for other in store.manifests():
        if any(entry["key"] == manifest.key for entry in other.inputs.values()):
            _say(console, f"  read by  {other.stage} {other.key[:12]}")
    for grid in Grids(store).all():
        if any(node.key == manifest.key for node in grid.runs[-1].nodes):
            _say(console, f"  used by  grid {grid.name}")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
