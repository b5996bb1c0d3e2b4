"""Models that are trained on several devices: what is asked for, refused and dealt, and that no key knows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import UsageError
from flows.home import Home
from flows.plan.load import parse_grid
from flows.plan.resolve import resolve
from flows.run.drain import Ended
from flows.run.session import Session
from tasks.devices import this_machine
from tasks.runtime import RuntimeConfig
from tasks.workers.execute import Executor
from tasks.workers.pool import JobFailed, Pool
from tests.harness import TINY


def grid(devices: int, **changes: Any) -> dict[str, Any]:
    """The tiny grid, its larger model on so many devices."""
    small, large = TINY["models"]
    return {**TINY, "models": [small, {**large, "devices": devices}], **changes}


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five of them, as far as the environment goes."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,5")


def test_devices_are_in_no_node_id() -> None:
    one, two = (resolve(parse_grid(grid(devices), "test"), {}).graph for devices in (1, 2))
    assert one.nodes.keys() == two.nodes.keys()


def test_optimizer_that_cannot_share_weights_is_refused_on_several_devices() -> None:
    training = {"optimizer": "adafactor"}
    assert resolve(parse_grid(grid(1, training=training), "test"), {})
    with pytest.raises(UsageError, match=r"^training\.optimizer: adafactor cannot train 'm' on 2 devices together;"):
        resolve(parse_grid(grid(2, training=training), "test"), {})


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("n_devices", "expected"), [(1, ["0", "1", "2", "3", "5"]), (2, ["0,1", "2,3"]), (5, ["0,1,2,3,5"])]
)
def test_every_worker_gets_as_many_gpus_as_the_largest_model_asks_for(n_devices: int, expected: list[str]) -> None:
    machine = this_machine(RuntimeConfig(), n_devices)
    assert (machine.gpus, machine.n_workers) == (expected, len(expected))


@pytest.mark.usefixtures("gpus")
def test_more_devices_than_there_are_gpus_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^models: devices = 6 is asked for, but 5 NVIDIA GPUs were found$"):
        this_machine(RuntimeConfig(), 6)


def test_processes_on_a_cpu_need_no_gpu() -> None:
    assert this_machine(RuntimeConfig(device="cpu"), 6).gpus == []


@pytest.mark.slow
def test_grid_trains_a_model_on_the_devices_that_it_asks_for(tmp_path: Path) -> None:
    session = Session.open(parse_grid(grid(2), "test"), Home(tmp_path))
    failed: list[str] = []
    with Pool(n_workers=1, threads=2, home=tmp_path) as pool:
        runtime = RuntimeConfig().model_dump(mode="json")
        executor = Executor(store=session.store, home=tmp_path, pool=pool, device="cpu", runtime=runtime)

        def submit(order: Any, ended: Any) -> None:
            try:
                ended(Ended(order, executor.execute(order)))
            except JobFailed as error:
                failed.append(str(error))
                ended(Ended(order, "failed", str(error)))

        session.run(submit, n_at_once=1)
    assert failed == []
    used = {
        (m.stage, m.labels["model"]): m.environment["devices"]
        for m in session.store.manifests()
        if m.stage != "prepare"
    }
    assert {who for who, n_devices in used.items() if n_devices == 2} == {("train_gt", "m"), ("train_w2s", "m")}
    assert list((tmp_path / "cache" / "scratch").iterdir()) == []
    assert not Session.open(parse_grid(grid(1), "test"), Home(tmp_path)).plan.pending
