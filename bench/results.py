"""What landing costs, and asking, at 10 million predictions of 10,000 scores; and whether readers fail meanwhile.

A made store of one grid: 17 datasets, 6 seeds, 4 models, 15 methods, 1,000 test rows. All answers are drawn at random.
Every figure is of a process of its own, with its peak resident memory. Then 8 processes read while a small grid lands
500 nodes, one by one.
Run: python bench/results.py [FOLDER], which keeps the store (1.5 GB) for the next time.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.identity.keys import JSON
from artifacts.results.build import build
from artifacts.store.contract import MANIFEST
from artifacts.store.grid_runs import GridNode, GridRun
from artifacts.store.grids import Grids
from artifacts.store.local import LocalStore
from artifacts.store.manifest import Manifest, Output, dump
from flows.home import output_kinds

N_DATASETS, N_SEEDS, N_ROWS = 17, 6, 1_000
MODELS = ("tiny", "small", "middle", "large")
METHODS = tuple(f"method-{index}" for index in range(15))
HALVES = ("weak_train", "transfer_train")
STAGE = "score"
N_LANDED = 500
N_READERS = 8
QUERIES = ("pgr_by_method", "agreement")


def key_of(labels: dict[str, JSON]) -> str:
    """Key of a score."""
    return hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()


def ground(dataset: str, model: str, half: str, seed: int) -> dict[str, JSON]:
    """Labels of a score of a model that is trained on ground truth."""
    return {"dataset": dataset, "kind": "gt", "model": model, "half": half, "supervisor": None, "method": None,
            "seed": seed, "split": "test"}  # fmt: skip


def taught(dataset: str, weak: str, strong: str, method: str, seed: int) -> dict[str, JSON]:
    """Labels of a score of a student."""
    return {"dataset": dataset, "kind": "w2s", "model": strong, "half": HALVES[1], "supervisor": weak,
            "method": method, "seed": seed, "split": "test"}  # fmt: skip


def compared(n_datasets: int, n_seeds: int) -> Iterator[tuple[str, str, str, str, int]]:
    """Dataset, weak, strong, method and seed of every pair."""
    datasets = [f"dataset-{index}" for index in range(n_datasets)]
    for dataset, (weak, strong), method in itertools.product(datasets, itertools.combinations(MODELS, 2), METHODS):
        for seed in range(n_seeds):
            yield dataset, weak, strong, method, seed


def publish(store: LocalStore, labels: dict[str, JSON], n_rows: int) -> None:
    """Put a score in its place, without waiting for the device."""
    key = key_of(labels)
    folder = store.folder(STAGE, key)
    if (folder / MANIFEST).exists():
        return
    draws = np.random.default_rng(int(key[:16], 16))
    of_dataset = np.random.default_rng(int(hashlib.sha256(str(labels["dataset"]).encode()).hexdigest()[:8], 16))
    ids = [of_dataset.bytes(8).hex() for _ in range(n_rows)]
    right = draws.random(n_rows) < 0.6 + 0.05 * MODELS.index(str(labels["model"]))
    table = pa.table(
        {
            "id": ids,
            "group": [ids[index // 4 * 4] for index in range(n_rows)],
            "answer": draws.integers(0, 2, n_rows).astype(str),
            "right": right,
            "prob": draws.random(n_rows),
        }
    )
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "predictions.parquet")
    size_bytes = (folder / "predictions.parquet").stat().st_size
    made = Manifest(
        key=key, node=key[::-1], stage=STAGE, schema=1, labels=labels, params={"batch_size": 32}, inputs={},
        code={"digest": "0" * 64, "parts": {}},
        outputs={"predictions": Output(key, {"predictions.parquet": size_bytes})},
        metrics={"n": n_rows, "accuracy": float(right.mean()), "auroc": 0.5, "brier": 0.3, "ece": 0.1},
        timings={"started": "2026-01-02T03:04:05+00:00", "seconds": 1.0},
        environment={"torch": "2.8.0", "transformers": "5.0.0", "host": "here"},
    )  # fmt: skip
    (folder / MANIFEST).write_text(dump(made))


def run_of(store: LocalStore, pairs: list[tuple[str, str, str, str, int]]) -> GridRun:
    """The run that compares these pairs; keys that are not in the store are not known yet."""
    nodes: dict[str, GridNode] = {}

    def key(labels: dict[str, JSON]) -> str | None:
        wanted = key_of(labels)
        if wanted not in nodes:
            is_made = store.seen(STAGE, wanted) is not None
            nodes[wanted] = GridNode(wanted[::-1], STAGE, labels, wanted if is_made else None)
        return nodes[wanted].key

    rows: list[dict[str, JSON]] = [
        {
            "dataset": dataset, "weak": weak, "strong": strong, "method": method, "seed": seed,
            "weak_score": key(ground(dataset, weak, HALVES[0], seed)),
            "transfer_score": key(taught(dataset, weak, strong, method, seed)),
            "ceiling_score": key(ground(dataset, strong, HALVES[1], seed)),
        }
        for dataset, weak, strong, method, seed in pairs
    ]  # fmt: skip
    return GridRun({"name": "bench"}, {}, list(nodes.values()), rows)


def labels_of(pairs: list[tuple[str, str, str, str, int]]) -> list[dict[str, JSON]]:
    """Labels of every score of some pairs."""
    found: dict[str, dict[str, JSON]] = {}
    for dataset, weak, strong, method, seed in pairs:
        for labels in (
            ground(dataset, weak, HALVES[0], seed),
            ground(dataset, strong, HALVES[1], seed),
            taught(dataset, weak, strong, method, seed),
        ):
            found[key_of(labels)] = labels
    return list(found.values())


def fill(folder: Path) -> None:
    """A store with all scores but one, and a grid that lacks it."""
    store = LocalStore(folder / "store")
    store.create()
    pairs = list(compared(N_DATASETS, N_SEEDS))
    for labels in labels_of(pairs):
        publish(store, labels, N_ROWS)


def take_one_away(folder: Path) -> None:
    """Make the last pair's student unknown again."""
    from artifacts import files

    store = LocalStore(folder / "store")
    pairs = list(compared(N_DATASETS, N_SEEDS))
    files.remove(store.folder(STAGE, key_of(taught(*pairs[-1]))))
    Grids(store).start(run_of(store, pairs)).finish(run_of(store, pairs), "failed")


