"""A run of a grid, and how grid files write it down.

Which runs a grid has, and what they decide, is for ``grids``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

import pydantic_core

from artifacts.identity.keys import JSON

State = Literal["running", "complete", "failed", "interrupted"]

NODE = ("node", "stage", "labels", "key")
"""Fields of a ``GridNode`` in the file."""

PAIR = ("dataset", "weak", "strong", "method", "seed")
"""What names a row of the results."""


@dataclass(frozen=True, slots=True)
class GridNode:
    """One node of a run."""

    node: str
    """Node id."""
    stage: str
    labels: Mapping[str, JSON]
    key: str | None = None
    """None until it is known."""


@dataclass(frozen=True, slots=True)
class GridRun:
    """One run of a grid; ``Grids.start`` fills in the fields after ``pairs``."""

    config: Mapping[str, Any]
    """A ``GridConfig`` as JSON; its ``name`` names the grid."""
    revisions: Mapping[str, str]
    """Hub id to the commit that it was resolved to."""
    nodes: Sequence[GridNode]
    pairs: Sequence[Mapping[str, JSON]]
    """``{dataset, weak, strong, method, seed, weak_score, transfer_score, ceiling_score}``, and ``supervisor_score``
    and ``ceiling_plain_score`` where they are others than the first and the third. Scores are keys, or None until they
    are known."""
    id: str = ""
    started: str = ""
    """ISO time in UTC."""
    finished: str | None = None
    state: State = "running"
    """As read from the store: a run whose process died is ``interrupted``."""
    replaced: str | None = None
    """When a run of another definition took its name; ISO time in UTC."""
    adopted: Sequence[Sequence[str]] = ()
    """(stage, key) of artifacts that the run relies on while it goes on, and that were made as other nodes."""

    @property
    def name(self) -> str:
        """Name of the grid."""
        name: str = self.config["name"]
        return name

    @property
    def definition(self) -> tuple[Set[tuple[str, str]], Set[tuple[str, ...]]]:
        """What is compared: the rows of the results, and the node id of every score in them.

        Of the graph rather than of the configuration, so that it sees all that can change a number (a Hub revision that
        moved, too) and nothing that cannot: runtime, retention and audits, the order of lists, a name instead of what
        it stands for. Code is not in it: after an edit the same comparison has new numbers.
        """
        # Whoever is scored is of a kind.
        scores = {(node.node, str(node.labels.get("method"))) for node in self.nodes if "kind" in node.labels}
        return scores, {tuple(str(pair[name]) for name in PAIR) for pair in self.pairs}


def dump(name: str, runs: Iterable[GridRun]) -> str:
    """The text of the grid file of a name."""
    data = {"name": name, "runs": [_as_json(run) for run in runs]}
    return json.dumps(data, ensure_ascii=False) + "\n"


def _as_json(run: GridRun) -> dict[str, JSON]:
    # Earlier versions of this program do not know the fields that were added.
    empty = {name for name in ("replaced", "adopted") if not getattr(run, name)}
    values = {field.name: getattr(run, field.name) for field in dataclasses.fields(run) if field.name not in empty}
    return {**values, "nodes": [dict(zip(NODE, attrgetter(*NODE)(node), strict=True)) for node in run.nodes]}


def load(text: bytes) -> list[GridRun]:
    """The runs in the text of a grid file.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    runs = pydantic_core.from_json(text)["runs"]
    return [GridRun(**{**run, "nodes": [GridNode(**node) for node in run["nodes"]]}) for run in runs]
