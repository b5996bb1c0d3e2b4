"""How long `w2s plan` takes on 5,000 fresh nodes, and how much memory; the last line is the figures.

Fills a store in a temporary folder with tiny artifacts under true keys, then times the command in a new process.
Run: python bench/plan.py [s3 [N_NODES]], where `s3` puts the store on a service on loopback.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from artifacts.store.manifest import Manifest, Output
from flows.home import Home
from flows.plan.compare import Plan
from flows.plan.load import load_grid
from flows.run.session import Session

N_NODES = 5_000
GRID = """
name = "bench"
datasets = ["sst2", "amazon_polarity", "sciq", "boolq"]
models = "offline"
seeds = [{seeds}]
"""


def fill(session: Session) -> None:
    """Publish a tiny artifact for every node, under the key that it would have."""
    manifests: dict[str, Manifest] = {}
    for planned in session.plan.planned.values():
        node = planned.node
        order = session.keys.order(node, planned.code, session.keys.inputs(node, manifests))
        with session.store.draft(node.stage, order["key"]) as draft:
            outputs = {}
            for name, path in order["outputs"].items():
                file = draft / path if path.endswith(".parquet") else draft / path / "model.safetensors"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"bench")
                relative = file.relative_to(draft).as_posix()
                outputs[name] = Output(digest=f"{node.id[:56]}{len(outputs):08x}", files={relative: 5})
            manifest = Manifest(
                **{
                    field: order[field]
                    for field in (
                        "key",
                        "node",
                        "stage",
                        "schema",
                        "params",
                        "labels",
                        "inputs",
                        "code",
                    )
                },
                outputs=outputs,
                timings={"started": "2026-01-01T00:00:00+00:00", "seconds": 1.0},
            )
            manifests[node.id] = session.store.publish(draft, manifest)


def open_session(folder: Path, n_seeds: int) -> Session:
    """The grid with this many seeds, in the store below ``folder``."""
    grid = folder / "bench.toml"
    grid.write_text(GRID.format(seeds=", ".join(map(str, range(n_seeds)))))
    return Session.open(load_grid(str(grid), {}), Home(folder / "home"))


def n_nodes(plan: Plan) -> int:
    """Nodes of a plan."""
    return len(plan.planned)


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


def main() -> None:
    """Fill, plan, print."""
    n_wanted = int(sys.argv[2]) if len(sys.argv) > 2 else N_NODES
    with tempfile.TemporaryDirectory() as name, serve_s3() if "s3" in sys.argv else nullcontext():
        folder = Path(name)
        one, two = (n_nodes(open_session(folder, n_seeds).plan) for n_seeds in (1, 2))
        session = open_session(folder, 2 + (n_wanted - two) // (two - one) + 1)
        fill(session)
        command = [sys.executable, "-m", "flows.cli.main", "plan", str(folder / "bench.toml")]
        for what in ("first plan", "plan"):  # the first one writes what a store elsewhere needs to be listed quickly
            clock = time.perf_counter()
            done = subprocess.run(
                command,
                env={**os.environ, "W2S_HOME": str(folder / "home")},
                capture_output=True,
                text=True,
                check=True,
            )
            seconds = time.perf_counter() - clock
            print(f"{what}: {seconds:.2f} s")
        megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(done.stdout, end="")
        print(f"plan of {n_nodes(session.plan)} fresh nodes: {seconds:.2f} s, {megabytes:.0f} MB")


if __name__ == "__main__":
    main()
