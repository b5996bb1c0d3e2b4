"""Shows examples of a dataset as models read them, or the rows to label, from its source; nothing is stored."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from rich.console import Console

from artifacts.errors import W2sError
from flows.plan.grid import GridConfig
from flows.plan.resolve import resolve_audits
from w2s_core.entries.prepare import collect, shown_by_column
from w2s_core.errors import DataError
from w2s_core.settings.setting import VIEWS
from w2s_core.stages import LABELLED

if TYPE_CHECKING:
    import pyarrow as pa

    from w2s_core.data.sampling import Row
    from w2s_core.settings.setting import View

SPLIT = "weak_train"


def print_examples(console: Console, config: GridConfig, n_groups: int, *, as_json: bool) -> None:
    """Print the first groups of the supervisor's half of the grid's only dataset.

    Raises:
        W2sError: the dataset cannot be read.
    """
    by_group: dict[str, list[dict[str, str | int]]] = {}
    view, splits = _splits(config)
    rows = sorted(splits[SPLIT], key=lambda row: row.rank)
    shown = _shown(view, rows)
    truth = [row.gt_label for row in rows] if view.truth is None else shown[view.truth]
    name = "gt_label" if view.truth is None else view.truth
    for row, text, label in zip(rows, (view.text or view.brief)(shown), truth, strict=True):
        example = {"id": row.id, "group": row.group, name: label, "text": text}
        by_group.setdefault(row.group, []).append(example)
    examples = [example for group in islice(by_group.values(), n_groups) for example in group]
    if as_json:
        json.dump(examples, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    for example in examples:
        console.print(f"label {example[name]}, group {example['group'][:8]}", style="bold", highlight=False)
        # As it is: a line that is broken here would look like one that the model reads.
        console.print(f"{example['text']}\n", markup=False, highlight=False, soft_wrap=True)


def rows_to_label(config: GridConfig) -> pa.Table:
    """What a supervisor of the grid's only dataset labels, without the truth: split, id, and what it is shown.

    Raises:
        W2sError: the dataset cannot be read.
    """
    import pyarrow as pa

    view, splits = _splits(config)
    rows = [(split, row) for split in LABELLED for row in splits[split]]
    about = {"split": [split for split, _ in rows], "id": [row.id for _, row in rows]}
    shown = _shown(view, [row for _, row in rows])
    # What is no text cannot stand in a table.
    told = shown if view.text else {view.things: view.brief(shown)}
    return pa.table({**about, **{name: values for name, values in told.items() if name != view.truth}})


def _shown(view: View, rows: Sequence[Row]) -> dict[str, list[Any]]:
    return shown_by_column(view, [row.shown for row in rows])


def _splits(config: GridConfig) -> tuple[View, dict[str, list[Row]]]:
    """The rows that ``prepare`` would write for the grid's only dataset, and how they are seen."""
    (node,) = resolve_audits(config, {}, with_models=False).nodes.values()
    try:
        collected = collect(node.params, {name: source.path for name, source in node.inputs.items()})
    except DataError as error:
        raise W2sError(str(error)) from None
    for note in collected.notes:
        logging.getLogger("w2s.data").warning("%s: %s", node.labels["dataset"], note)
    return VIEWS.get(node.params["setting"]), collected.splits
