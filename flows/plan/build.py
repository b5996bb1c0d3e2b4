"""A grid as nodes: which stages it needs, with which parameters, reading what from whom.

Pure: nothing here looks at the store or at code. ``flows.plan.compare`` says which of the nodes are fresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from artifacts.identity.keys import JSON
from flows.plan.adapted import adapted
from flows.plan.cell import Answers, Cell, Labels, Model, ModelSource
from flows.plan.features import extracted, untrained
from flows.plan.graph import FromNode, FromPath, Graph, Node, Pair
from flows.plan.grid import GridConfig, MethodConfig
from flows.plan.learners import LEARNERS, Learn, Lesson, Recipes, finetune, treated
from flows.plan.supervisors.supervisor import supervise
from w2s_core.config import LAST_LAYER, Frozen, ModelConfig
from w2s_core.methods.stopping import FINAL
from w2s_core.stages import LABELLED


class DataSource(NamedTuple):
    """Where the rows of one dataset come from, as ``prepare`` takes it."""

    params: JSON
    """The ``source`` parameter: its kind, and what that kind needs."""
    files: Mapping[str, Path]
    """Input name to file, for a folder: a split, or one of its shards; empty for the others."""
    max_chars: int
    """Limit of the dataset, used where the grid sets none."""
    asked: Mapping[str, JSON]
    """What every stage of it knows of its examples, as parameters."""
    shows: str = "text"
    """What models have to read."""
    n_classes: int = 2


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
        pairs: (supervisor, strong) by name; equal names are self-training.
        data: where each dataset comes from, by name.
        weights: where each model comes from, by name.
    """
    graph = Graph()
    tokenizers = [(model, weights[model.name]) for model in models]
    ladder = {
        model.name: Model(model, weights[model.name], _base(graph, config, model, weights[model.name]))
        for model in models
    }
    # One object where they are the same, as all parameters of a plan.
    asked: dict[tuple[JSON, ...], Mapping[str, JSON]] = {}
    recipes = Recipes(config.training.model_dump(exclude={"lr_scale"}), config.training.lr_scale)
    for dataset in config.datasets:
        prepared = _prepare(graph, config, dataset, data[dataset])
        if config.audit:
            # What has no text has no tokens.
            add_audit(graph, config, prepared, tokenizers if data[dataset].shows == "text" else [])
        for seed in config.seeds:
            cell = Cell(
                graph=graph,
                dataset=dataset,
                prepared=prepared,
                models=ladder,
                recipe=recipes.recipe,
                asked=asked.setdefault(tuple(data[dataset].asked.values()), data[dataset].asked),
                seed=seed,
                supervisors={spec.name: spec for spec in config.supervisors},
            )
            _add_pairs(cell, config, pairs, methods)
    return graph


def _base(graph: Graph, config: GridConfig, model: ModelConfig, source: ModelSource) -> dict[str, FromNode | FromPath]:
    if model.pretrain is not None:
        params = {**model.pretrain.model_dump(), "world": config.world.model_dump()}
        return {"base": FromNode(graph.add("pretrain", params, {}, {"model": model.name}), "model")}
    if model.pretrain_images is not None:
        params = {**model.pretrain_images.model_dump(mode="json"), "world": config.world.model_dump()}
        return {"base": FromNode(graph.add("pretrain_images", params, {}, {"model": model.name}), "model")}
    return {"base": FromPath(source.folder)} if source.folder is not None else {}


def _prepare(graph: Graph, config: GridConfig, dataset: str, source: DataSource) -> Node:
    data = config.data.model_dump()
    if data["max_chars"] is None:
        data["max_chars"] = source.max_chars
    params = {
        **source.asked,
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
                # As a default it is of no key: it came later.
                **({} if pretrain is None else pretrain.model_dump(include={"corpus"}, exclude_defaults=True)),
            }
        )
        if source.folder is not None:
            inputs[f"tokenizer.{model.name}"] = FromPath(source.folder)
    corpora = sorted({"words", *(spec["corpus"] for spec in tokenizers if "corpus" in spec)})
    params = {**prepared.params, "tokenizers": tokenizers, "corpus": corpora}
    return graph.add("audit", params, inputs, dict(prepared.labels))


def _add_pairs(cell: Cell, config: GridConfig, pairs: list[tuple[str, str]], methods: list[MethodConfig]) -> None:
    # Each asked for once, when its first pair comes: nodes are in the order in which they are to run.
    supervision = cache(partial(supervise, cell))
    truth = cell.truth(config.ceiling_half)
    ceiling = cache(partial(finetune, cell, labels=truth))
    stops = _stops(methods)
    for weak, strong in pairs:
        given = supervision(weak)
        if config.salience:
            _add_salience(cell, weak, strong, given.labels)
        plain_score = None if weak == strong else ceiling(strong).score
        for method in methods:
            home = cell if method.adapt is None else adapted(cell, strong, method.adapt)
            labels = treated(home, given.labels._replace(by=weak), method.labels, strong)
            lesson = Lesson(home, strong, labels, truth, method.loss, method.stop, stops[method.name], method.name)
            learner = LEARNERS.get(method.learn.kind)
            student = learner.student(lesson, method.learn)
            ceiling_score, ceiling_plain_score = plain_score, None
            if plain_score is not None and (learner.ceiling or method.adapt):
                of_method = learner.ceiling or _finetuned
                ceiling_score, ceiling_plain_score = of_method(lesson, method.learn).score, plain_score
            pair = Pair(
                dataset=cell.dataset,
                weak=weak,
                strong=strong,
                method=method.name,
                seed=cell.seed,
                weak_score=given.reference or given.score,
                transfer_score=student.score,
                ceiling_score=ceiling_score,
                supervisor_score=given.score if given.reference else None,
                ceiling_plain_score=ceiling_plain_score,
            )
            cell.graph.pairs.append(pair)


SALIENCE_L2 = 1.0
"""Penalty of the probes that measure salience, per feature."""


def _add_salience(cell: Cell, weak: str, strong: str, labels: Labels) -> None:
    """What a linear probe on the features of the strong model makes of a supervisor's errors, and of the truth."""
    assert labels.given is not None
    vectors = extracted(cell, untrained(cell, strong), LAST_LAYER, *LABELLED)
    inputs: dict[str, FromNode] = {}
    for split in ("transfer_train", "test"):
        read = {"rows": cell.rows(split), "labels": labels.given[split], "features": vectors[split]}
        inputs |= {f"{name}.{split}": source for name, source in read.items()}
    cell.add("salience", {"l2": SALIENCE_L2, "seed": cell.seed}, inputs, model=strong, supervisor=weak)


def _finetuned(lesson: Lesson, learn: Learn) -> Answers:
    """The ceiling of a method whose student starts from elsewhere than the plain one."""
    return finetune(lesson.cell, lesson.name, lesson.truth, method=f"{lesson.method}-ceiling")


def _stops(methods: list[MethodConfig]) -> dict[str, list[Frozen]]:
    """The stopping rules of each method's training, by its name: methods that differ in nothing else share one."""
    shared: dict[tuple[Any, ...], set[Frozen]] = {}
    trainings = {method.name: (method.labels, method.loss, method.adapt) for method in methods}
    for method in methods:
        shared.setdefault(trainings[method.name], {FINAL}).add(method.stop)
    # In one order, whatever that of the methods.
    ordered = {about: [FINAL, *sorted(rules - {FINAL}, key=repr)] for about, rules in shared.items()}
    return {name: ordered[about] for name, about in trainings.items()}