def add_one(folder: Path) -> None:
    """Make it."""
    store = LocalStore(folder / "store")
    pairs = list(compared(N_DATASETS, N_SEEDS))
    publish(store, taught(*pairs[-1]), N_ROWS)
    Grids(store).start(run_of(store, pairs)).finish(run_of(store, pairs), "complete")


def measured(what: Callable[[], object]) -> tuple[float, float, float]:
    """Seconds, seconds of processors, and megabytes that this process had resident at most."""
    clock, cpu = time.perf_counter(), time.process_time()
    what()
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return seconds, cpu_seconds, int(status["VmHWM"].split()[0]) / 1024


def land(folder: Path) -> tuple[float, float, float]:
    """Bring the results up to date."""
    return measured(lambda: build(LocalStore(folder / "store"), folder / "results.duckdb", output_kinds))


def ask(folder: Path, view: str) -> tuple[float, float, float]:
    """All rows of a view."""

    def query() -> None:
        with duckdb.connect(folder / "results.duckdb", read_only=True) as connection:
            connection.execute(f"FROM {view}").fetchall()

    return measured(query)


def read(folder: Path, end: Path) -> int:
    """Open the results and look at every table again and again; how often."""
    n = 0
    while not end.exists():
        with duckdb.connect(folder / "results.duckdb", read_only=True) as connection:
            for table in ("predictions", "outcomes", "pgr", "pgr_by_method", "agreement"):
                connection.execute(f"SELECT count(*) FROM {table}").fetchall()
        n += 1
    return n


def land_one_by_one(folder: Path) -> list[float]:
    """Seconds of each of ``N_LANDED`` landings of one more node."""
    store = LocalStore(folder / "store")
    store.create()
    pairs = list(compared(1, N_SEEDS))
    seconds = []
    for labels in labels_of(pairs)[:N_LANDED]:
        publish(store, labels, 100)
        Grids(store).start(run_of(store, pairs)).finish(run_of(store, pairs), "failed")
        clock = time.perf_counter()
        build(store, folder / "results.duckdb", output_kinds)
        seconds.append(time.perf_counter() - clock)
    return seconds


def alone(function: Callable[..., Any], *arguments: object) -> Any:
    """Call it in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(function, arguments)


def main(folder: Path) -> None:
    """Make, land, ask, print."""
    alone(fill, folder)
    alone(take_one_away, folder)
    (folder / "results.duckdb").unlink(missing_ok=True)
    told = {"build": alone(land, folder)}
    told["nothing new"] = alone(land, folder)
    alone(add_one, folder)
    told["one node more"] = alone(land, folder)
    told |= {view: alone(ask, folder, view) for view in QUERIES}
    size = (folder / "results.duckdb").stat().st_size / 1e6
    print(f"{N_DATASETS * N_SEEDS * 98 * N_ROWS:,} predictions, file of {size:.0f} MB")
    for name, (seconds, cpu_seconds, megabytes) in told.items():
        print(f"{name}: {seconds:.2f} s, of processors {cpu_seconds:.2f} s, {megabytes:.0f} MB", flush=True)


def main_of_readers() -> None:
    """Readers beside a grid that lands node by node."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, spawn.Pool(N_READERS) as pool:
        end = Path(name) / "end"
        build(LocalStore(Path(name) / "store"), Path(name) / "results.duckdb", output_kinds)
        readers = [pool.apply_async(read, (Path(name), end)) for _ in range(N_READERS)]
        seconds = alone(land_one_by_one, Path(name))
        end.touch()
        n = sum(reader.get() for reader in readers)  # one that failed raises here
    middle = sorted(seconds)[len(seconds) // 2]
    print(f"{len(seconds)} landings, median {middle:.2f} s, beside {N_READERS} readers: {n:,} readings, none failed")


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
    main_of_readers()
