"""What a grid still has to do: which nodes are fresh, which will run and why, and which depend on those.

Works from manifests and file sizes alone: no torch, no Prefect, no server.
"""

from __future__ import annotations

import enum
import importlib.metadata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from artifacts.identity.digests import ExternalDigests
from artifacts.identity.fingerprint import Fingerprint, Sources, changed, fingerprint
from artifacts.identity.keys import JSON, artifact_key, without_added
from artifacts.store.contract import Reader
from artifacts.store.manifest import Manifest
from flows.plan.graph import FromNode, Graph, Node
from w2s_core.stages import ADDED, STAGES

VERSIONS_THAT_MATTER = ("torch", "transformers")
"""Libraries whose version is no identity, but is worth a line when it changed."""


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
    manifest: Manifest | None = None
    """What is stored under the key; for a node that depends, what it was last time."""


@dataclass(slots=True)
class Plan:
    """Every node of a grid with its status, parents before children."""

    graph: Graph
    planned: dict[str, Planned]
    hours_saved: float = 0.0
    other_versions: list[str] = field(default_factory=list)
    """Lines on fresh nodes that were made with other library versions."""

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


class Keys:
    """Computes keys: the code of a stage, its parameters, and the digests of what it reads."""

    def __init__(self, sources: Sources, external: ExternalDigests) -> None:
        self._sources = sources
        self._external = external

    def code(self, node: Node) -> Fingerprint:
        """Fingerprint of the code that ``node`` runs."""
        return fingerprint(self._sources, STAGES[node.stage].entry, node.params)

    def inputs(self, node: Node, manifests: Mapping[str, Manifest]) -> dict[str, dict[str, JSON]]:
        """Where ``node`` reads what, with digests, as its manifest records it.

        Args:
            node: the node.
            manifests: node id to manifest, of every parent.
        """
        entries: dict[str, dict[str, JSON]] = {}
        for name, source in node.inputs.items():
            if isinstance(source, FromNode):
                parent = manifests[source.node.id]
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

    def key(self, node: Node, code: Fingerprint, inputs: Mapping[str, Mapping[str, JSON]]) -> str:
        """The identity of what ``node`` makes of ``inputs``."""
        return artifact_key(
            stage=node.stage,
            schema=STAGES[node.stage].schema,
            fingerprint=code.digest,
            params=without_added(node.params, ADDED.get(node.stage, {})),
            inputs={name: entry["digest"] for name, entry in inputs.items()},
        )

    def order(self, node: Node, code: Fingerprint, inputs: Mapping[str, Mapping[str, JSON]]) -> dict[str, JSON]:
        """All that a worker needs to run ``node``, as JSON; its ``key`` is the node's identity."""
        stage = STAGES[node.stage]
        return {
            "key": self.key(node, code, inputs),
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
            "outputs": {name: output.path for name, output in stage.outputs.items()},
            "runs": stage.runs,
            "n_devices": node.n_devices,
        }


def make_plan(graph: Graph, store: Reader, keys: Keys) -> Plan:
    """Compare a graph with the store.

    Raises:
        FingerprintError: code within reach of a stage cannot be fingerprinted.
        UsageError: an external input cannot be read.
    """
    planned: dict[str, Planned] = {}
    fresh: dict[str, Manifest] = {}
    for node in graph.nodes.values():
        code = keys.code(node)
        entry = Planned(node, Status.STALE, code)
        planned[node.id] = entry
        if all(parent.id in fresh for parent in node.parents):
            entry.key = keys.key(node, code, keys.inputs(node, fresh))
            entry.manifest = store.get(node.stage, entry.key)
            if entry.manifest is not None:
                entry.status = Status.FRESH
                fresh[node.id] = entry.manifest
    plan = Plan(graph, planned)
    if plan.pending:
        history = History(store.manifests(), graph)
        _mark_dependants(plan, history)
        _mark_evicted(plan)
        for entry in plan.pending:
            if entry.status is Status.STALE and not entry.cause:
                entry.cause, entry.reason = history.reason(entry, keys, fresh, store)
            elif entry.status is Status.DEPENDS:
                entry.reason = "reruns only if " + _names(_unfresh_parents(plan, entry)) + " gives new values"
    _note_reuse(plan)
    return plan


def _unfresh_parents(plan: Plan, entry: Planned) -> list[Node]:
    return [p for p in entry.node.parents if plan.planned[p.id].status is not Status.FRESH]


def _names(nodes: Iterable[Node]) -> str:
    return ", ".join(node.name for node in nodes)


def _mark_dependants(plan: Plan, history: History) -> None:
    """A node whose own code and parameters made an artifact reruns only if a parent's values change."""
    for entry in plan.pending:
        if entry.key is None:
            last = history.last(entry.node.id)
            if last is not None and last.code_digest == entry.code.digest:
                entry.status = Status.DEPENDS
                entry.manifest = last


