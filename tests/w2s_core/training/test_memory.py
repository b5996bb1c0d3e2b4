"""Trainings and predictions of which only a part fits into memory, and predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_models import prob_of_1, rows_of, toy_rows
from tests.w2s_core.training.toy_fits import Recorder, run, weights
from w2s_core.errors import TrainingError
from w2s_core.models.classifier import Classifier
from w2s_core.watch import Silent


def let_fit(monkeypatch: pytest.MonkeyPatch, n_tokens: int) -> None:
    """Memory runs out above so many tokens at a time."""
    forward = Classifier.forward

    def small_only(self: Classifier, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if mask.sum() > n_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids, mask)

    monkeypatch.setattr(Classifier, "forward", small_only)


def test_out_of_memory_halves_the_micro_batch_and_goes_on(
    tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm, tight = tiny(), tiny()
    run(calm, epochs=1, lr=1e-3)
    let_fit(monkeypatch, n_tokens=40)
    watch = Recorder()
    run(tight, epochs=1, lr=1e-3, watch=watch)
    torch.testing.assert_close(weights(calm), weights(tight), rtol=0, atol=1e-4)
    assert watch.lines[0].startswith("out of memory at step 1: from now on ")
    assert len(watch.lines) <= 2


def test_predictions_survive_running_out_of_memory(
    tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, rows, watch = tiny(), toy_rows(60), Recorder()
    calm = prob_of_1(classifier, rows, watch)
    let_fit(monkeypatch, n_tokens=100)
    np.testing.assert_allclose(prob_of_1(classifier, rows, watch), calm, atol=1e-6)
    assert watch.last == (60, 60, "rows")
    assert watch.lines[0].startswith("out of memory: from now on ")


def test_one_example_too_large_for_memory_is_an_error(
    tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Classifier, "forward", full)
    with pytest.raises(TrainingError, match=r"one example of \d+ tokens does not fit"):
        run(tiny())


def test_predictions_come_in_the_order_of_the_rows(tiny: Callable[..., Classifier]) -> None:
    classifier, rows = tiny(), toy_rows(30)
    run(classifier)
    watch = Recorder(micro_tokens=50)
    probs = prob_of_1(classifier, rows, watch)
    (shown,) = rows.shown()
    assert probs.dtype == np.float64
    assert watch.last == (30, 30, "rows")
    for i in (0, 7, 29):
        alone = rows_of(rows.ids[i : i + 1], shown["passage"][i : i + 1], shown["prompt"][i : i + 1])
        assert prob_of_1(classifier, alone, Silent()) == pytest.approx(probs[i], abs=1e-6)
