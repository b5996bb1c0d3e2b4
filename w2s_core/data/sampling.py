"""Which examples of a dataset are taken, and into which split: by class, group and seeded hash.

Nothing here depends on the order of the rows. Where a row comes from, and what it says, is in ``prepare``.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from w2s_core.hashes import stable_hash, stable_unit


class Row(NamedTuple):
    """One example with its identity."""

    id: str
    """Hash of the content of the raw row, and of which candidate it shows."""
    group: str
    """Hash of what related examples share."""
    shown: tuple[Any, ...]
    """The values of the columns that its setting shows, in their order."""
    gt_label: int
    rank: str
    """Seeded hash of the id: the order of rows in every output."""
    position: int = 0
    """Number of the raw row in its raw split, from 1, counted over all files; decides nothing."""
    candidate: str = ""
    """As in ``Example``."""
    also: str = ""
    """Hash of another text that related examples share, or nothing."""


Group = list[Row]
"""Rows that share a group, in the order of their ranks."""


def joined(rows: list[Row]) -> list[Row]:
    """``rows``, of one group wherever they are related through any number of others."""
    parents: dict[str, str] = {}

    def root(group: str) -> str:
        while (parent := parents.setdefault(group, group)) != group:
            parents[group] = group = parents[parent]
        return group

    for row in rows:
        if row.also:
            first, second = sorted((root(row.group), root(row.also)))
            parents[second] = first
    return [row._replace(group=root(row.group)) if row.group in parents else row for row in rows]


SLACK = 1.25
"""How many times the rows that it keeps a pool holds before it drops some: more takes memory, less takes time."""


@dataclass(slots=True)
class Pool:
    """Rows while they are read; of very many, those of the first groups in seeded order are kept.

    They are the fewest groups that hold ``n_least`` rows, or all there are: which ones depends on no order of reading,
    and memory on no number of rows.
    """

    seed: int
    n_least: int
    dropped: Counter[str]
    """Counts rows that come again (``"duplicate"``) and rows of later groups, again or not (``"surplus"``)."""
    n_rows: int = 0
    """Rows that it holds now."""
    _n_pruned: int = 0
    """Rows that the last pruning left: more than ``n_least`` where a group is large."""
    _groups: dict[str, dict[str, Row]] = field(default_factory=dict)
    """Place of a group in the order to its rows by id."""
    _repeats: Counter[str] = field(default_factory=Counter)
    """By place of the group."""
    _last: str | None = None
    """Place of the last group that can be among the first; None as long as that can be any."""

    def add(self, row: Row) -> None:
        """Take one row in, unless it is of a later group or is there already."""
        place = place_of(row.group, self.seed)
        if self._last is not None and place > self._last:
            self.dropped["surplus"] += 1
            return
        rows = self._groups.setdefault(place, {})
        if row.id in rows:
            self._repeats[place] += 1
            return
        rows[row.id] = row
        self.n_rows += 1
        if self.n_rows > SLACK * max(self.n_least, self._n_pruned):
            self._prune()

    def close(self) -> list[Row]:
        """The rows that are kept, after the last one has come."""
        self._prune()
        self.dropped["duplicate"] += self._repeats.total()
        return [row for rows in self._groups.values() for row in rows.values()]

    def _prune(self) -> None:
        n_kept = 0
        for place in sorted(self._groups):
            if n_kept < self.n_least:
                n_kept += len(self._groups[place])
                self._last = place
            else:
                self.dropped["surplus"] += len(self._groups.pop(place)) + self._repeats.pop(place, 0)
        self.n_rows = self._n_pruned = n_kept


@dataclass(slots=True)
class Split:
    """A table of examples while it is being filled."""

    n: int
    """Rows wanted."""
    room: list[int]
    """Rows of each class that may still come in."""
    rows: list[Row] = field(default_factory=list)

    @property
    def n_missing(self) -> int:
        """Rows still wanted."""
        return self.n - len(self.rows)

    def add(self, rows: Iterable[Row]) -> None:
        """Take ``rows`` in."""
        for row in rows:
            self.rows.append(row)
            self.room[row.gt_label] -= 1


def balanced(rows: list[Row], max_majority: float) -> list[Row]:
    """``rows``; if one class has more than ``max_majority`` of them, no class has more of them than the smallest."""
    counts = Counter(row.gt_label for row in rows)
    if max(counts.values(), default=0) <= max_majority * len(rows):
        return rows
    least = min(counts.values()) if len(counts) > 1 else 0
    kept = [row for row in rows if counts[row.gt_label] == least]
    for label in sorted(label for label, n in counts.items() if n > least):
        kept += sorted((row for row in rows if row.gt_label == label), key=lambda row: row.rank)[:least]
    return kept


def sample_any(rows: list[Row], n: int, seed: int, n_classes: int = 2) -> Split:
    """``n`` rows, whatever their class; fewer where there are fewer."""
    split = Split(n, [n] * n_classes)
    _fill([split], rows, seed)
    return split


def sample_balanced(rows: list[Row], sizes: Mapping[str, int], seed: int, n_classes: int = 2) -> dict[str, Split]:
    """Splits of these sizes that share no group, fewer rows where there are fewer.

    Each has as much of every class, within a row, as far as the smaller classes reach; past that, a class has the same
    share of every split.
    """
    counts = Counter(row.gt_label for row in rows)
    splits = {name: Split(n, [0] * n_classes) for name, n in sizes.items()}
    left = dict(sizes)
    # The rarest first: what it leaves goes to the others.
    rarest_first = sorted(range(n_classes), key=lambda label: (counts[label], label))
    for position, label in enumerate(rarest_first):
        n_left = n_classes - position
        share = min(1 / n_left, counts[label] / max(1, sum(left.values()))) if n_left > 1 else 1.0
        for name, split in splits.items():
            split.room[label] = round(left[name] * share)
            left[name] -= split.room[label]
    _fill(list(splits.values()), rows, seed)
    return splits


def _fill(splits: list[Split], rows: list[Row], seed: int) -> None:
    """Give every group to at most one split, until the splits have the rows that they want.

    By its hash a group belongs to one split, in proportion to their sizes, so that an edited row leaves the other
    splits alone while there are rows enough. What is missing then comes from groups that are left over: whole ones,
    then parts of them (the rest of such a group is used nowhere), then rows of either class.
    """
    groups = _groups(rows, seed)
    bounds = list(itertools.accumulate(split.n for split in splits))
    owners = [bisect.bisect(bounds, stable_unit("split", seed, group[0].group) * bounds[-1]) for group in groups]
    is_taken = [False] * len(groups)
    rules: tuple[Literal["own", "whole", "part", "any"], ...] = ("own", "whole", "part", "any")
    for rule, (number, split) in itertools.product(rules, enumerate(splits)):
        for i, group in enumerate(groups):
            if split.n_missing == 0:
                break
            if is_taken[i] or (rule == "own" and owners[i] != number):
                continue
            if rule == "any":
                fitting = group[: split.n_missing]
            else:
                fitting = [row for k, room in enumerate(split.room) for row in _of_class(group, k)[: max(0, room)]]
            if len(fitting) == len(group) or (fitting and rule in ("part", "any")):
                split.add(fitting)
                is_taken[i] = True


def _of_class(group: Group, gt_label: int) -> list[Row]:
    return [row for row in group if row.gt_label == gt_label]


def _groups(rows: list[Row], seed: int) -> list[Group]:
    """Rows by group, groups in seeded order."""
    by_group: dict[str, Group] = {}
    for row in sorted(rows, key=lambda row: row.rank):
        by_group.setdefault(row.group, []).append(row)
    return sorted(by_group.values(), key=lambda group: place_of(group[0].group, seed))


def place_of(group: str, seed: int) -> str:
    """Where a group stands in seeded order."""
    return stable_hash("group", seed, group)
