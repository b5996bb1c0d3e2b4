"""The loop: batches, schedule, exact gradients, determinism, errors; and prediction."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from flows.plan.grid import TrainingConfig
from tests.tiny_models import CLASSIFY, prob_of_1, rows_of, toy_rows, training_params
from tests.w2s_core.training.toy_fits import LOGCONF, XENT, Recorder, run, weights
from w2s_core.data.rows import Rows
from w2s_core.errors import TrainingError
from w2s_core.methods.losses import LOSSES, Loss, Value, Xent
from w2s_core.metrics import accuracy, two_classes
from w2s_core.models.classifier import Classifier
from w2s_core.settings.setting import Forward
from w2s_core.training import backward
from w2s_core.training.fit import Recipe, batches, fit, lr_factor
from w2s_core.training.optimizers import OPTIMIZERS, make_optimizer
from w2s_core.training.predict import predict_tokens
from w2s_core.training.recompute import recomputed_layers
from w2s_core.watch import Silent


def test_epoch_has_every_row_once_in_full_batches_and_one_rest() -> None:
    parts = batches(201, 8, (0, 0))
    assert sorted(np.concatenate(parts)) == list(range(201))
    assert [len(part) for part in parts] == [8] * 25 + [1]


def test_labels_that_follow_length_are_hardened_as_they_are_by_a_student_that_equals_its_supervisor(
    tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    n, watch = 640, Recorder()
    classifier = tiny()
    n_words = np.random.default_rng(1).integers(1, 28, size=n)
    shown = {"passage": [""] * n, "prompt": [" ".join(["good"] * n_good) for n_good in n_words]}
    rows = Rows([f"row {i}" for i in range(n)], np.zeros(n, np.int8), lambda: iter([shown]))
    margins = (n_words - np.median(n_words)) / 10 + 1e-3

    def forward(self: Classifier, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What the supervisor says: long or short."""
        margin = (mask.sum(1) - np.median(n_words)) / 10 + 1e-3
        return torch.stack([-margin / 2, margin / 2], dim=1).float() + 0 * next(self.parameters()).sum()

    monkeypatch.setattr(Classifier, "forward", forward)
    fit(
        CLASSIFY,
        classifier,
        rows,
        two_classes(1 / (1 + np.exp(-margins))),
        Recipe(LOGCONF | {"warmup_frac": 0.0}, training_params(batch_size=32, epochs=2), lr=1e-3, seed=0),
        watch=watch,
    )
    assert np.mean([row["label_disagree"] for row in watch.rows]) == 0
    assert np.mean([row["hardened_disagree"] for row in watch.rows]) < 0.1


def test_what_a_loss_sees_of_a_batch_is_as_in_random_samples_where_labels_follow_length(
    tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    n, size = 1_280, 32
    rng = np.random.default_rng(0)
    n_words = rng.integers(1, 28, size=n)
    rows = rows_of([f"row {i}" for i in range(n)], [" ".join(["good"] * k) for k in n_words], [""] * n)
    labels = np.clip((n_words + rng.normal(size=n)) / 28, 0, 1)
    seen: list[np.ndarray] = []

    def seeing(logits: torch.Tensor, batch: Any, params: Any) -> Value:
        seen.append(batch.targets[:, 1].numpy())
        return Value(logits.double().sum(), {})

    monkeypatch.setattr(LOSSES, "get", lambda name: Loss(seeing, Xent))
    recipe = Recipe(XENT, training_params(batch_size=size, epochs=1), 1e-6, 0)
    fit(CLASSIFY, tiny(), rows, two_classes(labels), recipe, watch=Silent())
    samples = [rng.choice(labels, size=size, replace=False) for _ in range(2_000)]
    statistics = {"prior": np.mean, "threshold": np.median, "spread": np.std, "balance": lambda x: np.mean(x > 0.5)}
    assert len(seen) == n // size
    for name, of in statistics.items():
        assert ks_2samp([of(batch) for batch in seen], [of(sample) for sample in samples]).pvalue > 0.001, name


def test_batches_follow_from_the_seed_and_differ_between_epochs() -> None:
    first, again, later = (batches(201, 8, seed) for seed in ((0, 0), (0, 0), (0, 1)))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert {frozenset(part) for part in first} != {frozenset(part) for part in later}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("cosine", [0.5, 1, *(0.5 * (1 + np.cos(np.pi * k / 8)) for k in range(8))]),
    ],
)
def test_schedule_warms_up_then_falls(schedule: str, expected: list[float]) -> None:
    assert [lr_factor(step, 10, schedule, 0.2) for step in range(10)] == pytest.approx(expected)


