"""The confidence losses against their definitions written naively: thresholds, schedules, memory, entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.w2s_core.methods.batches import both, gradient, probs, some_batch, value
from w2s_core.errors import TrainingError
from w2s_core.methods.confidence import Logconf, harden_top, hardened
from w2s_core.methods.losses import LOSSES, Batch, Value, Xent, tie_ranks


def logconf(logits: torch.Tensor, batch: Batch, **changes: float | str) -> Value:
    return value("logconf", logits, batch, **changes)


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
    target = 0.5 * batch.targets[:, 1] + 0.5 * harden_top(margin.detach(), batch.ties, 5)
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
    assert loss.value.item() == pytest.approx(-float((of_class_1 if hardened else 1 - of_class_1).log()), rel=1e-6)
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
    margins = torch.tensor([1.0, 3.0, -5.0, 2.0])
    assert harden_top(margins, torch.arange(4), 2).tolist() == [0, 1, 0, 1]


def test_exactly_so_many_are_hardened_where_all_logits_are_equal() -> None:
    assert harden_top(torch.zeros(7), torch.arange(7), 4).sum() == 4


def test_ties_do_not_depend_on_the_order_of_the_batch() -> None:
    ids = np.array([f"id{i}" for i in range(10)])
    order = np.random.default_rng(0).permutation(10)
    first = harden_top(torch.zeros(10), torch.from_numpy(tie_ranks(list(ids))), 5)
    second = harden_top(torch.zeros(10), torch.from_numpy(tie_ranks(list(ids[order]))), 5)
    assert set(ids[first.bool().numpy()]) == set(ids[order][second.bool().numpy()])


def test_log_tells_how_often_the_hardened_label_disagrees() -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, 3.0], [5.0, 0.0], [0.0, 2.0]])
    targets = torch.tensor([0.9, 0.9, 0.2, 0.4], dtype=torch.float64)
    log = logconf(logits, Batch(both(targets), torch.arange(4), 0.9)).log
    assert float(log["hardened_disagree"]) == 0.5


def test_step_schedule_of_the_published_code_jumps_when_its_warm_up_is_over() -> None:
    found = [
        logconf(*some_batch(progress=progress), schedule="oai_step", warmup_frac=0.1, alpha_max=0.75).log["alpha"]
        for progress in (0.0, 0.05, 0.1, 0.11, 0.9)
    ]
    assert found == pytest.approx([0.0, 0.75 * 0.05, 0.75 * 0.1, 0.75, 0.75])


@pytest.mark.parametrize("schedule", ["linear", "oai_step"])
def test_no_warmup_is_full_alpha_from_the_first_step_whatever_the_schedule(schedule: str) -> None:
    assert logconf(*some_batch(progress=0.0), warmup_frac=0.0, schedule=schedule).log["alpha"] == 0.5


def test_fixed_threshold_hardens_at_one_half_whatever_the_batch() -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, 3.0], [0.0, 0.1], [0.0, 0.0]])
    batch = Batch(both(torch.full((4,), 0.2, dtype=torch.float64)), torch.arange(4), 0.9)
    found = logconf(logits, batch, threshold="fixed", alpha_max=1.0)
    assert float(found.log["hardened_share"]) == 0.75  # a tie goes to class 0
    p = probs(logits)
    assert found.value.item() == pytest.approx(-np.log([*p[:3, 1], p[3, 0]]).mean(), rel=1e-6)


def test_fixed_threshold_hardens_any_number_of_classes() -> None:
    logits = torch.tensor([[0.0, 1.0, 3.0], [2.0, 1.0, 0.0]])
    batch = Batch(torch.full((2, 3), 1 / 3, dtype=torch.float64), torch.arange(2), 0.9)
    p = probs(logits)
    found = logconf(logits, batch, threshold="fixed", alpha_max=1.0)
    assert found.value.item() == pytest.approx(-np.log([p[0, 2], p[1, 0]]).mean(), rel=1e-6)


def test_threshold_that_remembers_class_1_refuses_more_classes_before_the_first_step() -> None:
    loss, buffer = LOSSES.get("logconf"), Logconf(threshold="buffer")
    assert (loss.most_classes(buffer), loss.most_classes(Logconf())) == (2, None)
    labels = torch.full((4, 3), 1 / 3, dtype=torch.float64)
    with pytest.raises(TrainingError, match=r"^loss logconf: threshold = 'buffer' .* 3 classes; 'half', .* any number"):
        loss.start(labels, buffer)


@pytest.mark.parametrize("threshold", ["half", "match_prior"])
def test_classes_are_hardened_to_in_the_shares_of_the_prior(threshold: str) -> None:
    # All prefer class 0, each by another margin to another class.
    logits = torch.tensor([[3.0, 3.0 - 0.1 * k, 0.0] if k % 2 else [3.0, 0.0, 3.0 - 0.1 * k] for k in range(12)])
    labels = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).expand(12, 3)
    found, _ = hardened(logits, Batch(labels, torch.arange(12), 0.9), Logconf(threshold=threshold))
    counts = torch.bincount(found, minlength=3).tolist()
    assert counts == ([4, 4, 4] if threshold == "half" else [6, 3, 3])
    # Those nearest to each class are the ones that change.
    assert found[torch.tensor([1, 3])].tolist() == [1, 1]
    assert found[torch.tensor([0, 2])].tolist() == [2, 2]


def test_one_prediction_of_several_classes_is_hardened_to_its_likeliest() -> None:
    batch = Batch(torch.full((1, 3), 1 / 3, dtype=torch.float64), torch.arange(1), 0.9)
    assert hardened(torch.tensor([[0.0, 2.0, 1.0]]), batch, Logconf())[0].tolist() == [1]


def test_buffer_hardens_what_is_in_the_upper_half_of_the_last_predictions() -> None:
    n, size = 20, 4
    margins = np.random.default_rng(0).normal(size=n).astype(np.float32)
    params = Logconf(threshold="buffer", buffer=10, alpha_max=1.0)
    loss, state = LOSSES.get("logconf"), {}
    for first in range(0, n, size):
        now = np.arange(first, first + size)
        targets = both(torch.full((size,), 0.5, dtype=torch.float64))
        state = state or loss.start(targets, params)
        logits = torch.from_numpy(np.stack([np.zeros(size, np.float32), margins[now]], 1))
        found = loss.of(logits, Batch(targets, torch.from_numpy(now), 0.9, state), params)
        state = found.state
        last = np.sort(margins[max(first + size - 10, 0) : first + size])[::-1]
        is_top = margins[now] >= last[math.ceil(len(last) / 2) - 1]
        p = probs(logits)
        assert float(found.log["hardened_share"]) == is_top.mean()
        assert found.value.item() == pytest.approx(-np.log(np.where(is_top, p[:, 1], p[:, 0])).mean(), rel=1e-6)
    assert sorted(state["ties"].tolist()) == list(range(10, 20))


def test_buffer_smaller_than_a_batch_is_half_of_the_batch() -> None:
    logits, batch = some_batch(n=8)
    first = logconf(logits, batch, threshold="buffer", buffer=3)
    again = logconf(logits, batch._replace(state=first.state), threshold="buffer", buffer=3)
    assert again.value.item() == logconf(logits, batch).value.item()
    assert len(again.state["ties"]) == 8


def test_buffer_hardens_a_batch_of_one_by_what_was_before() -> None:
    logits, batch = some_batch(n=8)
    state = logconf(logits + torch.tensor([0.0, 20.0]), batch, threshold="buffer").state
    one = Batch(both(torch.tensor([0.7], dtype=torch.float64)), torch.tensor([0]), 0.9, state)
    found = logconf(torch.tensor([[0.0, 5.0]]), one, threshold="buffer", alpha_max=1.0)
    assert float(found.log["hardened_share"]) == 0  # sure of class 1, and less so than of all others


@pytest.mark.parametrize(("margin", "hardened"), [(-0.1, 0), (0.0, 0), (0.1, 1)])
def test_first_prediction_of_a_buffer_is_hardened_at_one_half(margin: float, hardened: int) -> None:
    one = Batch(both(torch.tensor([0.7], dtype=torch.float64)), torch.tensor([0]), 0.9)
    assert float(logconf(torch.tensor([[0.0, margin]]), one, threshold="buffer").log["hardened_share"]) == hardened


def test_what_a_buffer_forgets_first_does_not_depend_on_the_order_of_the_batch() -> None:
    logits, batch = some_batch(n=8)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    mixed = batch._replace(targets=batch.targets[order], ties=batch.ties[order])
    states = [logconf(*case, threshold="buffer", buffer=12).state for case in ((logits, batch), (logits[order], mixed))]
    assert all(torch.equal(states[0][name], states[1][name]) for name in ("margins", "ties"))


def test_buffer_of_one_batch_does_not_know_another_training() -> None:
    logits, batch = some_batch()
    first = logconf(logits, batch, threshold="buffer")
    assert not LOSSES.get("logconf").start(batch.targets, Logconf(threshold="buffer"))["ties"].numel()
    assert logconf(logits, batch, threshold="buffer").value.item() == first.value.item()


def test_entropy_adds_the_entropy_of_the_student() -> None:
    logits, batch = some_batch()
    p, w = probs(logits), batch.targets.numpy()
    expected = np.mean(-0.75 * (w * np.log(p)).sum(1) - 0.25 * (p * np.log(p)).sum(1))
    for detached in (False, True):
        found = value("entropy", logits, batch, alpha_max=0.25, detached=detached)
        assert found.value.item() == pytest.approx(expected, rel=1e-6)


def test_entropy_has_a_gradient_of_its_own_and_the_detached_form_that_of_a_scaled_xent() -> None:
    logits, batch = some_batch()
    p, w = probs(logits), batch.targets.numpy()
    of_entropy = -p * (np.log(p) - (p * np.log(p)).sum(1, keepdims=True))
    naive = p - w
    for detached, expected in ((True, 0.75 * naive), (False, 0.75 * naive + 0.25 * of_entropy)):
        found = gradient(value("entropy", logits, batch, alpha_max=0.25, detached=detached), logits)
        np.testing.assert_allclose(found.numpy(), expected / len(p), atol=1e-7)


def test_entropy_of_weight_zero_is_xent_bit_for_bit() -> None:
    logits, batch = some_batch()
    found, naive = value("entropy", logits, batch, alpha_max=0.0), value("xent", logits, batch)
    assert found.value.item() == naive.value.item()
    assert torch.equal(gradient(found, logits), gradient(naive, logits))


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_adaptive_confidence_weighs_each_example_by_its_two_cross_entropies(temperature: float) -> None:
    logits, batch = some_batch()
    p, w = probs(logits), batch.targets.numpy()
    rows = np.arange(len(p))
    with_own, with_label = -np.log(p[rows, p.argmax(1)]), -np.log(p[rows, w.argmax(1)])
    alpha = np.exp(with_own / temperature) / (np.exp(with_own / temperature) + np.exp(with_label / temperature))
    expected = np.mean((1 - alpha) * -(w * np.log(p)).sum(1) + alpha * with_own)
    found = value("adaptconf", logits, batch, temperature=temperature)
    assert found.value.item() == pytest.approx(expected, rel=1e-6)
    assert float(found.log["alpha"]) == pytest.approx(alpha.mean(), rel=1e-6)
    assert alpha.max() == 0.5 > alpha.min()


def test_adaptive_confidence_leaves_the_label_to_a_student_that_is_sure_of_the_contrary() -> None:
    logits = torch.tensor([[900.0, -900.0]], requires_grad=True)
    found = value("adaptconf", logits, Batch(both(torch.tensor([1.0], dtype=torch.float64)), torch.tensor([0]), 0.9))
    assert float(found.log["alpha"]) == 0
    assert gradient(found, logits).tolist() == [[1.0, -1.0]]
