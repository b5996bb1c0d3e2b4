"""What holds for every loss that is registered, at its defaults and in its other forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_models import LOSS_CASES
from tests.w2s_core.methods.batches import gradient, some_batch, value
from w2s_core.methods.losses import LOSSES

each_loss = pytest.mark.parametrize("fields", LOSS_CASES.values(), ids=LOSS_CASES)


@contextmanager
def detached_once(held: list[Tensor]) -> Iterator[None]:
    """What is detached inside is what was detached when ``held`` was empty, and is kept in it."""
    plain: Callable[[Tensor], Tensor] = torch.Tensor.detach
    is_first, left = not held, iter(list(held))

    def detach(tensor: Tensor) -> Tensor:
        if not is_first:
            return next(left)
        held.append(plain(tensor).clone())
        return held[-1]

    torch.Tensor.detach = detach  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.Tensor.detach = plain  # type: ignore[method-assign]


@each_loss
@pytest.mark.parametrize("progress", [0.1, 0.9])
def test_gradient_is_that_of_finite_differences_where_what_has_none_is_held_fixed(
    progress: float, fields: dict[str, Any]
) -> None:
    logits, batch = some_batch(progress=progress)
    held: list[Tensor] = []

    def of(logits: Tensor) -> Tensor:
        with detached_once(held):
            return value(fields["loss"], logits, batch, **fields).value

    exact = logits.detach().double().requires_grad_()
    of(exact)
    assert torch.autograd.gradcheck(of, (exact,))


@each_loss
@pytest.mark.parametrize("labels", [[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0], [0.5, 0.5, 0.5], [0.0], [0.7]])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_certain_labels_of_one_class_or_alone_and_equal_or_certain_answers_give_finite_numbers(
    scale: float, labels: list[float], fields: dict[str, Any]
) -> None:
    logits, batch = some_batch(labels=labels)
    logits = (scale * logits).detach().requires_grad_()
    found = value(fields["loss"], logits, batch, **fields)
    assert found.value.dtype == torch.float64
    assert found.value.isfinite()
    assert gradient(found, logits).isfinite().all()


@each_loss
def test_what_is_no_class_takes_part(fields: dict[str, Any]) -> None:
    logits, batch = some_batch(n=8)
    three = torch.cat([logits.detach(), torch.zeros(8, 1)], 1).requires_grad_()
    found = value(fields["loss"], three, batch, **fields)
    slope = gradient(found, three)
    assert slope.isfinite().all()
    assert slope[:, 2].abs().max() > 0


@each_loss
def test_call_changes_no_state_and_state_has_no_gradient(fields: dict[str, Any]) -> None:
    logits, batch = some_batch()
    loss = LOSSES.get(fields["loss"])
    params = loss.params(**fields)
    state = dict(loss.start(batch.targets, params))
    kept = {name: tensor.clone() for name, tensor in state.items()}
    values = [loss.of(logits, batch._replace(state=state), params) for _ in range(2)]
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    assert values[0].value == values[1].value
    assert values[0].state.keys() <= state.keys()
    assert not any(tensor.requires_grad for tensor in values[0].state.values())