def _mark_evicted(plan: Plan) -> None:
    """Weights that were evicted, and that a node which will run reads, have to be made again."""
    for entry in reversed(list(plan.planned.values())):
        if entry.status is not Status.STALE:
            continue
        for source in entry.node.inputs.values():
            if not isinstance(source, FromNode):
                continue
            parent = plan.planned[source.node.id]
            output = parent.manifest.outputs[source.output] if parent.manifest else None
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
    versions: Counter[tuple[str, str]] = Counter()
    for entry in plan.planned.values():
        if entry.status is Status.FRESH and entry.manifest is not None:
            seconds += entry.manifest.timings.get("seconds", 0.0)
            for library in VERSIONS_THAT_MATTER:
                made_with = entry.manifest.environment.get(library)
                if made_with is not None:
                    versions[library, made_with] += 1
    plan.hours_saved = seconds / 3600
    for (library, made_with), n_nodes in sorted(versions.items()):
        here = installed_version(library)
        if made_with != here:
            plan.other_versions.append(
                f"{n_nodes} of the nodes to be reused were made with {library} {made_with} (here: {here})"
            )


def installed_version(library: str) -> str | None:
    """Version of an installed distribution, without importing it; None where it is missing."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


class History:
    """What the store has from before, to say why a node will run."""

    def __init__(self, manifests: Iterable[Manifest], graph: Graph) -> None:
        self._graph = graph
        self._by_node: dict[str, Manifest] = {}
        self._changes: dict[tuple[str, str], list[str]] = {}
        """Digests of code before and now to the parts that differ: thousands of nodes share a few of them."""
        self._by_labels: dict[tuple[str, str], list[Manifest]] = defaultdict(list)
        for manifest in sorted(manifests, key=lambda m: m.timings.get("started", "")):
            self._by_node[manifest.node] = manifest
            if manifest.node not in graph.nodes:
                self._by_labels[_who(manifest.stage, manifest.labels)].append(manifest)

    def last(self, node_id: str) -> Manifest | None:
        """What the node was last time."""
        return self._by_node.get(node_id)

    def reason(self, entry: Planned, keys: Keys, fresh: Mapping[str, Manifest], store: Reader) -> tuple[str, str]:
        """(cause, reason) of a node that will run."""
        node = entry.node
        if entry.key is not None and (problem := store.problem(node.stage, entry.key)):
            return "payload", f"payload: {problem}"
        last = self.last(node.id)
        if last is None:
            return self._against_nearest(node)
        if last.code_digest != entry.code.digest:
            digests = last.code_digest, entry.code.digest
            if digests not in self._changes:
                self._changes[digests] = changed(last.code_parts, entry.code.parts)
            parts = self._changes[digests]
            more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
            return "code", f"code: {', '.join(parts[:3])}{more}"
        if last.schema != STAGES[node.stage].schema:
            return "code", f"code: output schema {last.schema} → {STAGES[node.stage].schema}"
        if entry.key is not None:
            now = keys.inputs(node, fresh)
            moved = [
                f"{name} ({made.get('path') or _source_name(node, name)})"
                for name, made in now.items()
                if last.inputs.get(name, {}).get("digest") != made["digest"]
            ]
            if moved:
                return "input", f"input: {', '.join(moved)} changed"
        return "input", "input: what it reads is being made again"

    def _against_nearest(self, node: Node) -> tuple[str, str]:
        """A node that never was, against the earlier one that it resembles most, if that is no longer wanted."""
        own = _flat(node.params)
        nearest: list[str] | None = None
        for manifest in reversed(self._by_labels.get(_who(node.stage, node.labels), [])[-50:]):
            difference = _differences(_flat(manifest.params), own)
            if nearest is None or len(difference) < len(nearest):
                nearest = difference
        if nearest is None:
            return "new", "never built"
        if nearest:
            return "parameter", f"parameter: {', '.join(nearest)}"
        return "input", f"input: {_names(node.parents) or 'files'} is another than before"


def _who(stage: str, labels: Mapping[str, JSON]) -> tuple[str, str]:
    """What a node is about, less what a parameter may have changed."""
    about = ("dataset", "model", "half", "supervisor", "method", "seed", "kind")
    return stage, "/".join(str(labels.get(name)) for name in about)


def _source_name(node: Node, name: str) -> str:
    source = node.inputs[name]
    return source.node.name if isinstance(source, FromNode) else str(source.path)


def _flat(value: JSON, prefix: str = "") -> dict[str, JSON]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, JSON] = {}
    for name, item in value.items():
        flat.update(_flat(item, f"{prefix}.{name}" if prefix else name))
    return flat


def _differences(before: Mapping[str, JSON], after: Mapping[str, JSON]) -> list[str]:
    names = sorted(before.keys() | after.keys())
    return [
        f"{name} {before.get(name, 'absent')} → {after.get(name, 'absent')}"
        for name in names
        if before.get(name) != after.get(name)
    ]
