"""Brings a plan to its end: submits each node when all that it reads is there, and follows what comes back.

Knows no Prefect: ``flows.run.grid`` passes a ``submit`` that makes task runs, a test one that calls a function.
"""

from __future__ import annotations

import heapq
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from artifacts.errors import Stopped, W2sError
from artifacts.identity.keys import JSON
from artifacts.store.contract import Store
from artifacts.waiting import STOPPED
from flows.plan.compare import Keys, Plan, Planned, Status
from flows.plan.graph import FromNode, Node
from flows.plan.made import Made, made_of

Order = Mapping[str, JSON]


class Ended(NamedTuple):
    """How one submitted order ended."""

    order: Order
    how: Literal["ran", "reused", "failed", "stopped"]
    message: str = ""
    """One line, for a failure."""


class Failure(NamedTuple):
    """A node that failed, and why."""

    node: Node
    message: str


Report = Callable[[Literal["submitted", "ran", "reused", "failed", "blocked"], Node, float], None]
"""``report(event, node, seconds)``; the seconds are those of a stage that ran, else 0."""

Submit = Callable[[Order, Callable[[Ended], None]], None]
"""Starts an order, and calls back once, from any thread, when it ended."""


@dataclass(slots=True)
class Outcome:
    """What became of the nodes that were not fresh."""

    ran: list[Node] = field(default_factory=list)
    reused: list[Node] = field(default_factory=list)
    """Nodes that proved done when their turn came: early cutoff, or another run did them."""
    failed: list[Failure] = field(default_factory=list)
    blocked: list[Node] = field(default_factory=list)
    """Nodes that were not tried, because something that they read failed."""


class Drain:
    """One pass over a plan.

    Args:
        plan: what to do; fresh nodes are never submitted, unless their weights are gone and needed.
        keys: computes the key of a node once its parents are done.
        store: where parents are looked up after they ran.
        submit: starts one order.
        report: told of every change.
        n_at_once: how many orders may be under way.
        adopt: told of an artifact that the grid relies on from then on, and that was made as another node.
    """

    def __init__(
        self,
        plan: Plan,
        keys: Keys,
        store: Store,
        submit: Submit,
        report: Report,
        n_at_once: int,
        adopt: Callable[[Made], None] = lambda made: None,
    ) -> None:
        self._plan = plan
        self._keys = keys
        self._store = store
        self._submit = submit
        self._report = report
        self._n_at_once = n_at_once
        self._adopt = adopt
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._rank = {id: rank for rank, id in enumerate(plan.planned)}
        self._ready: list[tuple[int, str]] = []
        self._waits_for: dict[str, set[str]] = {}
        self._children: dict[str, list[str]] = {}
        self._lost: set[str] = set()
        """Ids of nodes that failed or are blocked."""
        self.made: dict[str, Made] = {}
        """Node id to what it made, of every node that is done."""
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Run until nothing is left that can run; failures end only what depends on them.

        Raises:
            Stopped: a node was stopped, and so is the run; it counts as neither failed nor blocked.
        """
        for entry in self._plan.planned.values():
            if entry.status is Status.FRESH and entry.made is not None:
                self.made[entry.node.id] = entry.made
        for entry in self._plan.pending:
            self._wait(entry.node)
        n_under_way = 0
        while self._ready or n_under_way:
            while self._ready and n_under_way < self._n_at_once:
                _, id = heapq.heappop(self._ready)
                n_under_way += self._start(self._plan.planned[id])
            if n_under_way:
                ended = self._ended.get()
                if ended.how == "stopped":
                    raise Stopped(STOPPED)
                self._end(ended)
                n_under_way -= 1
        return self.outcome

    def _wait(self, node: Node) -> None:
        """Put a node in line behind those of its parents that are not done."""
        missing = {parent.id for parent in node.parents if parent.id not in self.made}
        if missing & self._lost:
            self._block([node.id])
            return
        self._waits_for[node.id] = missing
        for parent in missing:
            self._children.setdefault(parent, []).append(node.id)
        if not missing:
            heapq.heappush(self._ready, (self._rank[node.id], node.id))

    def _start(self, entry: Planned) -> bool:
        """Submit a node, unless weights that it would read were evicted: then those come first."""
        node = entry.node
        if any(parent.id not in self.made for parent in node.parents):
            # Its weights were found evicted by another node meanwhile, and are being made again.
            self._wait(node)
            return False
        try:
            order = self._keys.order(node, entry.code, self._keys.inputs(node, self.made))
            done = self._store.get(node.stage, order["key"])
        except Stopped:
            raise
        except W2sError as error:
            self._fail(node, str(error))
            return False
        remake = entry.cause == "evicted"
        if done is None or remake:
            evicted = self._evicted_parents(node)
            if evicted:
                for parent in evicted:
                    del self.made[parent.id]
                    self._plan.planned[parent.id].cause = "evicted"
                self._wait(node)
                for parent in evicted:
                    self._wait(parent)
                return False
        self._report("submitted", node, 0.0)
        self._submit({**order, "remake": remake}, self._ended.put)
        return True

    def _evicted_parents(self, node: Node) -> list[Node]:
        return [
            source.node
            for source in node.inputs.values()
            if isinstance(source, FromNode) and self.made[source.node.id].outputs[source.output].evicted
        ]

    def _end(self, ended: Ended) -> None:
        node = self._plan.planned[ended.order["node"]].node
        if ended.how == "failed":
            self._fail(node, ended.message)
            return
        made = self._look_up(node, ended.order["key"])
        if made is not None and made.node != node.id:
            self._adopt(made)
            made = self._look_up(node, ended.order["key"])
            if made is None:
                # The grid that had it is gone, and ``gc`` was faster.
                heapq.heappush(self._ready, (self._rank[node.id], node.id))
                return
        if made is None:
            self._fail(node, f"{node.name}: its artifact is gone or broken; run the same command again")
            return
        self.made[node.id] = made
        (self.outcome.ran if ended.how == "ran" else self.outcome.reused).append(node)
        self._report(ended.how, node, made.seconds if ended.how == "ran" else 0.0)
        for child in self._children.pop(node.id, []):
            self._waits_for[child].discard(node.id)
            if not self._waits_for[child]:
                heapq.heappush(self._ready, (self._rank[child], child))

    def _look_up(self, node: Node, key: str) -> Made | None:
        found = self._store.get(node.stage, key)
        return None if found is None else made_of(found, node.stage, key, node.id)

    def _fail(self, node: Node, message: str) -> None:
        self.outcome.failed.append(Failure(node, message))
        self._lost.add(node.id)
        self._report("failed", node, 0.0)
        self._block(self._children.pop(node.id, []))

    def _block(self, ids: list[str]) -> None:
        """Give up these nodes and all that reads them."""
        while ids:
            id = ids.pop()
            if id not in self._lost:
                self._lost.add(id)
                node = self._plan.planned[id].node
                self.outcome.blocked.append(node)
                self._report("blocked", node, 0.0)
                ids += self._children.pop(id, [])
