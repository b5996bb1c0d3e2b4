"""What the store has from before a grid was planned, to say why a node will run.

Which nodes will run is for ``compare``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from artifacts.identity.fingerprint import Fingerprint, changed
from artifacts.identity.keys import JSON
from artifacts.store.manifest import Manifest
from flows.plan.graph import FromNode, Graph, Node
from w2s_core.stages import STAGES

N_COMPARED = 50
"""Earlier nodes that one is compared with: the latest that are about the same."""


class Earlier(NamedTuple):
    """What an artifact was made of; whole manifests of all that a store has would be too much."""

    started: str
    node: str
    code: str
    """Digest of the code."""
    parts: Mapping[str, str]
    schema: int
    inputs: Mapping[str, str]
    """Name to digest."""
    params: Mapping[str, JSON] | None
    """None where nobody asks for them."""


class History:
    """What the store has from before.

    Args:
        manifests: of all artifacts that are not fresh.
        graph: the nodes that are asked about.
    """

    def __init__(self, manifests: Iterable[Manifest], graph: Graph) -> None:
        self._by_node: dict[str, Earlier] = {}
        self._changes: dict[tuple[str, str], list[str]] = {}
        """Digests of code before and now to the parts that differ: thousands of nodes share a few of them."""
        self._by_labels: dict[tuple[str, str], list[Earlier]] = defaultdict(list)
        for manifest in manifests:
            is_wanted = manifest.node in graph.nodes
            made = _earlier(manifest, None if is_wanted else manifest.params)
            if made.started >= self._by_node.get(made.node, made).started:
                self._by_node[made.node] = made
            if not is_wanted:
                self._by_labels[_who(manifest.stage, manifest.labels)].append(made)
        for about in self._by_labels.values():
            about.sort(key=lambda made: made.started)

    def last(self, node_id: str) -> Earlier | None:
        """What the node was last time."""
        return self._by_node.get(node_id)

    def reason(self, node: Node, code: Fingerprint, inputs: Mapping[str, Mapping[str, JSON]] | None) -> tuple[str, str]:
        """(cause, reason) of a node that will run.

        Args:
            node: the node.
            code: what it runs.
            inputs: what it reads, as ``Keys.inputs`` says; None while that is not known.
        """
        last = self.last(node.id)
        if last is None:
            return self._against_nearest(node)
        if last.code != code.digest:
            digests = last.code, code.digest
            if digests not in self._changes:
                self._changes[digests] = changed(last.parts, code.parts)
            parts = self._changes[digests]
            more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
            return "code", f"code: {', '.join(parts[:3])}{more}"
        if last.schema != STAGES[node.stage].schema:
            return "code", f"code: output schema {last.schema} → {STAGES[node.stage].schema}"
        moved = [
            f"{name} ({made.get('path') or _source_name(node, name)})"
            for name, made in (inputs or {}).items()
            if last.inputs.get(name) != made["digest"]
        ]
        if moved:
            return "input", f"input: {', '.join(moved)} changed"
        return "input", "input: what it reads is being made again"

    def _against_nearest(self, node: Node) -> tuple[str, str]:
        """A node that never was, against the earlier one that it resembles most, if that is no longer wanted."""
        own: dict[str, JSON] | None = None
        nearest: list[str] | None = None
        for made in reversed(self._by_labels.get(_who(node.stage, node.labels), [])[-N_COMPARED:]):
            own = own or _flat(node.params)
            difference = _differences(_flat(made.params), own)
            if nearest is None or len(difference) < len(nearest):
                nearest = difference
        if nearest is None:
            return "new", "never built"
        if nearest:
            return "parameter", f"parameter: {', '.join(nearest)}"
        return "input", f"input: {names(node.parents) or 'files'} is another than before"


def names(nodes: Iterable[Node]) -> str:
    """Nodes as a part of a line."""
    return ", ".join(node.name for node in nodes)


def _earlier(manifest: Manifest, params: Mapping[str, JSON] | None) -> Earlier:
    inputs = {name: entry["digest"] for name, entry in manifest.inputs.items()}
    started = manifest.timings.get("started", "")
    return Earlier(started, manifest.node, manifest.code_digest, manifest.code_parts, manifest.schema, inputs, params)


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
