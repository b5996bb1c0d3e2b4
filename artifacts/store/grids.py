"""Grid files ``grids/<name>.json``: which runs a grid had, and which artifacts they are about.

They decide what ``gc`` keeps and what the results show; whether a node is done is for ``store``. A name stands for one
definition; when another is run under it, what was run before stays as ``grids/<name>@<n>.json``, a grid of its own.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import hashlib
import uuid
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from artifacts.errors import CorruptArtifact, UsageError
from artifacts.identity.keys import canonical_json
from artifacts.store.contract import Store
from artifacts.store.grid_runs import GridRun, State, dump, load
from artifacts.store.records import Hold, Records

VERSION = "@"
"""Between a grid's name and the number of an earlier definition; no name that a user can give has it."""

KEPT_DAYS = 30
"""For so long earlier definitions stay, unless ``gc`` is told otherwise."""

T = TypeVar("T")


class Grid(NamedTuple):
    """A grid and its runs: the last complete one and everything since, oldest first."""

    name: str
    runs: list[GridRun]


class Replaced(NamedTuple):
    """An earlier definition that gives up its name."""

    version: str
    """What it is called from then on."""
    run: GridRun
    """Its last run."""


class OpenRun:
    """A run that goes on in this process; ``Grids.start`` makes it."""

    def __init__(self, grids: Grids, run: GridRun, hold: Hold) -> None:
        self.id = run.id
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


class Current(Generic[T]):
    """What ``read`` makes of the grid files, read again whenever one of them has changed.

    ``read`` raises CorruptArtifact for one that cannot be read; nothing may be removed then.
    """

    def __init__(self, records: Records, read: Callable[[], T]) -> None:
        self._records = records
        self._read = read
        self._found: tuple[Hashable, T] | None = None

    def __call__(self) -> T:
        """As the grid files are now."""
        state = self._records.state()
        if self._found is None or self._found[0] != state:
            self._found = (state, self._read())
        return self._found[1]


