"""A grid as nodes and pairs: what reads what. Pure: nothing here looks at the store or at code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from artifacts.identity.keys import JSON, Canonical, canonical_json, node_id, without_added
from w2s_core.stages import ADDED, STAGES, Kind


class FromNode(NamedTuple):
    """An input that is an output of another node."""

    node: Node
    output: str


class FromPath(NamedTuple):
    """An input that lies outside the store: a data file, or a folder of weights."""

    path: Path


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A stage with arguments."""

    id: str
    stage: str
    params: Mapping[str, JSON]
    counted: Canonical
    """Those of its parameters that are in its id and key; nodes with the same ones share the text."""
    inputs: Mapping[str, FromNode | FromPath]
    labels: Mapping[str, JSON]
    """What tables call it; nothing is decided by it."""
    n_devices: int = 1
    """On how many devices it trains; in no key."""

    def makes(self, kind: Kind) -> list[str]:
        """Its outputs of a kind."""
        outputs = STAGES[self.stage].outputs(self.params)
        return [name for name, output in outputs.items() if output.kind == kind]

    @property
    def parents(self) -> list[Node]:
        """The nodes whose outputs it reads, each once."""
        return list({i.node.id: i.node for i in self.inputs.values() if isinstance(i, FromNode)}.values())

    @property
    def name(self) -> str:
        """What logs, tables and the UI call it: dataset, stage, model, method, seed."""
        labels = self.labels
        model = labels.get("model")
        if labels.get("supervisor"):
            model = f"{labels['supervisor']}->{model}" if model else labels["supervisor"]
        seed = labels.get("seed")
        words = [
            labels.get("dataset"),
            self.stage,
            model,
            None if labels.get("supervisor") and labels.get("half") == "transfer_train" else labels.get("half"),
            labels.get("method"),
            None if seed is None else f"seed {seed}",
        ]
        return " ".join(str(word) for word in words if word)


class Pair(NamedTuple):
    """The scores of one weak-strong pair under one method and seed; a PGR is made of the first three."""

    dataset: str
    weak: str
    strong: str
    method: str
    seed: int
    weak_score: Node
    transfer_score: Node
    ceiling_score: Node | None
    """None for self-training, which has no gap to recover."""
    supervisor_score: Node | None = None
    """Of the labels that the student is given; None where they are those of ``weak_score``."""
    ceiling_plain_score: Node | None = None
    """Of the strong model trained on ground truth the usual way; None where ``ceiling_score`` is that."""

    @property
    def unusual(self) -> dict[str, Node]:
        """Those of the last two that there are, by name."""
        scores = {"supervisor_score": self.supervisor_score, "ceiling_plain_score": self.ceiling_plain_score}
        return {name: score for name, score in scores.items() if score is not None}


@dataclass(slots=True)
class Graph:
    """All nodes of a grid, parents before children, and the pairs that its results are about."""

    nodes: dict[str, Node] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    _counted: dict[tuple[str, int], tuple[Canonical, Mapping[str, JSON]]] = field(default_factory=dict)
    """By stage and identity of the parameters, which many nodes share; they are kept here, so that it stays theirs."""

    def add(
        self,
        stage: str,
        params: Mapping[str, JSON],
        inputs: Mapping[str, FromNode | FromPath],
        labels: Mapping[str, JSON],
        n_devices: int = 1,
    ) -> Node:
        """The node of these arguments; the one that is there already, where two users share it.

        Raises:
            TypeError: an input is an output of another kind than the stage reads.
        """
        for name, source in inputs.items():
            if isinstance(source, FromNode):
                outputs = STAGES[source.node.stage].outputs(source.node.params)
                kind, wanted = outputs[source.output].kind, STAGES[stage].reads.get(name.partition(".")[0])
                if kind != wanted:
                    raise TypeError(f"{stage} reads {wanted or 'nothing'} as {name!r}, but {source.output!r} is {kind}")
        parents = {
            name: f"{source.node.id}/{source.output}" if isinstance(source, FromNode) else str(source.path)
            for name, source in inputs.items()
        }
        counted = self._counting(stage, params)
        identity = node_id(stage=stage, params=counted, parents=parents)
        if identity not in self.nodes:
            self.nodes[identity] = Node(identity, stage, params, counted, inputs, labels, n_devices)
        return self.nodes[identity]

    def _counting(self, stage: str, params: Mapping[str, JSON]) -> Canonical:
        known = self._counted.get((stage, id(params)))
        if known is None:
            text = Canonical(canonical_json(without_added(params, ADDED.get(stage, {}))))
            known = self._counted[stage, id(params)] = text, params
        return known[0]

    def waves(self) -> list[list[Node]]:
        """All nodes, in lists that read of earlier lists only."""
        depths: dict[str, int] = {}
        found: list[list[Node]] = []
        for id, node in self.nodes.items():
            above = [depths[source.node.id] for source in node.inputs.values() if isinstance(source, FromNode)]
            depth = depths[id] = max(above, default=-1) + 1
            if depth == len(found):
                found.append([])
            found[depth].append(node)
        return found

    def readers(self) -> dict[str, list[Node]]:
        """Node id to the nodes that read something of it."""
        found: dict[str, list[Node]] = {id: [] for id in self.nodes}
        for node in self.nodes.values():
            for parent in dict.fromkeys(node.parents):
                found[parent.id].append(node)
        return found
