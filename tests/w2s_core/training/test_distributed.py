"""Trainings by two processes on a CPU: the losses, predictions and weights of one process, up to rounding.

How such processes are started and ended is in ``test_isolated``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.harness import sent
from tests.tiny_models import (
    CLASSIFY,
    LOSS_PARAMS,
    model_params,
    prob_of_1,
    tiny_base,
    toy_rows,
    training_params,
    write_rows,
)
from w2s_core.data.rows import write_weak_probs
from w2s_core.entries.train import train_w2s
from w2s_core.errors import TrainingError
from w2s_core.models.classifier import build, load
from w2s_core.settings.setting import Forward
from w2s_core.stages import LAST, model_output
from w2s_core.training.backward import _deal, fewer_tokens
from w2s_core.training.distributed import ALONE, Group
from w2s_core.training.portions import micro_batches
from w2s_core.watch import Silent

N_TRAIN, N_VALIDATION = 41, 13
"""With batches of 8, one has a single row, so that one of two processes has none."""
MICRO_TOKENS = 24
"""Less than half a batch has, and not a multiple of anything."""

HALF = {"rule": "fraction", "at": 0.5}

CASES: dict[str, dict[str, Any]] = {
    "xent": {},
    "logconf": {"loss": LOSS_PARAMS["logconf"] | {"alpha_max": 0.9, "warmup_frac": 0.5}},
    "logconf buffer": {"loss": LOSS_PARAMS["logconf"] | {"threshold": "buffer", "buffer": 13, "warmup_frac": 0.0}},
    "window midweak": {"loss": LOSS_PARAMS["window"] | {"radius": "midweak"}},
    "earlier weights": {"stop": [HALF]},
    "adapters": {"stop": [HALF], "model": {"lora": {"rank": 2, "alpha": 4.0, "dropout": 0.0}}},
    "recomputed layers": {"watch": {"gradient_checkpointing": True}},
    "one portion": {"watch": {"micro_tokens": 10_000}},
    "encoder": {"family": "bert"},
}


class Recorder(Silent):
    """Keeps the curve, and what is seen of the distribution."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"micro_tokens": MICRO_TOKENS, "eval_at": (0.5,)} | how)
        self.rows: list[dict[str, float]] = []

    def curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        self.rows.extend(map(dict, rows))


def run(folder: Path, out: Path, case: Mapping[str, Any], n_devices: int) -> dict[str, Any]:
    """Train a student as its stage does; the metrics and the curve."""
    params = {
        "setting": "classify",
        "stop": [{"rule": "final"}, *case.get("stop", [])],
        "model": model_params(**{"head": "small"} | case.get("model", {})),
        "training": training_params(epochs=2),
        "loss": case.get("loss", LOSS_PARAMS["xent"]),
        "seed": 0,
    }
    inputs = {name: folder / f"{name}.parquet" for name in ("train", "validation", "labels", "validation_labels")}
    watch = Recorder(n_devices=n_devices, **case.get("watch", {}))
    out.mkdir(exist_ok=True)
    metrics = train_w2s(params, {**inputs, "base": folder / case.get("family", "gpt2")}, out, watch)
    return {"metrics": metrics, "rows": watch.rows}


def in_group(rank: int, port: int, work: Callable[..., Any], args: tuple[Any, ...], sender: Any) -> None:
    """In a process of its own, one of two."""
    about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in about.items()})
    sender.send(work(*args))


def by_two(work: Callable[..., Any], *args: Any) -> list[Any]:
    """What ``work`` returns in each of two processes that find each other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return sent(in_group, [(rank, port, work, args) for rank in range(2)])


def run_all(folder: Path) -> dict[str, Any]:
    return {name: run(folder, folder / f"two {name}", case, n_devices=2) for name, case in CASES.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows and base models."""
    for family in ("gpt2", "bert"):
        tiny_base(tmp_path / family, family)
    train, validation = toy_rows(N_TRAIN), toy_rows(N_VALIDATION, seed=1)
    write_rows(tmp_path / "train.parquet", train)
    write_rows(tmp_path / "validation.parquet", validation)
    rng = np.random.default_rng(0)
    for rows, name in ((train, "labels"), (validation, "validation_labels")):
        write_weak_probs(tmp_path / f"{name}.parquet", rows.ids, 0.8 * rows.gt_labels + 0.2 * rng.random(len(rows)))
    return tmp_path


@pytest.mark.slow
def test_two_processes_train_as_one_does(folder: Path) -> None:
    first, second = by_two(run_all, folder)
    for name in CASES:
        alone = run(folder, folder / f"one {name}", CASES[name], n_devices=1)
        for result in (first[name], second[name]):
            assert result["metrics"] == pytest.approx(alone["metrics"], abs=1e-4), name
            for row, expected in zip(result["rows"], alone["rows"], strict=True):
                assert row == pytest.approx(expected, rel=1e-4, abs=1e-4), name
        for stop in (LAST, *CASES[name].get("stop", [])):
            probs = [
                prob_of_1(load(folder / f"{how} {name}" / model_output(stop)), toy_rows(20, seed=2), Silent())
                for how in ("one", "two")
            ]
            np.testing.assert_allclose(*probs, atol=1e-4, err_msg=name)
            assert np.ptp(probs[0]) > 0.005, name


def test_rows_are_dealt_once_each_in_portions_of_about_the_same_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 12, size=40)
    batch = np.random.default_rng(1).permutation(40)[:13]
    dealt = _deal(lengths, batch, partial(micro_batches, micro_tokens=MICRO_TOKENS, is_packed=True), size=2)
    assert sorted(np.concatenate([portion for portions in dealt for portion in portions])) == sorted(batch)
    n_tokens = [sum(lengths[portion].sum() for portion in portions) for portions in dealt]
    assert abs(n_tokens[0] - n_tokens[1]) <= lengths[batch].max()


def test_too_little_memory_on_one_of_several_devices_is_an_error(tmp_path: Path) -> None:
    classifier = build(model_params(), tiny_base(tmp_path), seed=0)
    forward = Forward(CLASSIFY, classifier, CLASSIFY.encode(toy_rows(6), classifier, Silent().scratch))
    error = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(TrainingError, match=r"^memory ran out on one of 2 devices, .* lower runtime.micro_tokens"):
        fewer_tokens(forward, [np.arange(6)], error, Group(1, 2))


def test_no_two_processes_drop_the_same_units() -> None:
    seeds = {ALONE.seed(7)} | {Group(rank, 4).seed(7) for rank in range(1, 4)}
    assert len(seeds) == 4
    assert ALONE.seed(7) == 7