def test_training_learns_what_decides_the_label(tiny: Callable[..., Classifier]) -> None:
    classifier = tiny()
    result = run(classifier, n=160, epochs=8)
    unseen = toy_rows(100, seed=1)
    assert accuracy(prob_of_1(classifier, unseen, Silent()), unseen.gt_labels) > 0.95
    assert result.train_loss < 0.3


def test_same_seed_gives_identical_weights(tiny: Callable[..., Classifier]) -> None:
    trained = []
    for seed in (1, 1, 2):
        torch.rand(seed)  # whatever the process drew before does not matter
        classifier = tiny()
        run(classifier, seed=seed, dropout=True)
        trained.append(weights(classifier))
    assert torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[0], trained[2])


def test_training_leaves_the_random_state_alone(tiny: Callable[..., Classifier]) -> None:
    classifier = tiny()
    before = torch.get_rng_state()
    run(classifier, dropout=True)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dropout", [False, True])
def test_micro_batches_give_the_gradient_of_the_whole_batch(
    dropout: bool, tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, the logits that the loss saw are those that it is differentiated at."""
    passes: list[torch.Tensor] = []
    forward = Classifier.forward

    def recorded(self: Classifier, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        passes.append(forward(self, input_ids, mask))
        return passes[-1]

    monkeypatch.setattr(Classifier, "forward", recorded)
    grad_norms = []
    for micro_tokens in (16_384, 16):
        watch = Recorder(micro_tokens)
        run(tiny(), n=8, epochs=1, loss=LOGCONF | {"warmup_frac": 0.0}, dropout=dropout, watch=watch)
        grad_norms.append(watch.rows[0]["grad_norm"])
    n_portions = (len(passes) - 1) // 2
    assert n_portions > 2
    assert all(torch.equal(passes[1 + i], passes[1 + n_portions + i]) for i in range(n_portions))
    if not dropout:
        assert grad_norms[0] == pytest.approx(grad_norms[1], rel=1e-5)


def test_micro_batches_end_at_the_same_weights(tiny: Callable[..., Classifier]) -> None:
    trained = []
    for micro_tokens in (16_384, 32):
        classifier = tiny()
        run(classifier, loss=LOGCONF, epochs=1, lr=1e-3, watch=Recorder(micro_tokens))
        trained.append(weights(classifier))
    torch.testing.assert_close(*trained, rtol=0, atol=1e-4)


def test_passes_by_length_end_at_the_same_weights_with_less_padding(
    tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_padded: list[int] = []
    forward = Classifier.forward

    def counted(self: Classifier, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        n_padded[-1] += int((mask == 0).sum())
        return forward(self, input_ids, mask)

    monkeypatch.setattr(Classifier, "forward", counted)
    trained = []
    for worth in (10_000, 1):
        monkeypatch.setattr(backward, "CPU_PASS_TOKENS", worth)
        n_padded.append(0)
        classifier = tiny()
        classifier.is_packable = False
        run(classifier, loss=LOGCONF, epochs=1, lr=1e-3)
        trained.append(weights(classifier))
    torch.testing.assert_close(*trained, rtol=0, atol=1e-4)
    assert n_padded[0] > n_padded[1] == 0


@pytest.mark.parametrize("micro_tokens", [16_384, 32])
def test_rows_end_to_end_are_as_many_tokens_as_they_have_and_train_to_the_same_weights(
    micro_tokens: int, tiny: Callable[..., Classifier]
) -> None:
    trained, n_positions = [], []
    for is_packable in (False, True):
        classifier = tiny()
        classifier.is_packable = is_packable
        seen: list[int] = []
        classifier.backbone.h[0].mlp.register_forward_hook(
            lambda module, given, found, seen=seen: seen.append(found.shape[:-1].numel())
        )
        watch = Recorder(micro_tokens)
        run(classifier, loss=LOGCONF, epochs=1, lr=1e-3, watch=watch)
        trained.append(weights(classifier))
        n_positions.append(seen)
    torch.testing.assert_close(*trained, rtol=0, atol=1e-4)
    n_tokens = sum(row["tokens"] for row in watch.rows)
    if micro_tokens == 16_384:
        assert n_positions[1] == [row["tokens"] for row in watch.rows]
    else:
        assert max(n_positions[1]) <= 32
        # Each portion twice, but for batches of one.
        assert n_tokens < sum(n_positions[1]) <= 2 * n_tokens
    assert sum(n_positions[0]) > sum(n_positions[1])


def test_alpha_zero_is_naive_training_bit_for_bit(tiny: Callable[..., Classifier]) -> None:
    targets = np.random.default_rng(0).random(40)
    trained = []
    for loss in (XENT, LOGCONF | {"alpha_max": 0.0}):
        classifier = tiny()
        run(classifier, targets=targets, loss=loss)
        trained.append(weights(classifier))
    assert torch.equal(*trained)


def test_confidence_loss_changes_the_training(tiny: Callable[..., Classifier]) -> None:
    trained = []
    for loss in (XENT, LOGCONF):
        classifier = tiny()
        run(classifier, targets=np.full(40, 0.5), loss=loss)
        trained.append(weights(classifier))
    assert not torch.equal(*trained)


def test_loss_sees_whole_batches_whatever_the_micro_batch(
    tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def counting(logits: torch.Tensor, batch: Any, params: Any) -> Value:
        sizes.append(len(logits))
        return Value(logits.double().sum(), {})

    monkeypatch.setattr(LOSSES, "get", lambda name: Loss(counting, Xent))
    run(tiny(), n=20, epochs=1, watch=Recorder(micro_tokens=20))
    assert sorted(sizes) == [4, 8, 8]


def test_state_of_a_loss_takes_one_step_per_step_even_where_memory_runs_out_after_the_loss(
    tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_calls: list[int] = []
    errors = [torch.OutOfMemoryError("CUDA out of memory")]

    def counting(logits: torch.Tensor, batch: Any, params: Any) -> Value:
        n_calls.append(len(logits))
        n_seen = batch.state["n_seen"] + len(logits)
        return Value(logits.double().square().mean(), {"n_seen": n_seen}, {"n_seen": n_seen})

    def start(targets: torch.Tensor, params: Any) -> dict[str, torch.Tensor]:
        return {"n_seen": torch.tensor(1000 * len(targets))}

    forward = Classifier.forward

    def full_once(self: Classifier, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if n_calls and errors:  # the first loss is known, and now its gradient is wanted
            raise errors.pop()
        return forward(self, input_ids, mask)

    monkeypatch.setattr(LOSSES, "get", lambda name: Loss(counting, Xent, start))
    monkeypatch.setattr(Classifier, "forward", full_once)
    watch = Recorder(micro_tokens=40)
    run(tiny(), n=20, epochs=1, watch=watch)
    assert watch.lines
    assert len(n_calls) == 4
    assert [row["n_seen"] for row in watch.rows] == [20_008, 20_016, 20_020]


def test_dropout_is_off_unless_asked_for(tiny: Callable[..., Classifier]) -> None:
    trained = []
    for dropout, seed in ((False, 1), (False, 2), (True, 1)):
        classifier = tiny()
        # One batch per epoch: the seed decides nothing but dropout.
        run(classifier, n=8, batch_size=8, epochs=1, dropout=dropout, seed=seed)
        trained.append(weights(classifier))
    torch.testing.assert_close(trained[0], trained[1], rtol=0, atol=1e-4)
    assert (trained[0] - trained[2]).abs().max() > 1e-3


@pytest.mark.parametrize("lora", [None, {"rank": 2, "alpha": 4.0, "dropout": 0.1}])
@pytest.mark.parametrize("dropout", [False, True])
def test_gradient_checkpointing_recomputes_layers_and_changes_nothing(
    dropout: bool, lora: Any, tiny: Callable[..., Classifier]
) -> None:
    trained, n_calls = [], []
    for is_on in (False, True):
        classifier, watch = tiny(lora=lora), Recorder()
        watch.gradient_checkpointing = is_on
        calls: list[int] = []
        for name, module in classifier.named_modules():
            if name.endswith("mlp"):
                module.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        run(classifier, n=8, epochs=2, dropout=dropout, watch=watch)
        trained.append(weights(classifier))
        n_calls.append(len(calls))
    assert n_calls == [2 * 2, 2 * 2 * 2]
    assert torch.equal(*trained)


def test_gradient_checkpointing_ends_with_the_training(tiny: Callable[..., Classifier]) -> None:
    classifier, watch = tiny(), Recorder()
    watch.gradient_checkpointing = True
    run(classifier, watch=watch)
    assert not any("forward" in vars(module) for module in classifier.modules())


def test_model_without_layers_is_refused_for_gradient_checkpointing() -> None:
    with (
        pytest.raises(TrainingError, match=r"^runtime.gradient_checkpointing: Linear has no layers"),
        recomputed_layers(torch.nn.Linear(1, 1), enabled=True),
    ):
        pass


def test_adafactor_learns_with_a_fraction_of_the_state(tiny: Callable[..., Classifier]) -> None:
    classifier = tiny()
    optimizer = make_optimizer(classifier, training_params(optimizer="adafactor"))
    classifier(torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.long)).sum().backward()
    optimizer.step()
    n_state = sum(x.numel() for state in optimizer.state.values() for x in state.values() if torch.is_tensor(x))
    assert n_state < weights(classifier).numel() / 2
    result = run(tiny(), n=160, epochs=4, optimizer="adafactor")
    assert result.train_loss < 0.3


def test_optimizer_that_is_not_installed_is_one_line(
    tiny: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(TrainingError, match=r"^training.optimizer: adamw8bit needs the package bitsandbytes.*pip"):
        run(tiny(), optimizer="adamw8bit")


def test_optimizers_are_those_that_can_be_asked_for() -> None:
    assert set(OPTIMIZERS) == set(get_args(TrainingConfig.model_fields["optimizer"].annotation))


def test_adapters_alone_are_trained(tiny: Callable[..., Classifier]) -> None:
    classifier = tiny(lora={"rank": 2, "alpha": 4.0, "dropout": 0.1})
    before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
    run(classifier)
    moved = {name for name, p in classifier.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if "lora_" in name or name == "head.weight"}


def test_weight_decay_spares_biases_and_norms(tiny: Callable[..., Classifier]) -> None:
    classifier = tiny()
    before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
    # Labels that the head of zeros fits: no gradient, so nothing moves but by decay.
    torch.nn.init.zeros_(classifier.head.weight)
    run(classifier, n=8, epochs=1, targets=np.full(8, 0.5), weight_decay=0.1, schedule="constant")
    after = dict(classifier.named_parameters())
    torch.testing.assert_close(after["backbone.wte.weight"], before["backbone.wte.weight"] * (1 - 1e-2 * 0.1))
    name = "backbone.ln_f.weight"
    assert torch.equal(after[name], before[name])


def test_watch_hears_of_every_step(tiny: Callable[..., Classifier]) -> None:
    watch = Recorder()
    result = run(tiny(), n=40, epochs=2, loss=LOGCONF, watch=watch)
    assert [row["step"] for row in watch.rows] == list(range(1, 11))
    assert {"loss", "lr", "grad_norm", "alpha", "hardened_share", "hardened_disagree"} < watch.rows[0].keys()
    assert watch.last == (10, 10, "steps")
    assert result.n_steps == 10
    assert result.train_loss == pytest.approx(np.mean([row["loss"] for row in watch.rows]))


@pytest.mark.parametrize("lora", [None, {"rank": 2, "alpha": 4.0, "dropout": 0.1}])
def test_evaluation_does_not_change_the_training(lora: Any, tiny: Callable[..., Classifier]) -> None:
    trained, rows = [], toy_rows(20, seed=1)
    for eval_at in ((), (0.1, 0.5, 0.99)):
        classifier, watch = tiny(lora=lora), Recorder(micro_tokens=64)
        watch.eval_at = eval_at
        forward = Forward(CLASSIFY, classifier, CLASSIFY.encode(rows, classifier, watch.scratch))
        evaluated: list[np.ndarray] = []

        def evaluate(forward: Forward = forward, evaluated: list[np.ndarray] = evaluated) -> dict[str, float]:
            evaluated.append(predict_tokens(forward, Silent()))
            return {"gt_accuracy": 0.5}

        run(classifier, dropout=True, watch=watch, evaluate=evaluate)
        trained.append(weights(classifier))
    assert torch.equal(*trained)
    assert [row["step"] for row in watch.rows if "gt_accuracy" in row] == [1, 5]
    assert not np.array_equal(*evaluated)


def test_losses_are_fetched_in_blocks(tiny: Callable[..., Classifier]) -> None:
    blocks = []

    class Blocks(Recorder):
        def curve(self, rows: Sequence[Mapping[str, float]]) -> None:
            blocks.append(len(rows))

    run(tiny(), n=100, epochs=2, watch=Blocks())
    assert blocks == [0, 10, 10, 6]


def test_diverging_training_stops_and_names_step_and_rate(tiny: Callable[..., Classifier]) -> None:
    with pytest.raises(TrainingError, match=r"at step \d+ of 10, learning rate 1e\+38; losses before: 0\.\d+.*lower"):
        run(tiny(), lr=1e38, schedule="constant")


@pytest.mark.gpu
def test_gpu_trains_like_the_cpu(tiny: Callable[..., Classifier]) -> None:
    rows, probs = toy_rows(100, seed=1), []
    for device in ("cpu", "cuda"):
        classifier, watch = tiny(), Silent(device=device)
        run(classifier, lr=1e-3, loss=LOGCONF, watch=watch)
        probs.append(prob_of_1(classifier, rows, watch))
    np.testing.assert_allclose(*probs, atol=1e-3)
