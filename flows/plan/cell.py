"""One dataset and one seed of a grid: what supervisors, students and ceilings are built from.

Builders add nodes by it and know nothing else: no grid, no store. Pure, as ``graph`` is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from artifacts.identity.keys import JSON
from flows.plan.graph import FromNode, FromPath, Graph, Node
from w2s_core.config import Frozen, ModelConfig
from w2s_core.stages import LABELLED


class ModelSource(NamedTuple):
    """Where the weights and tokenizer of one model come from."""

    kind: Literal["offline", "hub", "folder", "adapted"]
    hub: Mapping[str, str] | None = None
    """``{"id", "revision"}``, a resolved commit; for ``hub``."""
    folder: Path | None = None


class Model(NamedTuple):
    """A model of the ladder."""

    config: ModelConfig
    source: ModelSource
    base: Mapping[str, FromNode | FromPath]
    """The input ``base`` of its trainings; empty for the Hub's."""


class Labels(NamedTuple):
    """What a model can learn from."""

    half: str
    """The rows: a half of the training data, as the cell calls it."""
    by: str | None = None
    """The supervisor; None: the truth."""
    given: Mapping[str, FromNode] | None = None
    """Its labels by split; None: the truth."""


class Ask(Protocol):
    """Asks a model."""

    def __call__(self, of: Cell | None = None) -> Labels:
        """Its labels of the rows of a cell; of those of its own, where none is named."""


class Answers(NamedTuple):
    """A model that has learned."""

    score: Node
    labels: Ask
    """Its own labels, in the graph from when they are first asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A dataset and a seed, with the ladder and the graph that they are in."""

    graph: Graph
    dataset: str
    prepared: Node
    models: Mapping[str, Model]
    """The ladder by name, weakest first."""
    recipe: Callable[[Mapping[str, JSON], int, Model, Frozen, Sequence[Frozen]], Mapping[str, JSON]]
    """Parameters of a training by what is asked, seed, model, loss and stopping rules; one object of the same."""
    asked: Mapping[str, JSON]
    """What every stage of it knows: of which setting its rows are, of how many classes, how answers are compared."""
    seed: int
    supervisors: Mapping[str, Frozen]
    """What the grid says of its supervisors besides the ladder, by name."""
    part: str | None = None
    """The part of the student's half that stands for it here; None: the last one."""
    drawn: FromNode | None = None
    """Rows that stand for the supervisor's half here: drawn from it; None: itself."""

    def on(self, part: str) -> Cell:
        """The same, where ``part`` stands for the student's half: what is built there labels it, or learns on it."""
        return replace(self, part=part)

    def rows(self, split: str) -> FromNode:
        """The rows of a split."""
        if split == "weak_train" and self.drawn is not None:
            return self.drawn
        return FromNode(self.prepared, self.part if self.part and split == "transfer_train" else split)

    def truth(self, half: str) -> Labels:
        """The right answers of a half."""
        return Labels(half)

    def add(
        self,
        stage: str,
        params: Mapping[str, JSON],
        inputs: Mapping[str, FromNode | FromPath],
        *,
        n_devices: int = 1,
        **labels: JSON,
    ) -> Node:
        """A node of this cell; ``labels`` are what else tables call it, ``seed=None`` where no seed is in it."""
        # Or nodes would be called alike that differ in the part alone.
        part = {"half": self.part} if self.part else {}
        params = params if self.asked.items() <= params.items() else {**self.asked, **params}
        called = {"dataset": self.dataset, **part, **labels, "seed": labels.get("seed", self.seed)}
        return self.graph.add(stage, params, inputs, called, n_devices)

    def labels_of(self, node: Node, by: str) -> Labels:
        """The labels that a node makes of all splits, as those of the supervisor ``by``."""
        return Labels("transfer_train", by, {split: FromNode(node, split) for split in LABELLED})

    def judge(self, labels: Labels, **called: JSON) -> Node:
        """How good a supervisor's labels of the test split are; ``called`` is what else tables call it."""
        assert labels.given is not None
        given = labels.given["test"]
        inputs = {"labels": given, "test": self.rows("test")}
        seed = given.node.labels.get("seed")
        return self.add("judge", {}, inputs, kind="labels", supervisor=labels.by, seed=seed, **called, split="test")
