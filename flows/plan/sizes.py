"""How many rows stages read, by which the times that they take are compared; and the timings of what a store has.

Rows are counted as the parameters of their preparation say, at most so many: of a node before it is made, and of an
artifact by its manifest, alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from artifacts.identity.keys import JSON
from artifacts.store.manifest import Manifest
from flows.plan.cost import N_ALIKE, Kind, Timing, Timings
from flows.plan.graph import FromNode, Graph, Node
from flows.plan.made import Made
from w2s_core.stages import STAGES, part_names


def n_rows(data: Mapping[str, Any], split: str) -> int:
    """How many rows a split has, at most, of a dataset that is prepared so; 0 of one that it has not."""
    of = data["n_train"], data["weak_fraction"], data.get("n_parts", 1), data["n_validation"], data["n_test"]
    return _sizes(*of).get(split, 0)


@cache
def _sizes(n_train: int, weak_fraction: float, n_parts: int, n_validation: int, n_test: int) -> dict[str, int]:
    n_weak = round(n_train * weak_fraction)
    students = dict.fromkeys([*part_names(n_parts), "transfer_train"], (n_train - n_weak) // n_parts)
    return {**students, "weak_train": n_weak, "validation": n_validation, "test": n_test}


def kind_of(node: Node, device: str) -> Kind:
    """What decides how long a node takes on a device."""
    rows: dict[str, int] = {}
    for name, source in node.inputs.items():
        if isinstance(source, FromNode) and _is_rows(node.stage, name):
            data = _data_of(source.node)
            rows[name] = 0 if data is None else n_rows(data, source.output)
    return _kind(node.stage, device, node.labels, _size(rows, node.params))


def _kind(stage: str, device: str, labels: Mapping[str, JSON], size: float) -> Kind:
    return Kind(stage, device, labels.get("model"), labels.get("dataset"), size)


def _data_of(node: Node) -> Mapping[str, Any] | None:
    """How the rows of a node were prepared, or those from which it draws them."""
    if "data" in node.params:
        prepared: Mapping[str, Any] = node.params["data"]
        return prepared
    for source in node.inputs.values():
        if isinstance(source, FromNode) and (data := _data_of(source.node)) is not None:
            return data
    return None


@cache
def _is_rows(stage: str, name: str) -> bool:
    return STAGES[stage].reads.get(name.partition(".")[0]) == "rows"


def _size(rows: Mapping[str, int], params: Mapping[str, Any]) -> float:
    """Of a training, the rows that it learns from, once for each epoch; else all that are read, or prepared."""
    if "data" in params and not rows:
        return float(params["data"]["n_train"] + params["data"]["n_validation"] + params["data"]["n_test"])
    if "train" not in rows:
        return float(sum(rows.values()))
    return float(rows["train"] * (params.get("training") or {}).get("epochs", 1))


class _Read(NamedTuple):
    """Rows that an artifact reads."""

    name: str
    key: str
    output: str


def _read(manifest: Manifest) -> list[_Read]:
    return [
        _Read(name, entry["key"], entry["output"])
        for name, entry in manifest.inputs.items()
        if entry.get("key") and _is_rows(manifest.stage, name)
    ]


N_TAKEN = 4 * N_ALIKE
"""Timings that are taken down of stages that are about the same."""


class Past:
    """Takes timings down while manifests pass by, which a plan reads anyway; keeps none of them.

    Args:
        fresh: what is there of a graph, by node id; manifests are of others.
        graph: its nodes.
    """

    def __init__(self, fresh: Mapping[str, Made], graph: Graph) -> None:
        self._fresh = fresh
        self._graph = graph
        self._data: dict[str, Mapping[str, Any]] = {}
        """Key of an artifact of rows to how they were prepared."""
        self._origins: dict[str, list[_Read]] = {}
        """Key of an artifact to the rows that it reads; those that it makes are of as many."""
        self._makes_rows: dict[str, bool] = {}
        """By stage."""
        self._n_taken: Counter[Hashable] = Counter()
        self._taken: list[tuple[Kind, float, dict[str, JSON], list[_Read]]] = []

    def passing(self, manifests: Iterable[Manifest]) -> Iterator[Manifest]:
        """The same manifests."""
        for manifest in manifests:
            if manifest.stage in STAGES:
                self._take(manifest)
            yield manifest

    def _take(self, manifest: Manifest) -> None:
        stage, params = manifest.stage, manifest.params
        if stage not in self._makes_rows:
            self._makes_rows[stage] = any(output.kind == "rows" for output in STAGES[stage].outputs(params).values())
        if "data" in params:
            self._data[manifest.key] = params["data"]
        elif self._makes_rows[stage]:
            self._origins[manifest.key] = _read(manifest)
        seconds = manifest.timings.get("seconds")
        if not seconds:
            return
        kind = _kind(stage, str(manifest.environment.get("device") or ""), manifest.labels, 0.0)
        training = params.get("training") or {}
        # Of thousands that are alike in all that is known without looking at their inputs, some are enough.
        if self._is_new((kind, training.get("epochs"), manifest.metrics.get("n_train"), manifest.metrics.get("n"))):
            kept = {name: params[name] for name in ("data", "training") if name in params}
            self._taken.append((kind, seconds, kept, _read(manifest)))

    def _is_new(self, about: Hashable) -> bool:
        self._n_taken[about] += 1
        return self._n_taken[about] <= N_TAKEN

    def timings(self) -> Timings:
        """Of all that passed, and of what is fresh."""
        found = Timings()
        for id, made in self._fresh.items():
            node = self._graph.nodes[id]
            if self._makes_rows.get(node.stage, True) and (data := _data_of(node)) is not None:
                self._data[made.key] = data
            labels = node.labels
            if made.seconds and self._is_new((node.stage, made.device, labels.get("model"), labels.get("dataset"))):
                found.add(Timing(kind_of(node, made.device), made.seconds))
        for kind, seconds, params, read in self._taken:
            rows = {one.name: self._n_rows(one.key, one.output) for one in read}
            found.add(Timing(kind._replace(size=_size(rows, params)), seconds))
        return found

    def _n_rows(self, key: str, output: str) -> int:
        if key in self._data:
            return n_rows(self._data[key], output)
        return next((n for one in self._origins.get(key, ()) if (n := self._n_rows(one.key, output))), 0)
