"""What must not change a training: how a batch is cut and ordered, and what runs before it or beside it.

For every loss that is registered.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Mapping
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.harness import context, sent
from tests.tiny_models import CLASSIFY, LOSS_CASES, LOSS_PARAMS, model_params, tiny_base, toy_rows, training_params
from w2s_core.methods import confidence, losses
from w2s_core.methods.losses import LOSSES, NO_STATE, Batch, learned, tie_ranks
from w2s_core.metrics import two_classes
from w2s_core.models.classifier import Classifier, build
from w2s_core.settings.setting import Forward
from w2s_core.training import backward
from w2s_core.training.fit import Recipe, fit
from w2s_core.training.state import take_loss
from w2s_core.watch import Checkpoint, Checkpoints, Silent

B = 32
SIZES = (1, 4, B)
"""Examples in a micro-batch."""
N_ROWS = 24
"""Of a training: three steps an epoch."""
HALFWAY = 0.5
"""Progress at which every loss has its full weights."""
ROUNDING = 1e-5

each_loss = pytest.mark.parametrize("loss", LOSS_CASES.values(), ids=LOSS_CASES)


class Step(NamedTuple):
    """What one batch gave."""

    gradient: Tensor
    hardened: dict[int, float]
    """By example."""
    margins: dict[int, float]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"), resid_pdrop=0.1, embd_pdrop=0.1)


@pytest.fixture(scope="module")
def initial(base: Path) -> Classifier:
    """A classifier whose head is as large as a trained one's: probabilities that differ, a gradient in every layer."""
    classifier = build(model_params(head="small"), base, seed=0)
    torch.nn.init.normal_(classifier.head.weight, generator=torch.Generator().manual_seed(0))
    return classifier.eval()


@pytest.fixture
def step(initial: Classifier, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Step]:
    """Computes the gradient of one batch, in micro-batches of so many examples."""
    rows = toy_rows(B)
    classifier = copy.deepcopy(initial)
    forward = Forward(CLASSIFY, classifier, CLASSIFY.encode(rows, classifier, Silent().scratch))
    targets = torch.from_numpy(two_classes(np.random.default_rng(0).random(B)))
    ties = torch.from_numpy(tie_ranks(rows.ids))
    example = {int(tie): i for i, tie in enumerate(ties)}
    harden_top = confidence.harden_top

    def gradient(loss: Mapping[str, Any], size: int, order: np.ndarray, fixed: bool) -> Step:
        hardened: dict[int, float] = {}
        margins: dict[int, float] = {}

        def recorded(batch_margins: Tensor, batch_ties: Tensor, *more: Any) -> Tensor:
            found = batch_ties % 2 if fixed else harden_top(batch_margins, batch_ties, *more)
            for tie, value, margin in zip(batch_ties, found, batch_margins, strict=True):
                hardened[example[int(tie)]] = float(value)
                margins[example[int(tie)]] = float(margin)
            return found

        def objective(logits: Tensor, batch: np.ndarray) -> losses.Value:
            entry = LOSSES.get(loss["loss"])
            params = entry.params(**loss)
            labels = learned(targets[batch], params)
            return entry.of(logits, Batch(labels, ties[batch], HALFWAY, entry.start(targets, params)), params)

        def portions(lengths: np.ndarray, rows: np.ndarray, **_: Any) -> list[np.ndarray]:
            return [rows[i : i + size] for i in range(0, len(rows), size)]

        monkeypatch.setattr(confidence, "harden_top", recorded)
        monkeypatch.setattr(backward, "micro_batches", portions)
        backward.set_gradient(forward, order, 0, objective)
        return Step(torch.cat([p.grad.flatten() for p in classifier.parameters()]), hardened, margins)

    return gradient


def test_every_loss_is_tested() -> None:
    assert LOSS_PARAMS.keys() == set(LOSSES.names())


@each_loss
def test_micro_batches_do_not_change_the_gradient(loss: dict[str, Any], step: Callable[..., Step]) -> None:
    whole, *others = (step(loss, size, np.arange(B), fixed=True).gradient for size in reversed(SIZES))
    assert whole.abs().max() > 0.01
    for other in others:
        torch.testing.assert_close(other, whole, rtol=ROUNDING, atol=ROUNDING * whole.abs().max().item())


@each_loss
def test_micro_batches_do_not_change_hardened_labels_beyond_rounding(
    loss: dict[str, Any], step: Callable[..., Step]
) -> None:
    whole = step(loss, B, np.arange(B), fixed=False)
    if not whole.hardened:
        return  # a loss that hardens nothing
    others = [step(loss, size, np.arange(B), fixed=False) for size in SIZES if size < B]
    ones = [margin for i, margin in whole.margins.items() if whole.hardened[i]]
    threshold = min(ones)
    for other in others:
        moved = {i for i in whole.hardened if whole.hardened[i] != other.hardened[i]}
        assert all(abs(whole.margins[i] - threshold) < ROUNDING for i in moved)
        assert sum(other.hardened.values()) == len(ones)


