"""What a grid still has to do: which nodes are fresh, which will run and why, and which depend on those.

Works from manifests and file sizes alone: no torch, no Prefect, no server.
"""

from __future__ import annotations

import enum
import importlib.metadata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from artifacts.identity.digests import ExternalDigests
from artifacts.identity.fingerprint import Fingerprint, Sources, fingerprint
from artifacts.identity.keys import JSON, artifact_key
from artifacts.store.contract import Reader
from artifacts.store.manifest import Manifest
from flows.plan.cost import Forecast, Left, Timings, forecast
from flows.plan.graph import FromNode, Graph, Node
from flows.plan.history import History, names
from flows.plan.made import VERSIONS_THAT_MATTER, Made, made_of
from flows.plan.sizes import Past, kind_of
from w2s_core.stages import STAGES


class Status(enum.StrEnum):
    """What the plan says of a node."""

    FRESH = "fresh"
    STALE = "stale"
    DEPENDS = "depends"


@dataclass(slots=True)
class Planned:
    """One node, and what will become of it."""

    node: Node
    status: Status
    code: Fingerprint
    reason: str = ""
    cause: str = ""
    """The kind of reason: new, parameter, input, code, payload, evicted; empty when fresh."""
    key: str | None = None
    """None while a parent is not fresh."""
    made: Made | None = None
    """What is stored under the key."""
    seen: object = None
    """What ``Reader.seen`` said of it: whether it is still that can be asked without reading it again."""


@dataclass(slots=True)
class Plan:
    """Every node of a grid with its status, parents before children."""

    graph: Graph
    planned: dict[str, Planned]
    hours_saved: float = 0.0
    other_versions: list[str] = field(default_factory=list)
    """Lines on fresh nodes that were made with other library versions."""
    timings: Timings = field(default_factory=Timings)
    """How long stages took; nothing is known where nothing is pending."""

    def count(self, status: Status) -> int:
        """How many nodes have ``status``."""
        return sum(planned.status is status for planned in self.planned.values())

    @property
    def pending(self) -> list[Planned]:
        """The nodes that are not fresh, parents first."""
        return [planned for planned in self.planned.values() if planned.status is not Status.FRESH]

    @property
    def shared(self) -> Plan:
        """The nodes that belong to no dataset, on which those of all datasets may depend."""
        return Plan(self.graph, {id: e for id, e in self.planned.items() if "dataset" not in e.node.labels})

    def forecast(self, device: str, n_workers: int) -> Forecast:
        """How long what is pending will take, all of it, on a device (``cpu`` or ``cuda``) with so many workers."""
        pending = {entry.node.id: entry.node for entry in self.pending}
        kinds = {id: kind_of(node, device) for id, node in pending.items()}
        parents = {id: [parent.id for parent in node.parents] for id, node in pending.items()}
        return forecast(kinds, parents, self.timings, n_workers)

    def left(self, device: str, n_workers: int) -> Left:
        """The same, to be followed while it is done."""
        kinds = {entry.node.id: kind_of(entry.node, device) for entry in self.pending}
        return Left(kinds, self.timings, n_workers)


class Keys:
    """Computes keys: the code of a stage, its parameters, and the digests of what it reads."""

    def __init__(self, sources: Sources, external: ExternalDigests) -> None:
        self._sources = sources
        self._external = external

    def code(self, node: Node) -> Fingerprint:
        """Fingerprint of the code that ``node`` runs."""
        return fingerprint(self._sources, STAGES[node.stage].entry, node.params)

    def inputs(self, node: Node, made: Mapping[str, Made]) -> dict[str, dict[str, JSON]]:
        """Where ``node`` reads what, with digests, as its manifest records it.

        Args:
            node: the node.
            made: node id to what it made, of every parent.
        """
        entries: dict[str, dict[str, JSON]] = {}
        for name, source in node.inputs.items():
            if isinstance(source, FromNode):
                parent = made[source.node.id]
                entries[name] = {
                    "stage": parent.stage,
                    "key": parent.key,
                    "output": source.output,
                    "path": None,
                    "digest": parent.outputs[source.output].digest,
                }
            else:
                entries[name] = {
                    "stage": None,
                    "key": None,
                    "output": None,
                    "path": str(source.path),
                    "digest": self._external.digest(source.path),
                }
        return entries

    def digests(self, node: Node, made: Mapping[str, Made]) -> dict[str, str]:
        """Of what ``node`` reads, by name; ``made`` is as in ``inputs``."""
        return {
            name: made[source.node.id].outputs[source.output].digest
            if isinstance(source, FromNode)
            else self._external.digest(source.path)
            for name, source in node.inputs.items()
        }

    def key(self, node: Node, code: Fingerprint, digests: Mapping[str, str]) -> str:
        """The identity of what ``node`` makes of inputs with these digests."""
        return artifact_key(
            stage=node.stage,
            schema=STAGES[node.stage].schema,
            fingerprint=code.digest,
            params=node.counted,
            inputs=digests,
        )

    def order(self, node: Node, code: Fingerprint, inputs: Mapping[str, Mapping[str, JSON]]) -> dict[str, JSON]:
        """All that a worker needs to run ``node``, as JSON; its ``key`` is the node's identity."""
        stage = STAGES[node.stage]
        return {
            "key": self.key(node, code, {name: entry["digest"] for name, entry in inputs.items()}),
            "node": node.id,
            "parents": [parent.id for parent in node.parents],
            "name": node.name,
            "stage": node.stage,
            "schema": stage.schema,
            "entry": stage.entry,
            "params": dict(node.params),
            "labels": dict(node.labels),
            "inputs": {name: dict(entry) for name, entry in inputs.items()},
            "code": {"digest": code.digest, "parts": code.parts},
            "outputs": {name: output.path for name, output in stage.outputs(node.params).items()},
            "runs": stage.runs,
            "n_devices": node.n_devices,
        }


