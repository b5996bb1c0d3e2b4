"""A grid in hand: its plan, and what has to happen around a run of it (grid file, results, retention).

Light: imports no torch and no Prefect, so that a grid with nothing to do is answered at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from artifacts.errors import CorruptArtifact, MissingArtifact, Stopped, UsageError
from artifacts.identity.digests import ExternalDigests
from artifacts.identity.fingerprint import Sources
from artifacts.store.contract import SWEEPING, Store, outlast_gc
from artifacts.store.grid_runs import GridNode, GridRun, State
from artifacts.store.grids import Grids, OpenRun
from artifacts.store.manifest import Manifest
from artifacts.waiting import NOW, STOP
from flows.home import Home, output_kinds
from flows.plan.compare import Keys, Plan, Status, make_plan
from flows.plan.cost import told
from flows.plan.graph import Node
from flows.plan.grid import GridConfig
from flows.plan.made import Made
from flows.plan.naming import difference
from flows.plan.resolve import resolve
from flows.report.remaining import Remaining
from flows.run.drain import Drain, Outcome, Report, Submit
from flows.run.landings import MOST_SHARE, PAUSE_S, Landings
from tasks import PACKAGE
from tasks.devices import this_machine
from w2s_core.stages import STAGES


@dataclass(slots=True)
class Session:
    """One grid against one store.

    Attributes:
        listeners: told of every change of a node, as ``flows.run.drain.Drain`` reports it.
        outcome: what the last run did; None before it.
        made: node id to what it made, of every node that is known to be done.
    """

    config: GridConfig
    home: Home
    store: Store
    grids: Grids
    keys: Keys
    plan: Plan
    revisions: Mapping[str, str]
    listeners: list[Report] = field(default_factory=list)
    outcome: Outcome | None = None
    made: Mapping[str, Made] = field(default_factory=dict)
    _landings: Landings | None = None
    _next_look: float = 0.0

    @classmethod
    def open(
        cls,
        config: GridConfig,
        home: Home,
        *,
        update: bool = False,
        rehash: bool = False,
        is_patient: bool = False,
    ) -> Session:
        """Resolve a grid and plan it; writes nothing but the cache of digests.

        Args:
            config: the grid.
            home: the project.
            update: move Hub revisions to what they stand for today.
            rehash: ignore the cache of digests of external files.
            is_patient: wait where the store is away for a while.

        Raises:
            W2sError: what is wrong with the grid, its inputs, the store or the code.
        """
        store = home.open_store(is_patient=is_patient)
        grids = Grids(store)
        recorded = grids.revisions(config.name)
        resolved = resolve(config, recorded, update=update)
        keys = Keys(Sources.on_disk(PACKAGE), ExternalDigests(home.digests, rehash=rehash))
        plan = make_plan(resolved.graph, store.listing(), keys)
        return cls(config, home, store, grids, keys, plan, resolved.revisions)

    def forecast(self) -> str:
        """How long what is pending will take here, by what the store has of such stages; a line."""
        return told(self.plan.forecast(*self._workers()))

    def remaining(self) -> Remaining:
        """What will be left of that, to be followed as a listener."""
        return Remaining(self.home, self.config.name, self.plan.left(*self._workers()))

    def _workers(self) -> tuple[str, int]:
        """Device, and how many stages run at a time: one, where that is for a cluster to say."""
        runtime = self.config.runtime
        try:
            machine = this_machine(runtime, max((node.n_devices for node in self.plan.graph.nodes.values()), default=1))
        except UsageError:  # which is for the run to say; it may be for another machine
            return runtime.device, runtime.workers or 1
        return machine.device, machine.n_workers if runtime.runner == "threads" else runtime.workers or 1

    def run(self, submit: Submit, n_at_once: int) -> Outcome:
        """Bring the plan to its end, then write down what there is, however it ended."""
        with self.recorded():
            return self.drain(self.plan, submit, n_at_once)

    def drain(self, plan: Plan, submit: Submit, n_at_once: int) -> Outcome:
        """Bring the plan, or a part of it, to its end; writes nothing down."""
        drain = Drain(plan, self.keys, self.store, submit, self._report, n_at_once, self._adopt)
        self.outcome, self.made = drain.outcome, drain.made
        return drain.run()

    @contextmanager
    def recorded(self) -> Iterator[Callable[[], None]]:
        """Write a run down, from beginning to end: grid file, retention, results; the results also while it goes on.

        What the plan counts as done may have gone before the grid file kept it; then ``plan`` is another.

        Yields:
            Writes down what is known so far, and brings the results up to it.

        Raises:
            UsageError: another definition is running under this name.
        """
        self.made = self._done()
        open_run = self.grids.start(self._record(self.made))

        def update(stop: threading.Event = STOP) -> None:
            with one_at_a_time:
                open_run.update(self._record(self.made))
                self._rebuild(stop)

        state: State = "interrupted"
        one_at_a_time = threading.Lock()
        try:
            self._make_sure()
            with Landings(update) as landings:
                self._landings, self._next_look = landings, time.monotonic() + PAUSE_S
                yield update
            state = "complete" if self.made.keys() == self.plan.graph.nodes.keys() else "failed"
        finally:
            self._landings = None
            self._evict(self.made, open_run)
            open_run.finish(self._record(self.made), state)
            self._rebuild()

    def look_for_news(self) -> None:
        """Have land what others made for this run, while it goes on; looks now and then, however often it is called."""
        began = time.monotonic()
        if self._landings is None or began < self._next_look:
            return
        before = self.made
        self.look_again()
        if self.made != before:
            self._landings.tell()
        now = time.monotonic()
        self._next_look = now + max(PAUSE_S, (now - began) / MOST_SHARE)

    def look_again(self) -> None:
        """Plan anew, with the code and the inputs of before: others may have made what was missing."""
        self.plan = make_plan(self.plan.graph, self.store.listing(), self.keys)
        self.made = self._done()

    def _done(self) -> dict[str, Made]:
        """What the plan counts as done."""
        return {
            id: entry.made
            for id, entry in self.plan.planned.items()
            if entry.made is not None and (entry.status is Status.FRESH or entry.cause == "evicted")
        }

    def _make_sure(self) -> bool:
        """See whether what is done is still there, now that the grid file keeps it; plan anew where it is not."""
        done = self._done()
        outlast_gc(self.store, {(made.stage, made.key) for made in done.values()})
        listing, planned = self.store.listing(), self.plan.planned
        is_there = all(listing.seen(made.stage, made.key) == planned[id].seen for id, made in done.items())
        if not is_there:
            self.look_again()
        return is_there

    def _adopt(self, made: Made) -> None:
        """Keep an artifact that this grid relies on from now on, and that was made as another node."""
        self.grids.adopt(self.config.name, made.stage, made.key)
        outlast_gc(self.store, {(made.stage, made.key)})

    @property
    def changed(self) -> str | None:
        """One line where another definition gives up its name to this one; None where none does."""
        replaced = self.grids.replaced_by(self._record({}))
        if replaced is None:
            return None
        told = difference(replaced.run.config, self.config)
        return f"{self.config.name} has changed since its last run ({told}); what it was stays as {replaced.version}"

    @property
    def audits(self) -> list[Manifest]:
        """The audits that are done, after a run; their metrics say what was found."""
        found = (self.store.get(made.stage, made.key) for made in self.made.values() if made.stage == "audit")
        return [manifest for manifest in found if manifest is not None]

    def record_fresh(self) -> bool:
        """Write down a grid in which nothing was to do, unless its last run says just that.

        Returns:
            Whether that is still so: what was there may have gone before the grid file kept it; then ``plan`` is new.

        Raises:
            UsageError: another definition is running under this name.
        """
        record = self._record(self._done())
        if not self.grids.is_latest(record):
            open_run = self.grids.start(record)
            is_fresh = self._make_sure()
            open_run.finish(record if is_fresh else self._record(self.made), "complete" if is_fresh else "failed")
            self._rebuild()
            return is_fresh
        if not self._make_sure():
            return False
        from artifacts.results.build import shows

        if not shows(self.home.results, self.grids.runs(self.config.name)[-1].id):
            self._rebuild()
        return True

    def _record(self, made: Mapping[str, Made]) -> GridRun:
        """The run as the grid file has it, with the keys that are known."""

        def key(node: Node | None) -> str | None:
            return made[node.id].key if node is not None and node.id in made else None

        graph = self.plan.graph
        return GridRun(
            config=self.config.model_dump(mode="json"),
            revisions=dict(self.revisions),
            nodes=[GridNode(n.id, n.stage, n.labels, key(n)) for n in graph.nodes.values()],
            pairs=[
                {
                    "dataset": pair.dataset,
                    "weak": pair.weak,
                    "strong": pair.strong,
                    "method": pair.method,
                    "seed": pair.seed,
                    "weak_score": key(pair.weak_score),
                    "transfer_score": key(pair.transfer_score),
                    "ceiling_score": key(pair.ceiling_score),
                    **{name: key(node) for name, node in pair.unusual.items()},
                }
                for pair in graph.pairs
            ],
        )

    def _evict(self, made: Mapping[str, Made], run: OpenRun) -> None:
        """Remove the weights that the grid does not want to keep, unless something of it, or another run, waits."""
        if self.config.retention == "all":
            return
        in_use = self.grids.in_use(besides=run)
        readers = self.plan.graph.readers()
        for node in self.plan.graph.nodes.values():
            of_node = readers[node.id]
            is_awaited = any(reader.id not in made for reader in of_node)
            is_base = any(STAGES[reader.stage].runs == "training" for reader in of_node)
            is_supervisor = any(reader.makes("labels") for reader in of_node)
            is_kept = is_base or (is_supervisor and self.config.retention == "supervisors")
            if (models := node.makes("model")) and node.id in made and not is_awaited and not is_kept:
                self._evict_one(made[node.id], models, in_use)

    def _evict_one(self, made: Made, models: Sequence[str], in_use: Callable[[], Set[str]]) -> None:
        with ExitStack() as claimed:
            try:
                claimed.enter_context(self.store.claim(made.stage, made.key, label=SWEEPING, stop=NOW))
            except Stopped:
                return  # somebody is making them again, or removing them
            # Asked while the claim is held, see ``store.outlast_gc``.
            if not {made.node, made.key} & in_use():
                for output in models:
                    self.store.evict(made.stage, made.key, output)

    def _rebuild(self, stop: threading.Event = STOP) -> None:
        from artifacts.results.build import build  # needs DuckDB, which a plan does not load

        try:
            build(self.store, self.home.results, output_kinds, stop=stop)
        except (MissingArtifact, CorruptArtifact):
            # ``gc`` may have removed what no grid needs after it was listed; what is broken is so the second time, too.
            build(self.store, self.home.results, output_kinds, stop=stop)

    def _report(self, *report: Any) -> None:
        if self._landings is not None and report[0] in ("ran", "reused"):
            self._landings.tell()
        for listener in self.listeners:
            listener(*report)
