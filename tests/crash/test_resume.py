"""kill -9 in the middle of a training: the next run goes on from its checkpoint, to the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.home import Home
from flows.plan.load import parse_grid
from flows.run.drain import Ended
from flows.run.session import Session
from tasks.runtime import RuntimeConfig
from tasks.workers.pool import JobFailed, Pool
from tests.harness import TINY
from tests.tiny_models import tiny_base

N_STEPS = 8


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool(n_workers=1, threads=1, home=tmp_path / "pool") as pool:
        yield pool


@pytest.fixture
def grid(tmp_path: Path) -> dict[str, Any]:
    """One supervisor that is trained with dropout, by 8 steps of 32 rows, which are more than a portion."""
    base = tiny_base(tmp_path / "base", resid_pdrop=0.1, embd_pdrop=0.1)
    supervisor = {"name": "s", "path": str(base), "max_length": 32, "head": "small", "lr": 1e-2}
    return {
        **TINY,
        "models": [supervisor, *TINY["models"][1:]],
        "data": {"n_train": 128, "n_validation": 8, "n_test": 12},
        "training": {"epochs": 4, "batch_size": 32, "dropout": True},
    }


def run(grid: dict[str, Any], home: Path, pool: Pool, *, die_after: int | None) -> tuple[Session, dict[str, int]]:
    """Run a grid until its supervisor is trained, or killed; how many steps each training made."""
    session = Session.open(parse_grid(grid, "test"), Home(home))
    n_steps: dict[str, int] = {}

    def submit(order: Any, ended: Callable[[Ended], None]) -> None:
        if order["stage"] not in ("pretrain", "prepare") and order["name"] != "sst2 train_gt s weak_train seed 0":
            ended(Ended(order, "failed", "not wanted here"))
            return
        job = {
            "order": order,
            "store": session.store.url,
            "home": str(home),
            "device": "cpu",
            "runtime": RuntimeConfig(micro_tokens=256).model_dump(mode="json"),
        }
        is_mortal = order["stage"] == "train_gt"
        try:
            with pool.worker() as worker:
                name = order["stage"]
                how = {"job": job, "die_after": die_after if is_mortal else None}
                n_steps[name] = worker.run("tests.toy_trainings:run_mortal", how)
        except JobFailed as error:
            ended(Ended(order, "failed", str(error)))
            return
        ended(Ended(order, "ran"))

    session.run(submit, n_at_once=1)
    return session, n_steps


def weights(session: Session) -> str:
    """Digest of the trained model."""
    [manifest] = [m for m in session.store.manifests() if m.stage == "train_gt"]
    return manifest.outputs["model"].digest


@pytest.mark.slow
@pytest.mark.parametrize("die_after", [1, 2, 5, 7])
def test_killed_training_goes_on_and_ends_with_the_same_weights(
    die_after: int, grid: dict[str, Any], pool: Pool, tmp_path: Path
) -> None:
    _, steps = run(grid, tmp_path / "killed", pool, die_after=die_after)
    assert "train_gt" not in steps
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) == 1
    resumed, steps = run(grid, tmp_path / "killed", pool, die_after=None)
    assert steps["train_gt"] == N_STEPS - die_after
    assert list((tmp_path / "killed" / "checkpoints").iterdir()) == []
    never, steps = run(grid, tmp_path / "never", pool, die_after=None)
    assert steps["train_gt"] == N_STEPS
    assert weights(resumed) == weights(never)
