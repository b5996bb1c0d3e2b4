"""Whether halves share what examples are about, measured on real rows rather than by the groups that split them.

Prepares each dataset of a folder at its full size and compares the half of supervisors with that of students, and both
together with validation and test: how many rows have a passage (sentence, premise, dialogue) that stands on the other
side, or the question where there is no passage, but for case, space and punctuation.
Run: python bench/halves.py FOLDER, where FOLDER holds <dataset>/train.* and test.* as a grid's ``source`` does.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from flows.plan.grid import DataConfig
from w2s_core.data.datasets import DATASETS
from w2s_core.data.sampling import Row
from w2s_core.entries.prepare import collect

ENOUGH = 20_000
HALVES = ("weak_train", "transfer_train")


def subjects(dataset: str, row: Row) -> set[str]:
    """What an example is about, as a reader would say, whatever its group is."""
    passage, prompt, *_ = row.shown
    if dataset.startswith("ethics_utilitarianism"):
        texts = passage.split("\n")  # two scenarios, in any order
    elif passage:
        texts = [passage]
    else:
        texts = [prompt.partition("\nA: ")[0]]
    if dataset in ("paws", "wic"):
        texts.append(prompt.partition("\n")[0])  # the second sentence
    return {" ".join(re.findall(r"\w+", text.casefold())) for text in texts}


def sharing(dataset: str, rows: list[Row], others: list[Row]) -> int:
    """How many of ``rows`` share a subject with one of ``others``."""
    there = set[str]().union(*(subjects(dataset, row) for row in others))
    return sum(not there.isdisjoint(subjects(dataset, row)) for row in rows)


def main() -> int:
    """Print a table in Markdown; 1 where halves share anything."""
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    print("| dataset | groups | rows of the halves | sharing with the other half | with validation | with test |")
    print("|---|---|---|---|---|---|")
    n_shared = 0
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        if folder.name not in DATASETS.names() or not folder.is_dir():
            continue
        inputs = {path.stem: path for path in folder.iterdir() if path.stem in ("train", "test")}
        dataset = DATASETS.get(folder.name)
        limit = dataset.max_chars
        data = DataConfig(n_train=ENOUGH, n_validation=500, n_test=ENOUGH, allow_fewer=True, max_chars=limit)
        params = {"dataset": folder.name, "setting": dataset.setting, "source": {"kind": "folder"}, "data_seed": 0}
        params["data"] = data.model_dump()
        splits = collect(params, inputs).splits
        weak, transfer = (splits[half] for half in HALVES)
        both = weak + transfer
        across = sharing(folder.name, weak, transfer) + sharing(folder.name, transfer, weak)
        n_shared += across
        n_groups = len({row.group for row in both})
        others = (sharing(folder.name, both, splits[split]) for split in ("validation", "test"))
        print(f"| {folder.name} | {n_groups:,} | {len(both):,} | {across:,} | {' | '.join(map(str, others))} |")
    return 1 if n_shared else 0


if __name__ == "__main__":
    sys.exit(main())
