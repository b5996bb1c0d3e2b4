"""What `w2s plan`, `w2s status` and a `w2s run` with nothing to do take on many fresh nodes: seconds, CPU, peak memory.

Fills a store in a temporary folder with tiny artifacts under true keys, then times each command in a new process. What
landing the results takes is left out. Run: python bench/plan.py [s3] [N_NODES [N_RUNS]], where `s3` puts the store on
a service on loopback.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

from artifacts.store.contract import MANIFEST
from artifacts.store.local import LocalStore
from artifacts.store.manifest import Manifest, Output, dump
from flows.home import Home
from flows.plan.load import load_grid
from flows.plan.made import Made, made_of
from flows.run.session import Session

N_NODES = 5_000
GRID = """
name = "bench"
datasets = ["sst2", "amazon_polarity", "sciq", "boolq"]
models = "offline"
seeds = [{seeds}]
"""
ENVIRONMENT = {
    "python": "3.11.9", "torch": "2.8.0", "transformers": "4.57.1", "datasets": "4.3.0", "pyarrow": "22.0.0",
    "numpy": "2.3.4", "peft": "0.17.1", "accelerate": "1.11.0", "host": "bench", "device": "cpu", "devices": 1,
    "threads": 1,
}  # fmt: skip
METRICS = {"n": 1000, "accuracy": 0.875, "auroc": 0.9421, "brier": 0.1043, "ece": 0.0312}
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
N_RUNS = 3


class Cost(NamedTuple):
    """What a command took."""

    seconds: float
    cpu_s: float
    peak_mb: float
    said: str

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s, {self.cpu_s:.2f} s of CPU, {self.peak_mb:.0f} MB"


def parquet_bytes(rows: dict[str, list[object]]) -> bytes:
    """The content of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(rows), sink)
    return sink.getvalue().to_pybytes()


def fill(folder: Path, n_wanted: int) -> None:
    """Write a grid of so many nodes, and make a tiny artifact for each, under the key that it would have."""
    one, two = (len(open_session(folder, n_seeds).plan.planned) for n_seeds in (1, 2))
    session = open_session(folder, 2 + (n_wanted - two) // (two - one) + 1)
    labels = parquet_bytes({"id": ["a"], "weak_prob": [0.75]})
    tables = {
        "predictions": parquet_bytes({"id": ["a"], "group": ["a"], "answer": ["1"], "right": [True], "prob": [0.75]}),
        "checks": parquet_bytes(
            {"split": ["test"], "check": ["n"], "value": [1.0], "threshold": [1.0], "verdict": ["ok"], "detail": [""]}
        ),
    }
    finished: dict[str, Made] = {}
    for planned in session.plan.planned.values():
        node = planned.node
        order = session.keys.order(node, planned.code, session.keys.inputs(node, finished))
        fields = ("key", "node", "stage", "schema", "params", "labels", "inputs", "code")
        contents: dict[str, bytes] = {}
        outputs = {}
        for name, path in order["outputs"].items():
            is_table = path.endswith(".parquet")
            made = {path: tables.get(name, labels)} if is_table else {f"{path}/{n}": b"bench" for n in MODEL_FILES}
            sizes = {file: len(content) for file, content in made.items()}
            outputs[name] = Output(digest=f"{node.id[:56]}{len(outputs):08x}", files=sizes)
            contents |= made
        manifest = Manifest(
            **{field: order[field] for field in fields},
            outputs=outputs,
            metrics=METRICS,
            timings={"started": "2026-01-01T00:00:00+00:00", "seconds": 1.0},
            environment=ENVIRONMENT,
        )
        write(session, manifest, contents)
        finished[node.id] = made_of(manifest, node.stage, manifest.key, node.id)


def write_down(folder: Path) -> None:
    """Record a run that found all done, in the grid file and in results that show nothing else."""
    import duckdb

    from artifacts.results import build

    session = Session.open(load_grid(str(folder / "bench.toml"), {}), Home(folder / "home"))

    def land(*_: object, **__: object) -> None:
        with duckdb.connect(session.home.results) as connection:
            run = session.grids.runs(session.config.name)[-1].id
            connection.execute("CREATE TABLE grids AS SELECT ? AS run", [run])

    build.build = land
    session.record_fresh()


def write(session: Session, manifest: Manifest, contents: dict[str, bytes]) -> None:
    """Put an artifact in its place; in a local store without ``publish``, which waits for the device every time."""
    store = session.store
    if not isinstance(store, LocalStore):
        with store.draft(manifest.stage, manifest.key) as draft:
            write_files(draft, contents)
            store.publish(draft, manifest)
        return
    store.create()
    write_files(store.folder(manifest.stage, manifest.key), {**contents, MANIFEST: dump(manifest).encode()})


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files by their paths below ``folder``."""
    for parent in {(folder / path).parent for path in contents}:
        parent.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        (folder / path).write_bytes(content)


def open_session(folder: Path, n_seeds: int) -> Session:
    """The grid with this many seeds, in the store below ``folder``."""
    grid = folder / "bench.toml"
    grid.write_text(GRID.format(seeds=", ".join(map(str, range(n_seeds)))))
    return Session.open(load_grid(str(grid), {}), Home(folder / "home"))


@contextmanager
def serve_s3() -> Iterator[None]:
    """Put the store on a service on loopback."""
    address = "http://127.0.0.1:5055"
    settings = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_ENDPOINT_URL": address}
    os.environ.update(settings, W2S_STORE="s3://bench/store")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", "5055"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(urllib.request.Request(f"{address}/bench", method="PUT")):
                break
        yield
    finally:
        server.terminate()
        server.wait()


def measure(folder: Path, *arguments: str) -> Cost:
    """Run a module of ours in a process of its own."""
    clock = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], env={**os.environ, "W2S_HOME": str(folder / "home")}, stdout=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - clock
        said.seek(0)
        text = said.read()
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed: {text}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def apart(work: Callable[..., None], *arguments: object) -> None:
    """Call a function in a process of its own: the peak of one that is started counts what its parent had."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} failed")


def tell(what: str, costs: list[Cost]) -> None:
    """Print the best of several runs, and what the last one said."""
    print("".join(f"    {line}\n" for line in costs[-1].said.splitlines()[:12]), end="")
    print(f"{what}: {min(costs)}", flush=True)


def main() -> None:
    """Fill, measure, print."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    n_wanted, n_runs = [*numbers, *(N_NODES, N_RUNS)[len(numbers) :]]
    with tempfile.TemporaryDirectory() as name, serve_s3() if "s3" in sys.argv else nullcontext():
        folder = Path(name)
        apart(fill, folder, n_wanted)
        cli, grid = "flows.cli.main", str(folder / "bench.toml")
        # It writes what a store elsewhere needs to be listed quickly.
        tell("first plan", [measure(folder, cli, "plan", grid)])
        apart(write_down, folder)
        tell("plan", [measure(folder, cli, "plan", grid) for _ in range(n_runs)])
        tell("run with nothing to do", [measure(folder, cli, "run", grid) for _ in range(n_runs)])
        tell("status", [measure(folder, cli, "status") for _ in range(n_runs)])


if __name__ == "__main__":
    main()
