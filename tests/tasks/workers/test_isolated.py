"""Trainings in processes of their own: what comes back, how they fail, and that nothing is left of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from artifacts.identity.keys import JSON
from tasks.runtime import RuntimeConfig
from tasks.workers.pool import JobFailed, Pool, WorkerDied
from tasks.workers.watch import progress_dir
from tests.tasks.workers.test_pool import wait_until_gone
from tests.tiny_models import LOSS_PARAMS, model_params, tiny_base, toy_rows, training_params, write_rows
from tests.up import TICK

TIMEOUT_S = 600
ENDLESS = 10_000
"""Epochs."""

alone_and_together = pytest.mark.parametrize("n_devices", [1, 2])


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool(n_workers=1, threads=2, home=tmp_path) as pool:
        yield pool


@pytest.fixture
def train(pool: Pool, tmp_path: Path) -> Callable[..., JSON]:
    """Trains a tiny model; see ``toy_isolated.train``."""
    inputs = {
        "base": tiny_base(tmp_path / "base"),
        "train": write_rows(tmp_path / "train.parquet", toy_rows(40)),
        "validation": write_rows(tmp_path / "validation.parquet", toy_rows(10, seed=1)),
    }

    def train(n_devices: int, *, lr: float = 1e-2, epochs: int = 2, **more: Any) -> JSON:
        params = {
            "setting": "classify",
            "stop": [{"rule": "final"}],
            "model": model_params(head="small", lr=lr),
            "training": training_params(epochs=epochs),
            "loss": LOSS_PARAMS["xent"],
            "seed": 0,
        }
        job = {
            "home": str(tmp_path),
            "params": params,
            "inputs": {name: str(path) for name, path in inputs.items()},
            "runtime": RuntimeConfig(micro_tokens=256).model_dump(mode="json"),
            "draft": str(tmp_path / "drafts" / str(n_devices)),
            "n_devices": n_devices,
        }
        with pool.worker() as worker:
            return worker.run("tests.toy_isolated:train", {**job, **more})

    return train


def log(home: Path) -> str:
    return (home / "logs" / "worker-0.log").read_text()


def children(pid: int) -> list[int]:
    """Processes that ``pid`` started, and those that they started."""
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [grandchild for child in found for grandchild in children(child)]


def of_training(worker: int, home: Path) -> list[int]:
    """The processes of a worker, once their training makes steps."""
    until = time.monotonic() + TIMEOUT_S
    while not list(progress_dir(home).glob("key.json")):
        assert time.monotonic() < until, "no step was made in time"
        TICK.wait(0.05)
    return children(worker)


def worker_pid(pool: Pool) -> int:
    with pool.worker() as worker:
        return worker.run("tests.toy_jobs:where", {})["pid"]


@pytest.mark.slow
def test_process_of_its_own_makes_the_same_bytes_as_the_worker(train: Callable[..., JSON], tmp_path: Path) -> None:
    here = train(0)
    # On a busy machine there is one, and the other would go on from there.
    shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)
    there = train(1)
    for result in (here, there):
        for row in result["curve"]:
            assert row.pop("examples_per_s", 1) > 0
            assert row.pop("tokens_per_s", 1) > 0
    assert here == there
    names = [path.name for path in (tmp_path / "drafts" / "0" / "model").iterdir()]
    assert "model.safetensors" in names
    for name in names:
        one, other = (tmp_path / "drafts" / n_devices / "model" / name for n_devices in ("0", "1"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_two_processes_under_the_launcher_make_what_one_makes(train: Callable[..., JSON], tmp_path: Path) -> None:
    one, two = train(0), train(2)
    assert two["metrics"] == pytest.approx(one["metrics"], abs=1e-4)
    assert [row["loss"] for row in two["curve"]] == pytest.approx([row["loss"] for row in one["curve"]], abs=1e-4)


@pytest.mark.slow
@alone_and_together
def test_training_error_comes_back_as_its_one_line(n_devices: int, train: Callable[..., JSON], tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"^loss .* lower the model's lr$") as failure:
        train(n_devices, lr=1e30)
    assert (failure.value.kind, failure.value.is_expected) == ("TrainingError", True)
    assert "TrainingError: loss " in log(tmp_path)


def test_code_that_was_not_ordered_is_not_run(train: Callable[..., JSON], tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="the code loaded is not the code that was planned") as failure:
        train(1, code="0" * 64)
    assert failure.value.kind == "SourceChanged"
    assert list((tmp_path / "drafts" / "1").iterdir()) == []


@pytest.mark.slow
@alone_and_together
def test_killed_process_is_a_failure_of_one_line(
    n_devices: int, train: Callable[..., JSON], pool: Pool, tmp_path: Path
) -> None:
    worker = worker_pid(pool)
    with ThreadPoolExecutor(1) as threads:
        training = threads.submit(train, n_devices, epochs=ENDLESS)
        processes = of_training(worker, tmp_path)
        os.kill(processes[-1], signal.SIGKILL)
        with pytest.raises(JobFailed, match=r"^(its process|one of its 2 processes) was killed by SIGKILL,") as failure:
            training.result(TIMEOUT_S)
    assert failure.value.is_expected
    assert re.search(r"; see /.*/logs$", str(failure.value))
    for process in processes:
        wait_until_gone(process)
    assert worker_pid(pool) == worker


@pytest.mark.slow
@alone_and_together
def test_processes_go_away_with_their_worker(
    n_devices: int, train: Callable[..., JSON], pool: Pool, tmp_path: Path
) -> None:
    worker = worker_pid(pool)
    with ThreadPoolExecutor(1) as threads:
        training = threads.submit(train, n_devices, epochs=ENDLESS)
        processes = of_training(worker, tmp_path)
        assert len(processes) == (1 if n_devices == 1 else 1 + n_devices)
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            training.result(TIMEOUT_S)
    for process in processes:
        wait_until_gone(process)