def make_plan(graph: Graph, store: Reader, keys: Keys) -> Plan:
    """Compare a graph with the store.

    Raises:
        FingerprintError: code within reach of a stage cannot be fingerprinted.
        UsageError: an external input cannot be read.
    """
    planned = {id: Planned(node, Status.STALE, keys.code(node)) for id, node in graph.nodes.items()}
    fresh: dict[str, Made] = {}
    aliens: list[Manifest] = []
    for wave in graph.waves():
        # First all keys and then all lookups, which is a fifth faster than one node at a time: each stays in the caches
        # of the processor.
        for node in wave:
            if all(source.node.id in fresh for source in node.inputs.values() if isinstance(source, FromNode)):
                entry = planned[node.id]
                entry.key = keys.key(node, entry.code, keys.digests(node, fresh))
        for node in wave:
            entry = planned[node.id]
            if entry.key is not None:
                entry.seen = store.seen(node.stage, entry.key)
                found = store.get(node.stage, entry.key)
                if found is not None:
                    entry.status = Status.FRESH
                    entry.made = fresh[node.id] = made_of(found, node.stage, entry.key, node.id)
                    if found.node != node.id:
                        aliens.append(found)
    plan = Plan(graph, planned)
    if plan.pending:
        # What is fresh has no history to tell, unless it was made as another node, which may have to run.
        known = {(made.stage, made.key) for made in fresh.values()}
        past = Past(fresh, graph)
        history = History(past.passing(chain(aliens, store.manifests(besides=known))), graph)
        plan.timings = past.timings()
        _mark_dependants(plan, history)
        _mark_evicted(plan)
        for entry in plan.pending:
            if entry.status is Status.STALE and not entry.cause:
                if entry.key is not None and (problem := store.problem(entry.node.stage, entry.key)):
                    entry.cause, entry.reason = "payload", f"payload: {problem}"
                else:
                    inputs = None if entry.key is None else keys.inputs(entry.node, fresh)
                    entry.cause, entry.reason = history.reason(entry.node, entry.code, inputs)
            elif entry.status is Status.DEPENDS:
                entry.reason = "reruns only if " + names(_unfresh_parents(plan, entry)) + " gives new values"
    _note_reuse(plan)
    return plan


def _unfresh_parents(plan: Plan, entry: Planned) -> list[Node]:
    return [p for p in entry.node.parents if plan.planned[p.id].status is not Status.FRESH]


def _mark_dependants(plan: Plan, history: History) -> None:
    """A node whose own code and parameters made an artifact reruns only if a parent's values change."""
    for entry in plan.pending:
        if entry.key is None:
            last = history.last(entry.node.id)
            if last is not None and last.code == entry.code.digest:
                entry.status = Status.DEPENDS


def _mark_evicted(plan: Plan) -> None:
    """Weights that were evicted, and that a node which will run reads, have to be made again."""
    for entry in reversed(list(plan.planned.values())):
        if entry.status is not Status.STALE:
            continue
        for source in entry.node.inputs.values():
            if not isinstance(source, FromNode):
                continue
            parent = plan.planned[source.node.id]
            output = parent.made.outputs[source.output] if parent.made else None
            if parent.status is Status.FRESH and output is not None and output.evicted:
                parent.status = Status.STALE
                parent.cause = "evicted"
                parent.reason = f"evicted: {source.output} is needed by {entry.node.name}"
    remade = {id for id, entry in plan.planned.items() if entry.cause == "evicted"}
    for entry in plan.planned.values():
        touched = any(p.id in remade for p in entry.node.parents)
        if touched and entry.status is Status.FRESH:
            entry.status = Status.DEPENDS
            remade.add(entry.node.id)


def _note_reuse(plan: Plan) -> None:
    seconds = 0.0
    made_with: Counter[tuple[str | None, ...]] = Counter()
    for entry in plan.planned.values():
        if entry.status is Status.FRESH and entry.made is not None:
            seconds += entry.made.seconds
            made_with[entry.made.versions] += 1
    plan.hours_saved = seconds / 3600
    for position, library in enumerate(VERSIONS_THAT_MATTER):
        here = installed_version(library)
        n_nodes: Counter[str] = Counter()
        for versions, count in made_with.items():
            n_nodes[versions[position] or ""] += count
        plan.other_versions += [
            f"{count} of the nodes to be reused were made with {library} {version} (here: {here})"
            for version, count in sorted(n_nodes.items())
            if version not in ("", here)
        ]


def installed_version(library: str) -> str | None:
    """Version of an installed distribution, without importing it; None where it is missing."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