class Grids:
    """The grid files of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = store.records
        self._parsed: tuple[str, list[GridRun]] | None = None
        """Digest of the text that was parsed last, and the runs in it: a command asks for the same ones often."""

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
        """The Hub commits that the last run of a grid resolved; empty where there is none.

        One that was not run yet has those of the grid whose name its own begins with: ``nlp-sciq`` takes those of
        ``nlp``, so that an option costs no more than it changes.
        """
        runs = self._read(name)
        if not runs:
            bases = [other for other in self.names() if name.startswith(f"{other}-")]
            runs = self._read(max(bases, key=len)) if bases else []
        return dict(runs[-1].revisions) if runs else {}

    def replaced_by(self, run: GridRun) -> Replaced | None:
        """What gives up its name when ``run`` starts; None where the name is free, or stands for the same."""
        runs = self._read(run.name)
        if not runs or runs[-1].definition == run.definition:
            return None
        return Replaced(f"{run.name}{VERSION}{self._next(run.name)}", runs[-1])

    def is_latest(self, run: GridRun) -> bool:
        """Whether the last run of the grid was complete, with just what ``run`` says."""
        runs = self._read(run.name)
        if not runs or runs[-1].state != "complete":
            return False
        last = runs[-1]
        about = [canonical_json([one.config, one.revisions]) for one in (last, run)]
        return about[0] == about[1] and list(last.nodes) == list(run.nodes) and list(last.pairs) == list(run.pairs)

    def start(self, planned: GridRun) -> OpenRun:
        """Write down a run that begins; it counts as running until it is finished or its process ends.

        From then on ``gc`` keeps what it is about; see ``store.outlast_gc`` on what a ``gc`` has just judged.

        Args:
            planned: the run, without the fields that this fills in.

        Raises:
            UsageError: another definition is running under this name.
        """
        run = dataclasses.replace(planned, id=uuid.uuid4().hex[:12], started=_now())
        hold = self._records.hold(run.name, run.id)
        try:
            self._put(run, begins=True)
            self._settle(run.name)
        except BaseException:
            hold.release()
            raise
        return OpenRun(self, run, hold)

    def adopt(self, name: str, stage: str, key: str) -> None:
        """Write down that the runs of a grid that go on rely on an artifact that was made as another node than theirs.

        ``gc`` finds what a run has made so far by its nodes, and would not know this one.
        """

        def put(text: bytes | None) -> str:
            return dump(
                name,
                [
                    dataclasses.replace(run, adopted=[*run.adopted, (stage, key)]) if run.finished is None else run
                    for run in self._parse(name, text)
                ],
            )

        if any(run.finished is None for run in self._read(name)):
            self._records.change(name, put)

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
            base, is_version, _ = name.partition(VERSION)
            if is_version:
                for run in source._read(name):
                    self._keep(base, run)
            else:
                self._merge(name, source._read(name))
                self._settle(name)

    def expired(self, days: float) -> list[str]:
        """Names of the earlier definitions that were replaced ``days`` ago, or before; any number will do."""
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        versions = [name for name in self.names() if VERSION in name]
        return [
            name
            for name in versions
            if any(
                r.replaced and (now - datetime.datetime.fromisoformat(r.replaced)) / day >= days
                for r in self._read(name)
            )
        ]

    def reach(self, without: Collection[str] = ()) -> Current[set[tuple[str, str]]]:
        """``reachable`` at each moment."""
        return Current(self._records, lambda: self.reachable(without))

    def reachable(self, without: Collection[str] = ()) -> set[tuple[str, str]]:
        """(stage, key) of every artifact that a run in the grid files is about.

        Args:
            without: names of grids that do not count.

        Raises:
            CorruptArtifact: a grid file that cannot be read; nothing may be removed then.
        """
        keys: set[tuple[str, str]] = set()
        nodes: set[str] = set()
        for name in [name for name in self.names() if name not in without]:
            runs = self._read(name)
            held = self._held(name, runs)
            for run in runs:
                keys |= {(node.stage, node.key) for node in run.nodes if node.key is not None}
                keys |= {(stage, key) for stage, key in run.adopted}
                # A run that goes on, or was killed, made artifacts that its file does not know yet. While it goes on,
                # a node may get another key than it had.
                nodes |= {node.node for node in run.nodes if node.key is None or run.id in held}
        if nodes:
            keys |= {(made.stage, made.key) for made in self._store.manifests() if made.node in nodes}
        return keys

    def nodes(self, without: Collection[str] = ()) -> Current[set[str]]:
        """Id of every node that a run in the grid files is about, at each moment.

        Args:
            without: names of grids that do not count.
        """

        def read() -> set[str]:
            names = [name for name in self.names() if name not in without]
            return {node.node for name in names for run in self._read(name) for node in run.nodes}

        return Current(self._records, read)

    def in_use(self, besides: OpenRun) -> Current[set[str]]:
        """Node ids and keys of what runs are about that go on, ``besides`` one of them."""

        def read() -> set[str]:
            used: set[str] = set()
            for name in self.names():
                runs = self._read(name)
                held = self._held(name, runs) - {besides.id}
                for node in [node for run in runs if run.id in held for node in run.nodes]:
                    used |= {node.node} if node.key is None else {node.node, node.key}
            return used

        return Current(self._records, read)

    def _held(self, name: str, runs: Sequence[GridRun]) -> set[str]:
        """Which runs live; asked only where one is not over."""
        return self._records.held(name) if any(run.finished is None for run in runs) else set()

    def _read(self, name: str) -> list[GridRun]:
        return self._parse(name, self._records.read(name))

    def _parse(self, name: str, text: bytes | None) -> list[GridRun]:
        if text is None:
            return []
        digest = hashlib.sha256(text).hexdigest()
        if self._parsed is None or self._parsed[0] != digest:
            self._parsed = digest, self._parse_anew(name, text)
        return self._parsed[1]

    def _parse_anew(self, name: str, text: bytes) -> list[GridRun]:
        try:
            return load(text)
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
            kept = self._not_over(name, ordered, complete[-1]) if complete else ordered
            return dump(name, kept)

        self._records.change(name, merge)

    def _put(self, run: GridRun, *, begins: bool = False) -> None:
        """Add ``run`` to its grid's file, or replace its entry.

        Raises:
            UsageError: it ``begins``, and another definition is running under its name.
        """

        def put(text: bytes | None) -> str:
            runs = {other.id: other for other in self._parse(run.name, text)}
            if begins:
                self._refuse_other(run, runs.values())
            is_known = run.finished is None and run.id in runs
            runs[run.id] = dataclasses.replace(run, adopted=runs[run.id].adopted) if is_known else run
            kept = list(runs.values())
            if run.state == "complete":
                kept = self._not_over(run.name, kept, list(runs).index(run.id))
            return dump(run.name, kept)

        self._records.change(run.name, put)

    def _not_over(self, name: str, runs: list[GridRun], complete: int) -> list[GridRun]:
        """What stays of runs in order when the one at ``complete`` is: it, and those after it.

        A run that began earlier and still goes on is not over with it, and one of another definition is for
        ``_settle``.
        """
        held = self._records.held(name)
        definition = runs[complete].definition
        before = [run for run in runs[:complete] if run.id in held or run.definition != definition]
        return [*before, *runs[complete:]]

    def _refuse_other(self, run: GridRun, others: Iterable[GridRun]) -> None:
        held = self._records.held(run.name)
        for other in others:
            if other.id in held and other.state == "running" and other.definition != run.definition:
                raise UsageError(
                    f"grid {run.name!r} is being run with another definition, since {other.started}; "
                    "wait until that run has ended, or give this one another name"
                )

    def _settle(self, name: str) -> None:
        """Make the name of a grid stand for the definition of its last run alone.

        Runs of others become versions, and a version that has come back is one no more. In this order, so that a crash
        loses none; the next run of the grid goes on from there.
        """
        runs = self._read(name)
        if not runs:
            return
        definition, held = runs[-1].definition, self._held(name, runs)
        over = [run for run in runs if run.definition != definition and run.id not in held]
        for run in over:
            self._keep(name, run)
        back = [v for v in self._versions(name) if any(run.definition == definition for run in self._read(v))]
        if not over and not back:
            return
        gone = {run.id for run in over}
        restored = [dataclasses.replace(run, replaced=None) for version in back for run in self._read(version)]

        def put(text: bytes | None) -> str:
            there = [run for run in self._parse(name, text) if run.id not in gone]
            known = {run.id for run in there}
            is_newer = any(run.state == "complete" and run.definition == definition for run in there)
            return dump(name, [*([] if is_newer else [r for r in restored if r.id not in known]), *there])

        self._records.change(name, put)
        for version in back:
            self._records.remove(version)

    def _keep(self, name: str, run: GridRun) -> None:
        """Write down a run as a version of a grid: the one of its definition, or a new one."""
        run = dataclasses.replace(run, replaced=run.replaced or _now())
        same = [v for v in self._versions(name) if any(r.definition == run.definition for r in self._read(v))]
        version = same[0] if same else f"{name}{VERSION}{self._next(name)}"
        is_taken = True

        def put(text: bytes | None) -> str:
            nonlocal is_taken
            there = self._parse(version, text)
            is_taken = any(other.definition != run.definition for other in there)
            # The last complete one says most.
            best = max([*there, run], key=lambda one: (one.state == "complete", one.started))
            return dump(version, there if is_taken else [best])

        self._records.change(version, put)
        while is_taken:
            version = f"{name}{VERSION}{self._next(name)}"
            self._records.change(version, put)

    def _versions(self, name: str) -> list[str]:
        """Names of the earlier definitions of a grid, in the order in which they were replaced."""
        found = [other for other in self.names() if other.startswith(f"{name}{VERSION}")]
        return sorted(found, key=_number)

    def _next(self, name: str) -> int:
        return max((_number(version) for version in self._versions(name)), default=0) + 1


def _number(version: str) -> int:
    number = version.rpartition(VERSION)[2]
    return int(number) if number.isdecimal() else 0


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
