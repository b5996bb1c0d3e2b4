"""What there is to choose from, as tables: datasets, models, ladders."""

from __future__ import annotations

import pyarrow as pa

from w2s_core.datasets import DATASETS
from w2s_core.models_catalog import LADDERS, MODELS


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
