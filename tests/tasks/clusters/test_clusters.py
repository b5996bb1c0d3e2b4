"""Grids whose stages run on a Ray or Dask cluster: what is refused and dealt, and whole runs, all on one machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from artifacts.errors import UsageError
from artifacts.store.local import LocalStore
from flows.plan.load import parse_grid
from flows.run.by_dataset import run_by_dataset, run_dataset
from flows.run.grid import run_grid
from tasks.clusters.cluster import check_gpus, check_reach, deal, gpus_needed
from tasks.clusters.engine import Node
from tasks.clusters.remote import Process
from tasks.devices import check_runner
from tasks.runtime import RuntimeConfig
from tasks.workers.pool import STOPPED, JobFailed
from tests.harness import N_NODES, ROOT, TINY
from tests.homes import DEADLINE_S, LONG, Runs, names
from tests.up import Up, free_port

HERE = socket.gethostname()
TWO_GPUS = Node(HERE, n_cores=16, n_gpus=2, n_stages=None)
NO_GPU = Node(HERE, n_cores=16, n_gpus=0, n_stages=None)
ORDER = {
    "stage": "prepare", "key": "0" * 64, "name": "sst2 prepare", "labels": {"dataset": "sst2"}, "remake": False,
    "runs": "cpu", "n_devices": 1,
}  # fmt: skip
PACKAGES = ["ray", "dask"]


@pytest.mark.parametrize("runtime", [{"cluster": "tcp://head:8786"}, {"runner": "dask", "cluster": "x", "workers": 2}])
def test_cluster_that_would_not_be_used_as_it_is_given_is_refused(runtime: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"runtime: cluster is given, (but runner is 'threads'|and decides how many)"):
        parse_grid({**TINY, "runtime": runtime}, "test")


@pytest.mark.parametrize("runner", PACKAGES)
def test_runner_that_is_not_installed_is_refused_with_what_to_install(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, f"prefect_{runner}", raising=False)
    check_runner(RuntimeConfig())
    with pytest.raises(UsageError, match=rf"^runtime\.runner: '{runner}' needs pip install 'w2s\[{runner}\]'$"):
        check_runner(RuntimeConfig(runner=runner))


@pytest.mark.parametrize("flow", [run_grid, run_dataset, run_by_dataset], ids=lambda flow: flow.name)
def test_flow_goes_along_with_its_task_runs(flow: Any) -> None:
    assert flow.name.encode() in cloudpickle.dumps(flow)


@pytest.mark.parametrize(
    ("runs", "n_devices", "n_gpus"), [("cpu", 1, 0), ("training", 2, 2), ("training", 1, 1), ("model", 1, 1)]
)
def test_stage_takes_the_gpus_that_its_model_is_trained_on(runs: str, n_devices: int, n_gpus: int) -> None:
    assert gpus_needed({"runs": runs, "n_devices": n_devices}) == n_gpus


@pytest.mark.parametrize(
    ("nodes", "runtime", "expected"),
    [
        ([TWO_GPUS, TWO_GPUS], {}, (8, 4)),
        ([NO_GPU], {}, (2, 8)),
        ([TWO_GPUS], {"threads": 4}, (4, 4)),
        ([Node(HERE, 4, 0, n_stages=1)] * 3, {}, (4, 3)),
    ],
)
def test_cores_are_dealt_to_as_many_stages_as_run_at_a_time(
    nodes: list[Node], runtime: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert deal(nodes, RuntimeConfig(**runtime), has_gpus=any(node.n_gpus for node in nodes)) == expected


def test_gpus_that_the_cluster_does_not_have_are_refused() -> None:
    check_gpus([NO_GPU, TWO_GPUS], RuntimeConfig(), n_devices=2)
    check_gpus([NO_GPU], RuntimeConfig(), n_devices=2)
    with pytest.raises(UsageError, match=r"^runtime\.device: 'cuda' is asked for, but the cluster has no GPU$"):
        check_gpus([NO_GPU], RuntimeConfig(device="cuda"), n_devices=1)
    with pytest.raises(UsageError, match=r"^models: devices = 3 is asked for, but no node .* has more than 2$"):
        check_gpus([NO_GPU, TWO_GPUS], RuntimeConfig(), n_devices=3)


def test_other_machines_need_a_store_and_a_server_that_they_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [NO_GPU, NO_GPU._replace(host="far")]
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    check_reach([NO_GPU], "/data/store")
    with pytest.raises(UsageError, match=r"^runtime\.cluster: .* \(far\) do not see the store /data/store; set W2S_ST"):
        check_reach(nodes, "/data/store")
    with pytest.raises(UsageError, match=r"^runtime\.cluster: .* \(far\) do not reach the Prefect server http://127"):
        check_reach(nodes, "s3://bucket/store")
    monkeypatch.setenv("PREFECT_API_URL", "http://head:4200/api")
    check_reach(nodes, "s3://bucket/store")


def there(home: Path, **changes: Any) -> dict[str, Any]:
    """What a process of a cluster is told of a run."""
    runtime = RuntimeConfig().model_dump(mode="json")
    about = {"run": "a", "home": str(home), "store": str(home / "store"), "runtime": runtime}
    return {**about, "threads": 1, "device": "cpu", **changes}


def test_process_of_a_cluster_begins_no_order_of_a_run_that_was_stopped(tmp_path: Path) -> None:
    process = Process()
    process.stop("a")
    with pytest.raises(JobFailed, match=STOPPED):
        process.execute(ORDER, there(tmp_path))


def test_process_of_a_cluster_says_in_one_line_what_its_machine_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(JobFailed, match=r"^runtime\.device: 'cuda' is asked for, but no NVIDIA GPU was found$"):
        Process().execute(ORDER, there(tmp_path, device="cuda"))
    with pytest.raises(JobFailed, match=r"^ftp://far/store is no store"):
        Process().execute(ORDER, there(tmp_path, store="ftp://far/store"))


LISTENS = """
from contextlib import ExitStack
from ipaddress import ip_address
import psutil, sys
from tasks.devices import Machine
from tasks.clusters.on_dask import open_dask
from tasks.clusters.on_ray import open_ray

