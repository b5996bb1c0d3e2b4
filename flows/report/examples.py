"""Shows examples of a dataset as models read them, or the rows to label, from its source; nothing is stored."""

from __future__ import annotations

import json
import logging
import sys
from itertools import islice
from typing import TYPE_CHECKING

from rich.console import Console

from artifacts.errors import W2sError
from flows.plan.grid import GridConfig
from flows.plan.resolve import resolve_audits
from w2s_core.data.tokens import SEPARATOR
from w2s_core.errors import DataError
from w2s_core.stages import LABELLED

if TYPE_CHECKING:
    import pyarrow as pa

    from w2s_core.data.sampling import Row

SPLIT = "weak_train"


def print_examples(console: Console, config: GridConfig, n_groups: int, *, as_json: bool) -> None:
    """Print the first groups of the supervisor's half of the grid's only dataset.

    Raises:
        W2sError: the dataset cannot be read.
    """
    by_group: dict[str, list[dict[str, str | int]]] = {}
    for row in sorted(_splits(config)[SPLIT], key=lambda row: row.rank):
        text = SEPARATOR.join(part for part in (row.passage, row.prompt) if part)
        shown = {"id": row.id, "group": row.group, "gt_label": row.gt_label, "text": text}
        by_group.setdefault(row.group, []).append(shown)
    examples = [example for group in islice(by_group.values(), n_groups) for example in group]
    if as_json:
        json.dump(examples, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    for example in examples:
        console.print(f"label {example['gt_label']}, group {example['group'][:8]}", style="bold", highlight=False)
        # As it is: a line that is broken here would look like one that the model reads.
        console.print(f"{example['text']}\n", markup=False, highlight=False, soft_wrap=True)


def rows_to_label(config: GridConfig) -> pa.Table:
    """What a supervisor of the grid's only dataset labels, without the truth: split, id, passage, prompt.

    Raises:
        W2sError: the dataset cannot be read.
    """
    import pyarrow as pa

    splits = _splits(config)
    rows = [
        {"split": split, "id": row.id, "passage": row.passage, "prompt": row.prompt}
        for split in LABELLED
        for row in splits[split]
    ]
    return pa.Table.from_pylist(rows)


def _splits(config: GridConfig) -> dict[str, list[Row]]:
    """The rows that ``prepare`` would write for the grid's only dataset."""
    from w2s_core.entries.prepare import collect

    (node,) = resolve_audits(config, {}, with_models=False).nodes.values()
    try:
        collected = collect(node.params, {name: source.path for name, source in node.inputs.items()})
    except DataError as error:
        raise W2sError(str(error)) from None
    for note in collected.notes:
        logging.getLogger("w2s.data").warning("%s: %s", node.labels["dataset"], note)
    return collected.splits
