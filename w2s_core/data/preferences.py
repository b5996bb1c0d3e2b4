"""Datasets of dialogues with two completions, of which one is preferred; offline counterparts: ``offline.preferences``.

They are always pairs that share what comes before: a single completion has no right label (openai/weak-to-strong shows
one at a time, and every model of it stays at chance).
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from w2s_core.data.datasets import DATASETS, Dataset, Draw, Preference, RawRow
from w2s_core.hashes import stable_int

ASSISTANT = "\n\nAssistant:"
"""Where an answer begins in a dialogue."""


def preference(passage: str, chosen: str, rejected: str, group: str) -> list[Preference]:
    """A pair; nothing where there is nothing to compare.

    The order is by a hash of both completions. So it says nothing of which one is preferred, and the same two,
    preferred the other way round, are the same example with the other label, which an audit counts as a contradiction.
    """
    if chosen.split() == rejected.split():
        return []
    both = sorted((chosen, rejected))
    first, second = both if stable_int("order", passage, both) % 2 else reversed(both)
    return [Preference(passage, first, second, int(second == chosen), group)]


def _hh_rlhf(row: RawRow, draw: Draw) -> list[Preference]:
    # What both dialogues share goes up to the beginning of the answer in which they part.
    pairs = zip(row["chosen"], row["rejected"], strict=False)
    n_shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    start = row["chosen"].rfind(ASSISTANT, 0, n_shared)
    if start < 0:
        return []
    passage = row["chosen"][:start].strip()
    chosen, rejected = (row[name][start:].strip() for name in ("chosen", "rejected"))
    # Dialogues go on from one another; those that do begin alike.
    return preference(passage, chosen, rejected, passage.partition(ASSISTANT)[0])


HH_RLHF = Dataset(
    hub_id="Anthropic/hh-rlhf",
    splits={"train": "train", "test": "test"},
    setting="prefer",
    columns={"chosen": str, "rejected": str},
    format=_hh_rlhf,
    max_chars=2_000,
    licence="MIT",
)

DATASETS.register("hh_rlhf", HH_RLHF)
DATASETS.register("hh_helpful", replace(HH_RLHF, hub_dir="helpful-base"))
DATASETS.register("hh_harmless", replace(HH_RLHF, hub_dir="harmless-base"))


def _preferences(row: RawRow, draw: Draw) -> list[Preference]:
    prompt = row["prompt"].strip()
    return preference(prompt, row["chosen"].strip(), row["rejected"].strip(), prompt)


DATASETS.register(
    "preferences",
    Dataset(
        hub_id="Dahoas/full-hh-rlhf",
        splits={"train": "train", "test": "test"},
        setting="prefer",
        columns={"prompt": str, "chosen": str, "rejected": str},
        format=_preferences,
        max_chars=2_000,
        unverified="the rows on the Hub; any files of such columns can be put in the folder",
    ),
)