def listening():
    return {c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN}

if __name__ == "__main__":
    before = listening()
    with {"ray": open_ray, "dask": open_dask}[sys.argv[1]](None, Machine("cpu", 1, 1, [])) as engine:
        assert len(engine.nodes()) == 1
        addresses = {ip_address(address.ip) for address in listening() - before}
    print(sorted({str(getattr(ip, "ipv4_mapped", None) or ip) for ip in addresses}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("runner", PACKAGES)
def test_local_cluster_listens_on_loopback_only(runner: str, tmp_path: Path) -> None:
    (tmp_path / "listens.py").write_text(LISTENS)
    done = subprocess.run(
        [sys.executable, "listens.py", runner],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["['127.0.0.1']"], done.stderr


# ---- whole runs ----


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    """Of the command line, none of which may leave a process."""
    runs = Runs(tmp_path)
    yield runs
    up = Up(tmp_path)
    up.wait_until_gone()


def made(store: Path) -> dict[str, dict[str, Any]]:
    """Key to metrics of every artifact."""
    return {manifest.key: manifest.metrics for manifest in LocalStore(store).manifests()}


@pytest.mark.slow
@pytest.mark.parametrize("runner", PACKAGES)
def test_grid_on_a_local_cluster_has_the_keys_and_scores_of_one_without(
    runner: str, runs: Runs, tmp_path: Path
) -> None:
    grid = runs.grid(runtime={"runner": runner})

    code, output = runs.run("run", grid)

    n_nodes = sum(N_NODES.values())
    assert code == 0
    assert f"{n_nodes} stages ran, 0 reused" in output
    (tmp_path / "without").mkdir()
    without = Runs(tmp_path / "without")
    assert without.run("run", without.grid())[0] == 0
    assert made(runs.home / "store") == made(without.home / "store")
    assert set(runs.executed().values()) == {1}
    with closing(sqlite3.connect(runs.home / "prefect" / "prefect.db")) as database:
        shown = Counter(database.execute("SELECT name, state_name FROM task_run").fetchall())
    assert shown == {(name, "Completed"): 1 for name in names(output, "ran")}

    code, output = runs.run("run", grid)
    assert output.startswith(f"nothing to do: all {n_nodes} stages")


@pytest.mark.slow
@pytest.mark.parametrize("runner", PACKAGES)
def test_failing_stage_on_a_cluster_is_the_line_that_it_is_without(runner: str, runs: Runs) -> None:
    for split, n_rows in {"train": 60, "test": 20}.items():
        path = runs.folder / "data" / "sst2" / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"sentence": f"row {i}", "label": 0}) + "\n" for i in range(n_rows)))
    grid = runs.grid(source=str(runs.folder / "data"), runtime={"runner": runner})

    code, output = runs.run("run", grid)

    assert code == 1
    assert "failed: sst2 prepare: sst2: usable test rows must have both labels, 0 and 1" in output
    assert len(names(output, "ran")) == N_NODES["pretrain"]


