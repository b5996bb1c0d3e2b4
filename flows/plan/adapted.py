"""A strong model that has first learned the texts of the task, without labels (Burns et al. 2023, section 5.2.2)."""

from __future__ import annotations

from dataclasses import replace

from artifacts.errors import UsageError
from artifacts.identity.keys import JSON
from flows.plan.cell import Cell, Model, ModelSource
from flows.plan.graph import FromNode
from w2s_core.config import AdaptConfig


def adapted(cell: Cell, name: str, config: AdaptConfig) -> Cell:
    """The cell as it is for whoever starts from the adapted model: all else that is built in it is so, too.

    It learns the rows of students, whose labels it does not see.

    Raises:
        UsageError: a model that starts at random has nothing to adapt.
    """
    model = cell.models[name]
    if model.config.init == "random":
        raise UsageError(f"methods: {name!r} starts at random, and cannot be adapted; leave adapt out, or the model")
    params: dict[str, JSON] = {
        "model": {"n_layers": model.config.n_layers, "hub": model.source.hub},
        "adapt": config.model_dump(),
        "lr": model.config.lr,
        "seed": cell.seed,
    }
    node = cell.add("adapt", params, {**model.base, "train": cell.rows("transfer_train")}, model=name)
    # What was cut is cut already.
    whole = model.config.model_copy(update={"n_layers": None})
    start = Model(whole, ModelSource("adapted"), {"base": FromNode(node, "model")})
    return replace(cell, models={**cell.models, name: start})
