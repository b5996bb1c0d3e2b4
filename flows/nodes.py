"""A grid as nodes: which stages it needs, with which parameters, reading what from whom.

Pure: nothing here looks at the store or at code. ``flows.plan`` says which of the nodes are fresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from artifacts.keys import JSON, node_id, without_added
from w2s_core.config import GridConfig, MethodConfig, ModelConfig, XentConfig
from w2s_core.stages import ADDED

XENT = XentConfig().model_dump()
"""What supervisors and ceilings are trained with."""


@dataclass(frozen=True, slots=True)
class FromNode:
    """An input that is an output of another node."""

    node: Node
    output: str


@dataclass(frozen=True, slots=True)
class FromPath:
    """An input that lies outside the store: a data file, or a folder of weights."""

    path: Path


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A stage with arguments."""

    id: str
    stage: str
    params: Mapping[str, JSON]
    inputs: Mapping[str, FromNode | FromPath]
    labels: Mapping[str, JSON]

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
            model = f"{labels['supervisor']}->{model}"
        seed = labels.get("seed")
        words = [
            labels.get("dataset"),
            self.stage,
            model,
            None if labels.get("supervisor") else labels.get("half"),
            labels.get("method"),
            None if seed is None else f"seed {seed}",
        ]
        return " ".join(str(word) for word in words if word)


class Pair(NamedTuple):
    """The three scores of one weak-strong pair under one method and seed; a PGR is made of them."""

    dataset: str
    weak: str
    strong: str
    method: str
    seed: int
    weak_score: Node
    transfer_score: Node
    ceiling_score: Node | None
    """None for self-training, which has no gap to recover."""


@dataclass(slots=True)
class Graph:
    """All nodes of a grid, parents before children, and the pairs that its results are about."""

    nodes: dict[str, Node] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)

    def add(
        self,
        stage: str,
        params: Mapping[str, JSON],
        inputs: Mapping[str, FromNode | FromPath],
        labels: Mapping[str, JSON],
    ) -> Node:
        """The node of these arguments; the one that is there already, where two users share it."""
        parents = {
            name: f"{source.node.id}/{source.output}" if isinstance(source, FromNode) else str(source.path)
            for name, source in inputs.items()
        }
        identity = node_id(stage=stage, params=without_added(params, ADDED.get(stage, {})), parents=parents)
        return self.nodes.setdefault(identity, Node(identity, stage, params, inputs, labels))


class DataSource(NamedTuple):
    """Where the rows of one dataset come from, as ``prepare`` takes it."""

    params: JSON
    """The ``source`` parameter: its kind, and what that kind needs."""
    files: Mapping[str, Path]
    """Input name to file, for a folder: a split, or one of its shards; empty for the others."""
    max_chars: int
    """Limit of the dataset, used where the grid sets none."""


class ModelSource(NamedTuple):
    """Where the weights and tokenizer of one model come from."""

    kind: Literal["offline", "hub", "folder"]
    hub: Mapping[str, str] | None = None
    """``{"id", "revision"}``, a resolved commit; for ``hub``."""
    folder: Path | None = None


def build_graph(
    config: GridConfig,
    models: list[ModelConfig],
    methods: list[MethodConfig],
    pairs: list[tuple[str, str]],
    data: Mapping[str, DataSource],
    weights: Mapping[str, ModelSource],
) -> Graph:
    """Every node that a grid needs, each once.

    Args:
        config: the grid.
        models: its ladder, weakest first.
        methods: its methods, with all their parameters.
        pairs: (weak, strong) by name; equal names are self-training.
        data: where each dataset comes from, by name.
        weights: where each model comes from, by name.
    """
    graph = Graph()
    by_name = {model.name: model for model in models}
    tokenizers = [(model, weights[model.name]) for model in models]
    bases = {model.name: _base(graph, config, model, weights[model.name]) for model in models}
    for dataset in config.datasets:
        prepared = _prepare(graph, config, dataset, data[dataset])
        if config.audit:
            add_audit(graph, config, prepared, tokenizers)
        for seed in config.seeds:
            _add_pairs(graph, config, dataset, prepared, by_name, bases, weights, methods, pairs, seed)
    return graph


def _base(graph: Graph, config: GridConfig, model: ModelConfig, source: ModelSource) -> dict[str, FromNode | FromPath]:
    if model.pretrain is not None:
        params = {**model.pretrain.model_dump(), "world": config.world.model_dump()}
        node = graph.add("pretrain", params, {}, {"model": model.name})
        return {"base": FromNode(node, "model")}
    return {"base": FromPath(source.folder)} if source.folder is not None else {}


