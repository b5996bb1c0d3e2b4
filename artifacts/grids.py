"""Grid files ``grids/<name>.json``: which runs a grid had, and which artifacts they are about.

They decide what ``gc`` keeps and what the results show; whether a node is done is for ``store``.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from artifacts.errors import CorruptArtifact, UsageError
from artifacts.keys import JSON, canonical_json
from artifacts.records import Hold
from artifacts.store import Store

State = Literal["running", "complete", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class GridNode:
    """One node of a run."""

    node: str
    """Node id."""
    stage: str
    labels: Mapping[str, JSON]
    key: str | None = None
    """None until it is known."""


@dataclass(frozen=True, slots=True)
class GridRun:
    """One run of a grid; ``Grids.start`` fills in the fields after ``pairs``."""

    config: Mapping[str, Any]
    """A ``GridConfig`` as JSON; its ``name`` names the grid."""
    revisions: Mapping[str, str]
    """Hub id to the commit that it was resolved to."""
    nodes: Sequence[GridNode]
    pairs: Sequence[Mapping[str, JSON]]
    """``{dataset, weak, strong, method, seed, weak_score, transfer_score, ceiling_score}``; the
    scores are keys, or None until they are known."""
    id: str = ""
    started: str = ""
    """ISO time in UTC."""
    finished: str | None = None
    state: State = "running"
    """As read from the store: a run whose process died is ``interrupted``."""

    @property
    def name(self) -> str:
        """Name of the grid."""
        name: str = self.config["name"]
        return name


class Grid(NamedTuple):
    """A grid and its runs: the last complete one and everything since, oldest first."""

    name: str
    runs: list[GridRun]


class OpenRun:
    """A run that goes on in this process; ``Grids.start`` makes it."""

    def __init__(self, grids: Grids, run: GridRun, hold: Hold) -> None:
        self._grids = grids
        self._run = run
        self._hold = hold

    def update(self, known: GridRun) -> None:
        """Write down what has become known, as ``Grids.start`` took it."""
        self._grids._put(dataclasses.replace(known, id=self._run.id, started=self._run.started))

    def finish(self, known: GridRun, state: State) -> None:
        """Write down how the run ended; after a complete one, the runs before it are forgotten."""
        ended = dataclasses.replace(known, finished=_now(), state=state)
        self.update(ended)
        self._hold.release()


class Grids:
    """The grid files of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = store.records

    def names(self) -> list[str]:
        """Every grid that was ever run and not dropped, sorted."""
        return self._records.names()

    def all(self) -> list[Grid]:
        """Every grid, by name.

        Raises:
            CorruptArtifact: a grid file that cannot be read.
        """
        return [Grid(name, self.runs(name)) for name in self.names()]

    def runs(self, name: str) -> list[GridRun]:
        """The runs of one grid, oldest first; none where there is no such grid.

        Raises:
            CorruptArtifact: its file cannot be read.
        """
        runs = self._read(name)
        open_ids = {run.id for run in runs if run.state == "running"}
        dead = open_ids - self._records.held(name) if open_ids else set()
        return [dataclasses.replace(run, state="interrupted") if run.id in dead else run for run in runs]

    def revisions(self, name: str) -> dict[str, str]:
        """The Hub commits that the last run of a grid resolved; empty where there is none."""
        runs = self._read(name)
        return dict(runs[-1].revisions) if runs else {}

    def is_latest(self, run: GridRun) -> bool:
        """Whether the last run of the grid was complete, with just what ``run`` says."""
        runs = self._read(run.name)
        if not runs or runs[-1].state != "complete":
            return False
        return _content(runs[-1]) == _content(run)

    def start(self, planned: GridRun) -> OpenRun:
        """Write down a run that begins; it counts as running until it is finished or its process ends.

        Args:
            planned: the run, without the fields that this fills in.
        """
        run = dataclasses.replace(planned, id=uuid.uuid4().hex[:12], started=_now())
        hold = self._records.hold(run.name, run.id)
        self._put(run)
        return OpenRun(self, run, hold)

    def drop(self, name: str) -> None:
        """Forget a grid, so that ``gc`` may remove what only it needs.

        Raises:
            UsageError: no such grid, or it is running.
        """
        known = self.names()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            listed = f"known: {', '.join(known)}" if known else "no grid was run yet"
            hint = f"did you mean {' or '.join(near)}?" if near else listed
            raise UsageError(f"unknown grid {name!r}; {hint}")
        if self._records.held(name):
            raise UsageError(f"grid {name!r} is running; drop it when it has ended")
        self._records.remove(name)

    def merge(self, source: Grids) -> None:
        """Add the runs that another store has, in the order in which they began.

        Raises:
            CorruptArtifact: a grid file that cannot be read.
        """
        for name in source.names():
            self._merge(name, source._read(name))

    def reachable(self) -> set[tuple[str, str]]:
        """(stage, key) of every artifact that a run in the grid files is about.

        Raises:
            CorruptArtifact: a grid file that cannot be read; nothing may be removed then.
        """
        keys: set[tuple[str, str]] = set()
        nodes_without_key: set[str] = set()
        for name in self.names():
            for run in self._read(name):
                for node in run.nodes:
                    if node.key is None:
                        nodes_without_key.add(node.node)
                    else:
                        keys.add((node.stage, node.key))
        if nodes_without_key:
            # A run that goes on, or was killed, made artifacts that its file does not know yet.
            for manifest in self._store.manifests():
                if manifest.node in nodes_without_key:
                    keys.add((manifest.stage, manifest.key))
        return keys

    def nodes(self) -> set[str]:
        """Id of every node that a run in the grid files is about.

        Raises:
            CorruptArtifact: a grid file that cannot be read.
        """
        return {node.node for name in self.names() for run in self._read(name) for node in run.nodes}

    def _read(self, name: str) -> list[GridRun]:
        return self._parse(name, self._records.read(name))

    def _parse(self, name: str, text: bytes | None) -> list[GridRun]:
        if text is None:
            return []
        try:
            return [_run(run) for run in json.loads(text)["runs"]]
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptArtifact(
                f"{self._records.place(name)} is no grid file ({type(error).__name__}: {error}); "
                f"forget it with: w2s grids --drop {name}"
            ) from error

    def _merge(self, name: str, others: Sequence[GridRun]) -> None:
        def merge(text: bytes | None) -> str:
            runs: dict[str, GridRun] = {}
            for run in [*self._parse(name, text), *others]:
                if run.id not in runs or runs[run.id].finished is None:
                    runs[run.id] = run
            ordered = sorted(runs.values(), key=lambda run: run.started)
            complete = [place for place, run in enumerate(ordered) if run.state == "complete"]
            held = self._records.held(name)
            first = complete[-1] if complete else 0
            return _dump(name, [run for place, run in enumerate(ordered) if place >= first or run.id in held])

        self._records.change(name, merge)

    def _put(self, run: GridRun) -> None:
        """Add ``run`` to its grid's file, or replace its entry."""

        def put(text: bytes | None) -> str:
            runs = {other.id: other for other in self._parse(run.name, text)} | {run.id: run}
            if run.state == "complete":
                # A run that began earlier and still goes on is not over with this one.
                earlier = list(runs)[: list(runs).index(run.id)]
                held = self._records.held(run.name)
                runs = {id: one for id, one in runs.items() if id not in earlier or id in held}
            return _dump(run.name, runs.values())

        self._records.change(run.name, put)


def _dump(name: str, runs: Iterable[GridRun]) -> str:
    data = {"name": name, "runs": [dataclasses.asdict(run) for run in runs]}
    return json.dumps(data, ensure_ascii=False) + "\n"


def _run(data: dict[str, Any]) -> GridRun:
    return GridRun(**{**data, "nodes": [GridNode(**node) for node in data["nodes"]]})


def _content(run: GridRun) -> str:
    nodes = [dataclasses.asdict(node) for node in run.nodes]
    return canonical_json([run.config, run.revisions, nodes, run.pairs])


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
