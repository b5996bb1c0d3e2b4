"""What there is to choose from, as tables: datasets, models, ladders, parts of methods."""

from __future__ import annotations

import inspect

import pyarrow as pa

from flows.plan.supervisors.supervisor import SUPERVISORS
from w2s_core.config import Frozen
from w2s_core.data.datasets import DATASETS
from w2s_core.methods.losses import LOSSES
from w2s_core.methods.treatments import TREATMENTS
from w2s_core.models.catalog import LADDERS, MODELS


def datasets_table() -> pa.Table:
    """One row per dataset."""
    rows = []
    for name in DATASETS:
        dataset = DATASETS.get(name)
        rows.append(
            {
                "dataset": name,
                "hub": dataset.hub_id,
                "config": dataset.hub_config,
                "train": dataset.splits["train"],
                "test": dataset.splits["test"],
                "examples": None if dataset.sizes is None else f"{dataset.sizes[0]:,} + {dataset.sizes[1]:,}",
                "max chars": dataset.max_chars,
                "licence": dataset.licence,
                "not verified": dataset.unverified,
            }
        )
    return pa.Table.from_pylist(rows)


def models_table() -> pa.Table:
    """One row per model, with the ladders it stands in."""
    rows = []
    for name, model in MODELS.items():
        ladders = [ladder for ladder, members in LADDERS.items() if name in members]
        rows.append(
            {
                "model": name,
                "path": model.path or "offline",
                "ladders": ", ".join(ladders),
                "lr": model.lr,
                "precision": model.precision,
                "max length": model.max_length,
                "lora": model.lora is not None,
            }
        )
    return pa.Table.from_pylist(rows)


def methods_table() -> pa.Table:
    """One row per loss, treatment of labels, and kind of supervisor: what it is, and what it takes."""
    parts: dict[str, dict[str, type[Frozen]]] = {
        "loss": {name: LOSSES.get(name).params for name in LOSSES},
        "labels": {name: TREATMENTS.get(name).params for name in TREATMENTS},
        "supervisor": {name: SUPERVISORS.get(name).spec for name in SUPERVISORS},
    }
    rows = [
        {
            "part": part,
            "name": name,
            "what": inspect.cleandoc(params.__doc__ or "").partition("\n\n")[0],
            "settings": ", ".join(
                field if info.is_required() else f"{field} = {info.default}"
                for field, info in params.model_fields.items()
                if field not in ("name", "kind", "loss")
            ),
        }
        for part, entries in parts.items()
        for name, params in entries.items()
    ]
    return pa.Table.from_pylist(rows)