@pytest.mark.slow
@pytest.mark.parametrize("runner", PACKAGES)
def test_interrupted_run_on_a_local_cluster_leaves_no_process(runner: str, runs: Runs) -> None:
    grid = runs.grid(training=LONG, runtime={"runner": runner})
    process = runs.command("run", grid)
    runs.wait_for_training(process)

    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 130, output
    assert output.rstrip().endswith(f"interrupted; finished stages stay, go on with: w2s run {grid}")
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize(("runner", "address"), [("ray", "127.0.0.1:9"), ("dask", "tcp://127.0.0.1:9")])
def test_cluster_that_does_not_answer_is_one_line(runner: str, address: str, runs: Runs) -> None:
    code, output = runs.run("run", runs.grid(runtime={"runner": runner, "cluster": address}))

    assert code == 2
    # A busy machine takes its time to start a server, which is said.
    [*_, last] = lines = [line for line in output.splitlines() if "waiting for" not in line]
    assert last.startswith(f"w2s: runtime.cluster: no {runner.capitalize()} cluster at {address} (")
    assert len(lines) == 3


@contextlib.contextmanager
def dask_cluster(folder: Path, **environ: str) -> Iterator[str]:
    """The address of a Dask cluster of one worker process, with this environment."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    quiet = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    commands = [
        ["dask_scheduler", "--host", "127.0.0.1", "--port", str(port), *quiet],
        ["dask_worker", address, "--nthreads", "1", "--no-nanny", "--local-directory", str(folder), *quiet],
    ]
    processes = []
    try:
        for name, *arguments in commands:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", f"distributed.cli.{name}", *arguments],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=ROOT,
                    env={**os.environ, **environ},
                )
            )
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=DEADLINE_S)


@pytest.mark.slow
def test_cluster_that_goes_on_ends_the_stages_of_an_interrupted_run_and_takes_the_next(
    runs: Runs, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = Up(tmp_path_factory.mktemp("server"))
    up.start()
    auth = (up.home / "prefect" / "auth").read_text().strip()
    server = {"PREFECT_API_URL": f"{up.url}/api", "PREFECT_API_AUTH_STRING": auth}
    try:
        with dask_cluster(runs.folder, **server) as address:
            for name, value in server.items():
                monkeypatch.setenv(name, value)
            grid = runs.grid(training=LONG, runtime={"runner": "dask", "cluster": address})
            process = runs.command("run", grid)
            runs.wait_for_training(process)
            os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 130, output
            assert not runs.pids("tasks.workers.worker")

            code, output = runs.run("run", grid)
            assert code == 0, output
            assert "sst2 prepare" not in names(output, "ran")
            assert set(runs.executed().values()) == {1}
    finally:
        up.stop(signal.SIGTERM)


@pytest.mark.slow
def test_dask_cluster_of_another_server_is_refused_with_what_to_set(runs: Runs) -> None:
    with dask_cluster(runs.folder) as address:
        code, output = runs.run("run", runs.grid(runtime={"runner": "dask", "cluster": address}))

    assert code == 2
    assert (
        "\nw2s: runtime.cluster: workers of the Dask cluster have PREFECT_API_URL = None, this run has http" in output
    )
