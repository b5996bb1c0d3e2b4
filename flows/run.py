"""A grid in hand: its plan, and what has to happen around a run of it (grid file, results, retention).

Light: imports no torch and no Prefect, so that a grid with nothing to do is answered at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from artifacts.digests import ExternalDigests
from artifacts.fingerprint import Sources
from artifacts.grids import GridNode, GridRun, Grids, State
from artifacts.manifest import Manifest
from artifacts.store import Store
from flows.drain import Drain, Outcome, Report, Submit
from flows.home import Home
from flows.nodes import Node
from flows.plan import PACKAGE, Keys, Plan, Status, make_plan
from flows.resolve import resolve
from w2s_core.config import GridConfig


@dataclass(slots=True)
class Session:
    """One grid against one store.

    Attributes:
        listeners: told of every change of a node, as ``flows.drain.Drain`` reports it.
        outcome: what the last run did; None before it.
        manifests: node id to manifest, of every node that is known to be done.
    """

    config: GridConfig
    home: Home
    store: Store
    keys: Keys
    plan: Plan
    revisions: Mapping[str, str]
    listeners: list[Report] = field(default_factory=list)
    outcome: Outcome | None = None
    manifests: Mapping[str, Manifest] = field(default_factory=dict)

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
        recorded = Grids(store).revisions(config.name)
        resolved = resolve(config, recorded, update=update)
        keys = Keys(Sources.on_disk(PACKAGE), ExternalDigests(home.digests, rehash=rehash))
        plan = make_plan(resolved.graph, store.listing(), keys)
        return cls(config, home, store, keys, plan, resolved.revisions)

    def run(self, submit: Submit, n_at_once: int) -> Outcome:
        """Bring the plan to its end, then write down what there is, however it ended."""
        with self.recorded():
            return self.drain(self.plan, submit, n_at_once)

    def drain(self, plan: Plan, submit: Submit, n_at_once: int) -> Outcome:
        """Bring the plan, or a part of it, to its end; writes nothing down."""
        drain = Drain(plan, self.keys, self.store, submit, self._report, n_at_once)
        self.outcome, self.manifests = drain.outcome, drain.manifests
        return drain.run()

    @contextmanager
    def recorded(self) -> Iterator[Callable[[], None]]:
        """Write a run down, from beginning to end: grid file, retention, results.

        Yields:
            Writes down what is known so far, and brings the results up to it.
        """
        open_run = Grids(self.store).start(self._record(self.manifests))

        def update() -> None:
            open_run.update(self._record(self.manifests))
            self._rebuild()

        state: State = "interrupted"
        try:
            yield update
            state = "complete" if self.manifests.keys() == self.plan.graph.nodes.keys() else "failed"
        finally:
            self._evict(self.manifests)
            open_run.finish(self._record(self.manifests), state)
            self._rebuild()

    def look_again(self) -> None:
        """Plan anew, with the code and the inputs of before: others may have made what was missing."""
        self.plan = make_plan(self.plan.graph, self.store.listing(), self.keys)
        self.manifests = {
            id: entry.manifest
            for id, entry in self.plan.planned.items()
            if entry.manifest is not None and (entry.status is Status.FRESH or entry.cause == "evicted")
        }

    @property
    def audits(self) -> list[Manifest]:
        """The audits that are done, after a run; their metrics say what was found."""
        return [manifest for manifest in self.manifests.values() if manifest.stage == "audit"]

    def record_fresh(self) -> None:
        """Write down a grid in which nothing was to do, unless its last run says just that."""
        manifests = {id: e.manifest for id, e in self.plan.planned.items() if e.manifest is not None}
        record = self._record(manifests)
        grids = Grids(self.store)
        if not grids.is_latest(record):
            grids.start(record).finish(record, "complete")
            self._rebuild()
            return
        from artifacts.results import shows

        if not shows(self.home.results, grids.runs(self.config.name)[-1].id):
            self._rebuild()

    def _record(self, manifests: Mapping[str, Manifest]) -> GridRun:
        """The run as the grid file has it, with the keys that are known."""

        def key(node: Node | None) -> str | None:
            return manifests[node.id].key if node is not None and node.id in manifests else None

        graph = self.plan.graph
        return GridRun(
            config=self.config.model_dump(mode="json"),
            revisions=dict(self.revisions),
            nodes=[GridNode(n.id, n.stage, dict(n.labels), key(n)) for n in graph.nodes.values()],
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
                }
                for pair in graph.pairs
            ],
        )

    def _evict(self, manifests: Mapping[str, Manifest]) -> None:
        """Remove the weights that the grid does not want to keep, unless something of it still waits for them."""
        if self.config.retention == "all":
            return
        nodes = self.plan.graph.nodes.values()
        awaited = {parent.id for node in nodes if node.id not in manifests for parent in node.parents}
        for node in nodes:
            is_kept = self.config.retention == "supervisors" and node.labels.get("half") == "weak_train"
            if node.stage.startswith("train_") and node.id in manifests and node.id not in awaited and not is_kept:
                self.store.evict(node.stage, manifests[node.id].key, "model")

    def _rebuild(self) -> None:
        from artifacts.results import build  # needs DuckDB, which a plan does not load

        build(self.store, self.home.results)

    def _report(self, *report: Any) -> None:
        for listener in self.listeners:
            listener(*report)
