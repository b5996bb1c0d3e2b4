"""Features of a model as nodes: extracted once for all that is fitted on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from artifacts.identity.keys import JSON
from flows.plan.cell import Cell
from flows.plan.graph import FromNode, FromPath
from w2s_core.config import Layer

BASE_PARAMS = ("init", "n_layers", "size", "precision", "max_length", "pooling")
"""Fields of a ModelConfig that decide the features of a model that is not finetuned."""


class Seen(NamedTuple):
    """A model whose features are wanted."""

    params: Mapping[str, JSON]
    inputs: Mapping[str, FromNode | FromPath]
    seed: int | None
    """None: the same for all seeds."""
    about: Mapping[str, JSON]
    """What tables call it."""


def untrained(cell: Cell, name: str) -> Seen:
    """A model of the ladder as it is, before any finetuning."""
    model = cell.models[name]
    params: dict[str, JSON] = {"model": {**model.config.model_dump(include=set(BASE_PARAMS)), "hub": model.source.hub}}
    seed = cell.seed if model.config.init == "random" else None
    if seed is not None:
        params["seed"] = seed
    return Seen(params, model.base, seed, {"model": name})


def extracted(cell: Cell, seen: Seen, layer: Layer, *splits: str) -> dict[str, FromNode]:
    """The features of some splits; those of one node are asked for together."""
    params = {**cell.asked, **seen.params, "layer": layer, "splits": list(splits)}
    inputs = {**seen.inputs, **{split: cell.rows(split) for split in splits}}
    node = cell.add("features", params, inputs, seed=seen.seed, **seen.about)
    return {split: FromNode(node, split) for split in splits}
