"""Shows examples of a dataset as models read them, straight from its source; nothing is stored."""

from __future__ import annotations

import json
import sys
from itertools import islice

from rich.console import Console

from artifacts.errors import W2sError
from flows.resolve import resolve_audits
from w2s_core.config import GridConfig
from w2s_core.errors import DataError
from w2s_core.tokenize import SEPARATOR

SPLIT = "weak_train"


def print_examples(console: Console, config: GridConfig, n_groups: int, *, as_json: bool) -> None:
    """Print the first groups of the supervisor's half of the grid's only dataset.

    Raises:
        W2sError: the dataset cannot be read.
    """
    from w2s_core.prepare import collect

    (node,) = resolve_audits(config, {}, with_models=False).nodes.values()
    try:
        rows = collect(node.params, {name: source.path for name, source in node.inputs.items()}).splits[SPLIT]
    except DataError as error:
        raise W2sError(str(error)) from None
    by_group: dict[str, list[dict[str, str | int]]] = {}
    for row in sorted(rows, key=lambda row: row.rank):
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