@each_loss
@pytest.mark.parametrize("size", [4, B])
def test_order_within_a_batch_changes_nothing_but_rounding(
    size: int, loss: dict[str, Any], step: Callable[..., Step]
) -> None:
    order = np.random.default_rng(1).permutation(B)
    one, other = step(loss, size, np.arange(B), fixed=False), step(loss, size, order, fixed=False)
    assert one.hardened == other.hardened
    torch.testing.assert_close(
        other.gradient, one.gradient, rtol=ROUNDING, atol=ROUNDING * one.gradient.abs().max().item()
    )


class Kept:
    """Checkpoints of every step, as bytes; a training goes on from the one that is ``resumed``."""

    def __init__(self, kept: dict[int, tuple[bytes, str]] | None = None) -> None:
        self.kept = {} if kept is None else kept
        self.resumed: int | None = None

    def resume(self, choices: Mapping[str, Any]) -> Checkpoint | None:
        if self.resumed is None:
            return None
        tensors, values = self.kept[self.resumed]
        return Checkpoint(self.resumed, safetensors.torch.load(tensors), json.loads(values))

    def is_due(self) -> bool:
        return self.resumed is None

    def save(self, checkpoint: Checkpoint) -> None:
        self.kept[checkpoint.step] = safetensors.torch.save(dict(checkpoint.tensors)), json.dumps(checkpoint.values)


def trained(
    base: Path, loss: Mapping[str, Any], seed: int, checkpoints: Checkpoints | None = None, **training: Any
) -> bytes:
    """The weights at the end of a training, in portions of a batch, with dropout."""
    classifier = build(model_params(head="small"), base, seed=seed)
    rows = toy_rows(N_ROWS)
    fit(
        CLASSIFY,
        classifier,
        rows,
        two_classes(np.random.default_rng(seed).random(N_ROWS)),
        Recipe(loss, training_params(**{"dropout": True} | training), lr=1e-2, seed=seed),
        watch=Silent(micro_tokens=64, checkpoints=checkpoints),
    )
    return torch.cat([p.detach().flatten() for p in classifier.parameters()]).numpy().tobytes()


def test_alpha_zero_is_naive_training_bit_for_bit_in_micro_batches_too(base: Path) -> None:
    naive, zero = (
        trained(base, loss, seed=0) for loss in (LOSS_PARAMS["xent"], LOSS_PARAMS["logconf"] | {"alpha_max": 0.0})
    )
    assert naive == zero


@pytest.fixture(scope="module")
def undisturbed(base: Path) -> Callable[[str], tuple[bytes, Kept]]:
    """The weights and the checkpoints of a training by the name of its loss; each is made once."""

    @functools.cache
    def training(name: str) -> tuple[bytes, Kept]:
        checkpoints = Kept()
        return trained(base, LOSS_CASES[name], seed=1, checkpoints=checkpoints), checkpoints

    return training


@pytest.mark.parametrize("name", LOSS_CASES)
def test_training_that_goes_on_from_a_checkpoint_ends_with_the_same_weights(
    name: str, base: Path, undisturbed: Callable[[str], tuple[bytes, Kept]]
) -> None:
    never_ended, before = undisturbed(name)
    checkpoints, loss = Kept(before.kept), LOSS_CASES[name]
    for step in (1, 4, max(checkpoints.kept)):
        checkpoints.resumed = step
        assert trained(base, loss, seed=1, checkpoints=checkpoints) == never_ended


def test_checkpoints_of_a_loss_without_state_have_none() -> None:
    assert take_loss(NO_STATE) == {}


def test_no_state_leaks_from_one_training_into_the_next(
    base: Path, undisturbed: Callable[[str], tuple[bytes, Kept]]
) -> None:
    first = {name: undisturbed(name)[0] for name in LOSS_CASES}
    trained(base, LOSS_PARAMS["xent"], seed=2, batch_size=5, schedule="linear", dropout=False)
    assert {name: trained(base, LOSS_CASES[name], seed=1) for name in reversed(LOSS_CASES)} == first


def send_trained(base: Path, seed: int, together: Barrier, sender: Any) -> None:
    """In a process of its own."""
    together.wait(60)
    sender.send(trained(base, LOSS_PARAMS["logconf"], seed))


def in_processes(base: Path, seeds: list[int]) -> list[bytes]:
    """The weights of trainings that run at the same time."""
    together = context().Barrier(len(seeds))
    return sent(send_trained, [(base, seed, together) for seed in seeds])


@pytest.mark.slow
def test_two_trainings_at_once_equal_each_alone(base: Path) -> None:
    at_once = in_processes(base, [1, 2])
    assert at_once == in_processes(base, [1]) + in_processes(base, [2])
    assert at_once[0] != at_once[1]
