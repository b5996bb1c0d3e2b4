"""Trainings that go on where they ended: the same bits, fewer steps; and how checkpoints lie on the disk."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from artifacts.store.local import LocalStore
from tasks.workers import checkpoints
from tasks.workers.checkpoints import DiskCheckpoints, checkpoint_folder, sweep
from tasks.workers.execute import Executor
from tasks.workers.pool import Pool
from tests.tiny_models import CLASSIFY, LOSS_PARAMS, model_params, tiny_base, toy_rows, training_params
from tests.toy_artifacts import KEY, STAGE, publish
from w2s_core.metrics import two_classes
from w2s_core.models.classifier import Classifier, build
from w2s_core.training.fit import Fit, Recipe, fit
from w2s_core.watch import Checkpoint, Silent

N_STEPS = 10
MICRO_TOKENS = 40
"""Less than a batch has."""


class Stopped(Exception):
    """Ends a training from outside."""


class Keeping(Silent):
    """A watch that keeps a checkpoint of every step, and ends the training after some step."""

    def __init__(self, folder: Path, stop_after: int | None = None, runtime: Mapping[str, Any] | None = None) -> None:
        super().__init__(micro_tokens=MICRO_TOKENS)
        self.rows: list[dict[str, float]] = []
        self.lines: list[str] = []
        self.n_steps = 0
        self.stop_after = stop_after
        self.checkpoints = DiskCheckpoints(
            folder, node="node", runtime=runtime or {}, device="cpu", curve=self.rows, say=self.lines.append
        )

    def accuracies(self) -> dict[str, float]:
        """Best after the fourth step."""
        return {"gt_accuracy": -abs(self.rows[-1]["step"] - 4)}

    def curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        self.rows.extend(map(dict, rows))

    def progress(self, done: int, total: int, unit: str) -> None:
        self.n_steps += 1
        self.checkpoints.wait()
        if done == self.stop_after:
            raise Stopped


@contextmanager
def every_step() -> Iterator[None]:
    """Checkpoints are taken at every step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "EVERY_S", 0.0)
        patch.setattr(checkpoints, "MOST_TIME", float("inf"))
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of the checkpoints, which are taken at every step."""
    with every_step():
        yield checkpoint_folder(tmp_path, "key")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Classifier]:
    """Builds a small GPT-2 with dropout, the same each time."""
    base = tiny_base(tmp_path_factory.mktemp("base"), resid_pdrop=0.1, embd_pdrop=0.1)
    return lambda **changes: build(model_params(head="small", **changes), base, seed=0)


STOPS = [{"rule": "val_gt"}, {"rule": "fraction", "at": 0.3}]


def train(classifier: Classifier, watch: Silent, loss: str = "xent", **training: Any) -> Fit:
    rows = toy_rows(40)
    return fit(
        CLASSIFY,
        classifier,
        rows,
        two_classes(np.random.default_rng(0).random(40)),
        Recipe(LOSS_PARAMS[loss], training_params(**{"dropout": True} | training), lr=1e-2, seed=3, stops=STOPS),
        watch=watch,
        evaluate=getattr(watch, "accuracies", None),
    )


def stop(classifier: Classifier, folder: Path, after: int, loss: str = "xent", **training: Any) -> None:
    with pytest.raises(Stopped):
        train(classifier, Keeping(folder, stop_after=after), loss, **training)


@pytest.fixture(scope="module")
def stopped_once(tiny: Callable[..., Classifier], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped") / "key"
    with every_step():
        stop(tiny(), folder, 6)
    return folder


@pytest.fixture
def stopped(folder: Path, stopped_once: Path) -> Path:
    """The checkpoints of a training that was stopped after six steps."""
    shutil.copytree(stopped_once, folder)
    return folder


@pytest.fixture(scope="module")
def never_stopped(tiny: Callable[..., Classifier], tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """What it would have become."""
    classifier = tiny()
    train(classifier, Keeping(tmp_path_factory.mktemp("never") / "key"))
    return classifier


def assert_equal(one: Classifier, other: Classifier) -> None:
    others = dict(other.named_parameters())
    assert all(torch.equal(p, others[name]) for name, p in one.named_parameters())


@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("after", [6, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 9))])
def test_resumed_training_ends_with_the_same_bits(
    after: int, adapters: bool, folder: Path, tiny: Callable[..., Classifier]
) -> None:
    loss = "logconf"  # which depends on the step; no loss has a state
    lora = {"rank": 2, "alpha": 4.0, "dropout": 0.1} if adapters else None
    never, first, second = (tiny(lora=lora) for _ in range(3))
    whole = Keeping(folder.with_name("other"))
    expected = train(never, whole, loss)
    stop(first, folder, after, loss)
    rest = Keeping(folder)
    found = train(second, rest, loss)
    assert_equal(never, second)
    assert found._replace(weights={}) == expected._replace(weights={})
    assert found.weights.keys() == expected.weights.keys()
    assert [best.step for best in expected.best if best] == [4, 3]
    for step, kept in expected.weights.items():
        assert all(torch.equal(found.weights[step][name], weight) for name, weight in kept.items()), step
    assert rest.rows == whole.rows
    assert (whole.n_steps, rest.n_steps) == (N_STEPS, N_STEPS - after)


def test_other_optimizers_are_resumed_too(folder: Path, tiny: Callable[..., Classifier]) -> None:
    never, last = tiny(), tiny()
    train(never, Keeping(folder.with_name("other")), optimizer="adafactor")
    stop(tiny(), folder, 6, optimizer="adafactor")
    train(last, Keeping(folder), optimizer="adafactor")
    assert_equal(never, last)


def test_training_can_be_stopped_again_and_again(
    folder: Path, tiny: Callable[..., Classifier], never_stopped: Classifier
) -> None:
    last = tiny()
    for after in (2, 3, 7):
        stop(tiny(), folder, after)
    train(last, Keeping(folder))
    assert_equal(never_stopped, last)


def test_portions_found_by_running_out_of_memory_are_kept(
    folder: Path, tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: list[int] = []
    forward = Classifier.forward

    def small_only(self: Classifier, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        widths.append(input_ids.numel())
        if widths[-1] > 30:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids, mask)

    monkeypatch.setattr(Classifier, "forward", small_only)
    stop(tiny(), folder, 6)
    widths.clear()
    train(tiny(), Keeping(folder))
    assert max(widths) <= 30


def test_one_checkpoint_is_kept_without_pickles(stopped: Path) -> None:
    assert [path.name for path in stopped.iterdir()] == ["6"]
    assert sorted(path.name for path in (stopped / "6").iterdir()) == ["state.json", "state.safetensors"]


def test_frozen_weights_are_not_in_a_checkpoint(folder: Path, tiny: Callable[..., Classifier]) -> None:
    stop(tiny(lora={"rank": 2, "alpha": 4.0, "dropout": 0.0}), folder, 6)
    tensors, _ = checkpoints._read(folder / "6")
    assert {name for name in tensors if name.startswith("weight/") and "lora_" not in name} == {"weight/head.weight"}


def edit(folder: Path, **identity: Any) -> None:
    path = folder / "6" / "state.json"
    values = json.loads(path.read_text())
    values["identity"] |= identity
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("name", "value"), [("threads", 99), ("torch", "1.0"), ("device", "abacus"), ("attention", "none"), ("format", 0)]
)
def test_checkpoint_of_other_surroundings_is_left_with_a_line(
    name: str, value: Any, stopped: Path, tiny: Callable[..., Classifier]
) -> None:
    edit(stopped, **{name: value})
    watch = Keeping(stopped)
    train(tiny(), watch)
    assert watch.n_steps == N_STEPS
    assert watch.lines[0].startswith(f"the checkpoint of step 6 is not used: {name} was {value}, now it is ")
    assert watch.lines[1:] == ["starting over"]


def test_checkpoint_of_another_runtime_is_left(stopped: Path, tiny: Callable[..., Classifier]) -> None:
    watch = Keeping(stopped, runtime={"micro_tokens": 16})
    train(tiny(), watch)
    assert watch.n_steps == N_STEPS


def flip_a_bit(folder: Path) -> None:
    path = folder / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def cut_the_json(folder: Path) -> None:
    path = folder / "state.json"
    path.write_text(path.read_text()[:100])


def lose_the_tensors(folder: Path) -> None:
    (folder / "state.safetensors").unlink()


@pytest.mark.parametrize("damage", [flip_a_bit, cut_the_json, lose_the_tensors])
def test_damaged_checkpoint_is_left_with_a_line(
    damage: Callable[[Path], None], stopped: Path, tiny: Callable[..., Classifier], never_stopped: Classifier
) -> None:
    other = tiny()
    damage(stopped / "6")
    watch = Keeping(stopped)
    train(other, watch)
    assert_equal(never_stopped, other)
    assert watch.n_steps == N_STEPS
    assert "step 6 cannot be read" in watch.lines[0]


def test_new_checkpoints_replace_those_that_did_not_serve(stopped: Path, tiny: Callable[..., Classifier]) -> None:
    edit(stopped, threads=99)
    stop(tiny(), stopped, 2)
    assert [path.name for path in stopped.iterdir()] == ["2"]


def test_checkpoint_that_was_being_written_is_no_checkpoint(stopped: Path, tiny: Callable[..., Classifier]) -> None:
    (stopped / "6").rename(stopped / ".6")
    watch = Keeping(stopped)
    train(tiny(), watch)
    assert (watch.n_steps, watch.lines) == (N_STEPS, [])


def test_failure_to_write_is_a_line_and_no_failed_training(folder: Path, tiny: Callable[..., Classifier]) -> None:
    folder.parent.mkdir()
    folder.write_text("in the way")
    watch = Keeping(folder)
    train(tiny(), watch)
    assert watch.n_steps == N_STEPS
    assert watch.lines[0].startswith("no checkpoint of step 1 was kept (")


class Clock:
    """Stands in for ``time`` where checkpoints look at it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.disk_s = 0.0
        """What it takes to write one."""

    def monotonic(self) -> float:
        if threading.current_thread().name == "checkpoint":
            self.now += self.disk_s / 2
        return self.now


