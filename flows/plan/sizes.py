"""How many rows stages read, by which the times that they take are compared; and the timings of what a store has.

Rows are counted as the parameters of their preparation say, at most so many: of a node before it is made, and of an
artifact by its manifest, alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from artifacts.identity.keys import JSON
from artifacts.store.manifest import Manifest
from flows.plan.cost import Kind, Timing, Timings
from flows.plan.graph import FromNode, Graph, Node
from flows.plan.made import Made
from w2s_core.stages import STAGES, part_names


def n_rows(data: Mapping[str, Any], split: str) -> int:
    """How many rows a split has, at most, of a dataset that is prepared so; 0 of one that it has not."""
    n_weak = round(data["n_train"] * data["weak_fraction"])
    n_parts = data.get("n_parts", 1)
    students = dict.fromkeys([*part_names(n_parts), "transfer_train"], (data["n_train"] - n_weak) // n_parts)
    others = {"weak_train": n_weak, "validation": data["n_validation"], "test": data["n_test"]}
    found: int = {**students, **others}.get(split, 0)
    return found


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
    return next((data for parent in node.parents if (data := _data_of(parent)) is not None), None)


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
        self._origins: dict[str, list[str]] = {}
        """Key of an artifact of rows to the keys of those from which it has them."""
        self._taken: list[tuple[Kind, float, dict[str, JSON], list[_Read]]] = []

    def passing(self, manifests: Iterable[Manifest]) -> Iterator[Manifest]:
        """The same manifests."""
        for manifest in manifests:
            if manifest.stage in STAGES:
                self._take(manifest)
            yield manifest

    def _take(self, manifest: Manifest) -> None:
        read = [
            _Read(name, entry["key"], entry["output"])
            for name, entry in manifest.inputs.items()
            if entry.get("key") and _is_rows(manifest.stage, name)
        ]
        if "data" in manifest.params:
            self._data[manifest.key] = manifest.params["data"]
        elif read and any(out.kind == "rows" for out in STAGES[manifest.stage].outputs(manifest.params).values()):
            self._origins[manifest.key] = [one.key for one in read]
        if seconds := manifest.timings.get("seconds"):
            device = str(manifest.environment.get("device"))
            kept = {name: manifest.params[name] for name in ("data", "training") if name in manifest.params}
            self._taken.append((_kind(manifest.stage, device, manifest.labels, 0.0), seconds, kept, read))

    def timings(self) -> Timings:
        """Of all that passed, and of what is fresh."""
        found = Timings()
        for id, made in self._fresh.items():
            node = self._graph.nodes[id]
            if made.seconds:
                found.add(Timing(kind_of(node, made.device), made.seconds))
            if (data := _data_of(node)) is not None:
                self._data[made.key] = data
        for kind, seconds, params, read in self._taken:
            rows = {one.name: self._n_rows(one.key, one.output) for one in read}
            found.add(Timing(kind._replace(size=_size(rows, params)), seconds))
        return found

    def _n_rows(self, key: str, output: str) -> int:
        if key in self._data:
            return n_rows(self._data[key], output)
        return next((n for origin in self._origins.get(key, ()) if (n := self._n_rows(origin, output))), 0)
