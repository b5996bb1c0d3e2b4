"""Losses against their definitions written naively, and the edges of the confidence loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from w2s_core.methods.losses import LOSSES, Batch, Kl, Logconf, Value, Xent, harden_top, tie_ranks

LOGCONF = {"loss": "logconf", "alpha_max": 0.5, "warmup_frac": 0.2, "threshold": "half"}


def both(probs: torch.Tensor) -> torch.Tensor:
    """[B, 2] from [B] P(class 1)."""
    return torch.stack([1 - probs, probs], -1)


def some_batch(n: int = 9, seed: int = 0, progress: float = 0.9) -> tuple[torch.Tensor, Batch]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 2, generator=generator).requires_grad_()
    targets = both(torch.rand(n, generator=generator, dtype=torch.float64))
    ties = torch.from_numpy(tie_ranks([f"id{i}" for i in range(n)]))
    return logits, Batch(targets, ties, progress)


def logconf(logits: torch.Tensor, batch: Batch, **changes: float | str) -> Value:
    return LOSSES.get("logconf").of(logits, batch, Logconf(**LOGCONF | changes))


def test_xent_is_the_mean_cross_entropy() -> None:
    logits, batch = some_batch()
    p = logits.detach().double().numpy()
    p = np.exp(p) / np.exp(p).sum(1, keepdims=True)
    w = batch.targets[:, 1].numpy()
    expected = -np.mean(w * np.log(p[:, 1]) + (1 - w) * np.log(p[:, 0]))
    assert LOSSES.get("xent").of(logits, batch, Xent()).value.item() == pytest.approx(expected, rel=1e-12)


def test_xent_gradient_is_probability_minus_target() -> None:
    logits, batch = some_batch()
    LOSSES.get("xent").of(logits, batch, Xent()).value.backward()
    expected = (logits.detach().softmax(-1)[:, 1] - batch.targets[:, 1]) / len(logits)
    torch.testing.assert_close(logits.grad[:, 1].double(), expected, atol=1e-7, rtol=0)


def test_logconf_is_the_weighted_sum_of_two_cross_entropies() -> None:
    logits, batch = some_batch(n=8)
    margin = (logits[:, 1] - logits[:, 0]).detach()
    hardened = (margin > margin.median()).double()  # the lower median: 4 of 8 are above it
    xent = LOSSES.get("xent").of
    expected = 0.25 * xent(logits, batch, Xent()).value
    expected += 0.75 * xent(logits, batch._replace(targets=both(hardened)), Xent()).value
    torch.testing.assert_close(logconf(logits, batch, alpha_max=0.75).value, expected)


def test_gradient_does_not_flow_through_the_hardened_labels() -> None:
    logits, batch = some_batch()
    logconf(logits, batch).value.backward()
    margin = logits[:, 1] - logits[:, 0]
    target = 0.5 * batch.targets[:, 1] + 0.5 * harden_top(logits, batch.ties, 5)
    expected = (margin.detach().double().sigmoid() - target) / len(logits)
    torch.testing.assert_close(logits.grad[:, 1].double(), expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("changes", [{"alpha_max": 0.0}, {"progress": 0.0}])
def test_alpha_zero_equals_xent_bit_for_bit(changes: dict[str, float]) -> None:
    logits, batch = some_batch(progress=changes.get("progress", 0.9))
    values, gradients = [], []
    for loss in (
        logconf(logits, batch, alpha_max=changes.get("alpha_max", 0.5)),
        LOSSES.get("xent").of(logits, batch, Xent()),
    ):
        logits.grad = None
        loss.value.backward()
        values.append(loss.value.item())
        gradients.append(logits.grad)
    assert values[0] == values[1]
    assert torch.equal(*gradients)


@pytest.mark.parametrize(("progress", "alpha"), [(0.0, 0.0), (0.05, 0.125), (0.1, 0.25), (0.2, 0.5), (0.9, 0.5)])
def test_alpha_rises_linearly_and_stays(progress: float, alpha: float) -> None:
    assert logconf(*some_batch(progress=progress)).log["alpha"] == pytest.approx(alpha)


def test_no_warmup_is_full_alpha_from_the_first_step() -> None:
    assert logconf(*some_batch(progress=0.0), warmup_frac=0.0).log["alpha"] == 0.5


@pytest.mark.parametrize(("n", "positive"), [(2, 1), (8, 4), (9, 5)])
def test_half_of_the_batch_is_hardened_to_class_1(n: int, positive: int) -> None:
    assert logconf(*some_batch(n=n)).log["hardened_share"] == positive / n


@pytest.mark.parametrize("threshold", ["half", "match_prior"])
@pytest.mark.parametrize(("margin", "hardened"), [(-0.1, 0), (0.0, 0), (0.1, 1)])
def test_batch_of_one_is_hardened_at_one_half(margin: float, hardened: int, threshold: str) -> None:
    batch = Batch(both(torch.tensor([0.7], dtype=torch.float64)), torch.tensor([0]), 0.9)
    loss = logconf(torch.tensor([[0.0, margin]]), batch, threshold=threshold, alpha_max=1.0)
    of_class_1 = torch.tensor(margin, dtype=torch.float64).sigmoid()
    assert float(loss.value) == pytest.approx(-float((of_class_1 if hardened else 1 - of_class_1).log()), rel=1e-6)
    assert float(loss.log["hardened_share"]) == hardened


@pytest.mark.parametrize(
    ("targets", "positive"),
    [([0.1] * 30, 3), ([0.11] * 30, 4), ([0.0] * 4, 0), ([1.0] * 4, 4), ([0.5, 0.25, 0.25], 1)],
)
def test_matched_prior_rounds_the_expected_positives_up(targets: list[float], positive: int) -> None:
    logits, batch = some_batch(n=len(targets))
    batch = batch._replace(targets=both(torch.tensor(targets, dtype=torch.float64)))
    share = logconf(logits, batch, threshold="match_prior").log["hardened_share"]
    assert share == positive / len(targets)


def test_most_confident_examples_are_hardened_to_class_1() -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, 3.0], [5.0, 0.0], [0.0, 2.0]])
    assert harden_top(logits, torch.arange(4), 2).tolist() == [0, 1, 0, 1]


def test_exactly_so_many_are_hardened_where_all_logits_are_equal() -> None:
    assert harden_top(torch.zeros(7, 2), torch.arange(7), 4).sum() == 4


def test_ties_do_not_depend_on_the_order_of_the_batch() -> None:
    ids = np.array([f"id{i}" for i in range(10)])
    order = np.random.default_rng(0).permutation(10)
    first = harden_top(torch.zeros(10, 2), torch.from_numpy(tie_ranks(list(ids))), 5)
    second = harden_top(torch.zeros(10, 2), torch.from_numpy(tie_ranks(list(ids[order]))), 5)
    assert set(ids[first.bool().numpy()]) == set(ids[order][second.bool().numpy()])


def test_log_tells_how_often_the_hardened_label_disagrees() -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, 3.0], [5.0, 0.0], [0.0, 2.0]])
    targets = torch.tensor([0.9, 0.9, 0.2, 0.4], dtype=torch.float64)
    log = logconf(logits, Batch(both(targets), torch.arange(4), 0.9)).log
    assert float(log["hardened_disagree"]) == 0.5


def test_kl_is_cross_entropy_less_the_entropy_of_the_labels() -> None:
    logits, batch = some_batch()
    p, w = logits.detach().double().softmax(-1).numpy(), batch.targets.numpy()

    found = LOSSES.get("kl").of(logits, batch, Kl())

    assert found.value.item() == pytest.approx(np.mean((w * np.log(w / p)).sum(1)), rel=1e-12)


def test_kl_has_the_gradient_of_xent() -> None:
    gradients = []
    for name, params in ("kl", Kl()), ("xent", Xent()):
        logits, batch = some_batch()
        LOSSES.get(name).of(logits, batch, params).value.backward()
        gradients.append(logits.grad)
    assert torch.equal(*gradients)


def test_kl_is_zero_where_the_student_says_what_the_labels_say_even_if_they_are_certain() -> None:
    sure = torch.tensor([[800.0, -800.0], [0.0, 0.0]])
    batch = Batch(torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64), torch.tensor([0, 1]), 0.5)

    assert LOSSES.get("kl").of(sure, batch, Kl()).value.item() == 0