def test_checkpoints_are_taken_by_time_and_never_hold_up_a_training_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(checkpoints, "time", clock)
    kept = DiskCheckpoints(tmp_path / "key", node="", runtime={}, device="cpu", curve=[], say=print)
    due = []
    for held_s in (0.0, 30.0):
        for seconds in (4, 1):
            clock.now += seconds
            due.append(kept.is_due())
        clock.now += held_s
        kept.save(Checkpoint(1, {}, {}))
        kept.wait()
    for seconds in (599, 1):
        clock.now += seconds
        due.append(kept.is_due())
    assert due == [False, True, False, True, False, True]


def test_checkpoint_that_took_long_to_write_is_followed_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    clock.disk_s = 20.0
    monkeypatch.setattr(checkpoints, "time", clock)
    kept = DiskCheckpoints(tmp_path / "key", node="", runtime={}, device="cpu", curve=[], say=print)
    clock.now += 10
    assert kept.is_due()
    kept.save(Checkpoint(1, {}, {}))
    kept.wait()
    due = []
    for seconds in (199, 1):
        clock.now += seconds
        due.append(kept.is_due())
    assert due == [False, True]


def test_checkpoint_goes_when_another_run_has_made_the_artifact(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    publish(store)
    kept(tmp_path, KEY, "a")
    executor = Executor(
        store=store, home=tmp_path, pool=Pool(n_workers=0, threads=1, home=tmp_path), device="cpu", runtime={}
    )
    assert executor.execute({"stage": STAGE, "key": KEY, "name": "a training", "remake": False}) == "reused"
    assert not checkpoint_folder(tmp_path, KEY).exists()


def kept(home: Path, key: str, node: str, age_s: float = 0.0) -> None:
    folder = checkpoint_folder(home, key) / "7"
    folder.mkdir(parents=True)
    values = folder / "state.json"
    values.write_text(json.dumps({"node": node}))
    then = values.stat().st_mtime - age_s
    os.utime(values, (then, then))


def test_sweep_removes_what_no_grid_needs_or_is_old(tmp_path: Path) -> None:
    day_s = 24 * 3600.0
    kept(tmp_path, "needed", "a", age_s=13 * day_s)
    kept(tmp_path, "unknown", "b")
    kept(tmp_path, "old", "a", age_s=15 * day_s)
    kept(tmp_path, "running", "b", age_s=15 * day_s)
    (tmp_path / "checkpoints" / "unfinished" / ".3").mkdir(parents=True)
    planned = sweep(tmp_path, nodes=lambda: {"a"}, running=lambda: {"running"}, dry_run=True)
    assert [item.what for item in planned] == [f"checkpoints/{name}" for name in ("old", "unfinished", "unknown")]
    assert sweep(tmp_path, nodes=lambda: {"a"}, running=lambda: {"running"}, dry_run=False) == planned
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["needed", "running"]