def _prepare(graph: Graph, config: GridConfig, dataset: str, source: DataSource) -> Node:
    data = config.data.model_dump()
    if data["max_chars"] is None:
        data["max_chars"] = source.max_chars
    params = {
        "dataset": dataset,
        "source": source.params,
        "data_seed": config.data_seed,
        "data": data,
    }
    files = {name: FromPath(path) for name, path in source.files.items()}
    return graph.add("prepare", params, files, {"dataset": dataset})


def add_audit(graph: Graph, config: GridConfig, prepared: Node, models: list[tuple[ModelConfig, ModelSource]]) -> Node:
    """The audit of a dataset: it reads the raw rows, as ``prepared`` does, and the tokenizers of ``models``."""
    tokenizers = []
    inputs = dict(prepared.inputs)
    for model, source in models:
        pretrain = model.pretrain
        tokenizers.append(
            {
                "name": model.name,
                "kind": source.kind,
                "max_length": model.max_length,
                "hub": source.hub,
                "n_words": None if pretrain is None else pretrain.n_words,
                "world": None if pretrain is None else config.world.model_dump(),
            }
        )
        if source.folder is not None:
            inputs[f"tokenizer.{model.name}"] = FromPath(source.folder)
    return graph.add("audit", {**prepared.params, "tokenizers": tokenizers}, inputs, dict(prepared.labels))


MODEL_PARAMS = (
    "init", "n_layers", "size", "lr", "precision", "max_length", "pooling", "head", "lora",
)  # fmt: skip
"""Fields of a ModelConfig that decide what a training makes; the others only say where weights come from."""


def _add_pairs(
    graph: Graph,
    config: GridConfig,
    dataset: str,
    prepared: Node,
    by_name: Mapping[str, ModelConfig],
    bases: Mapping[str, Mapping[str, FromNode | FromPath]],
    weights: Mapping[str, ModelSource],
    methods: list[MethodConfig],
    pairs: list[tuple[str, str]],
    seed: int,
) -> None:
    training = config.training.model_dump()

    def train(stage: str, model: str, loss: JSON, inputs: Mapping[str, Any], labels: JSON) -> Node:
        hub = weights[model].hub
        spec = by_name[model].model_dump(include=set(MODEL_PARAMS))
        params = {"model": {**spec, "hub": hub}, "training": training, "loss": loss, "seed": seed}
        return graph.add(stage, params, {**bases[model], **inputs}, {**labels, "seed": seed})

    def train_gt(model: str, half: str) -> Node:
        rows = {
            "train": FromNode(prepared, half),
            "validation": FromNode(prepared, "validation"),
        }
        return train("train_gt", model, XENT, rows, {"dataset": dataset, "model": model, "half": half})

    def score(trained: Node, kind: str) -> Node:
        inputs = {"model": FromNode(trained, "model"), "test": FromNode(prepared, "test")}
        labels = {
            "dataset": dataset,
            "kind": kind,
            "model": trained.labels["model"],
            "half": trained.labels["half"],
            "supervisor": trained.labels.get("supervisor"),
            "method": trained.labels.get("method"),
            "seed": seed,
            "split": "test",
        }
        return graph.add("score", {}, inputs, labels)

    for weak, strong in pairs:
        supervisor = train_gt(weak, "weak_train")
        weak_score = score(supervisor, "gt")
        splits = ("transfer_train", "validation", "test")
        labels = graph.add(
            "weak_labels",
            {},
            {"model": FromNode(supervisor, "model")} | {s: FromNode(prepared, s) for s in splits},
            {"dataset": dataset, "model": weak, "seed": seed},
        )
        ceiling_score = None
        if weak != strong:
            ceiling_score = score(train_gt(strong, config.ceiling_half), "gt")
        for method in methods:
            student = train(
                "train_w2s",
                strong,
                method.loss.model_dump(),
                {
                    "train": FromNode(prepared, "transfer_train"),
                    "validation": FromNode(prepared, "validation"),
                    "labels": FromNode(labels, "transfer_train"),
                    "validation_labels": FromNode(labels, "validation"),
                },
                {
                    "dataset": dataset,
                    "model": strong,
                    "half": "transfer_train",
                    "supervisor": weak,
                    "method": method.name,
                },
            )
            transfer_score = score(student, "w2s")
            graph.pairs.append(
                Pair(
                    dataset, weak, strong, method.name, seed, weak_score, transfer_score, ceiling_score
                )
            )  # fmt: skip
