"""Runs the stages of a grid one after the other in this process, to set the values of the offline world.

    OMP_NUM_THREADS=1 python bench/tune_world.py --set training.epochs=4 --set world.noise=0.2 \
        --model offline-m.lr=2e-3

World, data and training seeds differ from those of the grid. No store and no Prefect; only pretrained models are kept,
in ``--cache``. What came out is in ``RESULTS.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from flows.plan.graph import FromNode, Graph, Node
from flows.plan.load import load_grid, parse_value
from flows.plan.resolve import resolve, resolve_models
from w2s_core.metrics import harden
from w2s_core.stages import STAGES
from w2s_core.watch import Silent

CODE = ("offline/world.py", "entries/pretrain.py", "hashes.py")
CORE = Path(__file__).resolve().parent.parent / "w2s_core"


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", default="demo")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of the grid")
    parser.add_argument("--model", action="append", default=[], metavar="NAME.FIELD=VALUE", help="of a model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--world-seed", type=int, default=100)
    parser.add_argument("--cache", type=Path, default=Path(gettempdir()) / "tune_world")
    args = parser.parse_args()
    torch.set_num_threads(1)
    overrides: dict[str, Any] = {"seeds": args.seeds, "data_seed": 100, "world.seed": args.world_seed}
    overrides |= {field: parse_value(value) for field, value in (item.split("=", 1) for item in args.set)}
    config = load_grid(args.grid, overrides)
    models = {model.name: model.model_dump(exclude_defaults=True) for model in resolve_models(config)}
    for item in args.model:
        path, value = item.split("=", 1)
        name, *fields = path.split(".")
        level = models[name]
        for field in fields[:-1]:
            level = level.setdefault(field, {})
        level[fields[-1]] = parse_value(value)
    graph = resolve(load_grid(args.grid, {**overrides, "models": list(models.values())}), {}).graph
    with TemporaryDirectory() as scratch:
        report(graph, *run(graph, Path(scratch), args.cache))


def run(
    graph: Graph, scratch: Path, cache: Path
) -> tuple[dict[str, Path], dict[str, dict[str, Any]], dict[str, float]]:
    """Every node once; returns its folder and metrics by node id, and the seconds of each stage."""
    folders: dict[str, Path] = {}
    metrics: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = defaultdict(float)
    for node in graph.nodes.values():
        folder = folders[node.id] = _cached(node, cache) if node.stage == "pretrain" else scratch / node.id
        if (folder / "metrics.json").exists():
            metrics[node.id] = json.loads((folder / "metrics.json").read_text())
            continue
        folder.mkdir(parents=True)
        inputs = {
            name: folders[source.node.id] / STAGES[source.node.stage].outputs(source.node.params)[source.output].path
            for name, source in node.inputs.items()
            if isinstance(source, FromNode)
        }
        started = time.perf_counter()
        metrics[node.id] = entry(node.stage)(dict(node.params), inputs, folder, Silent())
        took = time.perf_counter() - started
        seconds[f"{node.stage} {node.labels.get('model', '') if 'train' in node.stage else ''}"] += took
        (folder / "metrics.json").write_text(json.dumps({**metrics[node.id], "seconds": took}))
    return folders, metrics, seconds


def entry(stage: str) -> Callable[..., dict[str, Any]]:
    """The function of a stage."""
    module, _, name = STAGES[stage].entry.partition(":")
    function: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
    return function


def _cached(node: Node, cache: Path) -> Path:
    code = b"".join((CORE / name).read_bytes() for name in CODE)
    return cache / hashlib.sha256(code + json.dumps(node.params, sort_keys=True).encode()).hexdigest()[:16]


def report(
    graph: Graph, folders: dict[str, Path], metrics: dict[str, dict[str, Any]], seconds: dict[str, float]
) -> None:
    """Print every pair over seeds, the median PGR per method, and where the time went."""
    for node in graph.nodes.values():
        if node.stage == "pretrain":
            print(f"{node.labels['model']:12}", json.dumps(metrics[node.id]))
    pairs = defaultdict(list)
    for pair in graph.pairs:
        pairs[pair.dataset, pair.weak, pair.strong, pair.method].append(pair)
    sound = defaultdict(list)
    for (dataset, weak, strong, method), over_seeds in pairs.items():
        accuracies = np.mean(
            [
                [
                    metrics[node.id]["accuracy"]
                    for node in (p.weak_score, p.supervisor_score or p.weak_score, p.transfer_score, p.ceiling_score)
                ]
                for p in over_seeds
            ],
            axis=0,
        )
        w, given, t, c = accuracies
        is_sound = [c - w > max(0.0, 2 * _gap_se(folders, pair)) for pair in over_seeds]
        flag = "" if all(is_sound) else "flagged"
        pgr = (t - w) / (c - w) if c > w else float("nan")
        if not flag:
            sound[method].append(pgr)
            sound[f"{method} {dataset}"].append(pgr)
            sound[f"{method} by {weak}"].append(pgr)
        print(
            f"{dataset:16}{weak:>11} {strong:>11} {method:8}{w:7.3f}{given:7.3f}{t:7.3f}{c:7.3f}  pgr {pgr:6.2f} {flag}"
        )
    for name, values in sorted(sound.items()):
        print(f"median PGR {name:24} {statistics.median(values):.2f} of {len(values)}")
    for stage, total in sorted(seconds.items()):
        print(f"{total:7.1f} s {stage}")
    print(f"{sum(seconds.values()):7.1f} s in all")


def _gap_se(folders: dict[str, Path], pair: Any) -> float:
    """Standard error of ceiling minus weak accuracy, test rows being paired."""
    correct = []
    for node in (pair.ceiling_score, pair.weak_score):
        table = pq.read_table(folders[node.id] / "predictions.parquet").sort_by("id")
        correct.append(harden(table["prob"].to_numpy()) == table["gt_label"].to_numpy())
    difference = correct[0].astype(float) - correct[1]
    return float(difference.std() / np.sqrt(len(difference)))


if __name__ == "__main__":
    main()
