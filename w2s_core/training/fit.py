"""The training loop.

No models and no losses are defined here, and no files are read. Randomness comes from explicit generators and from
torch's state, which is put back as it was. Where several processes train a model together, all of them run this loop:
each computes the logits of its part of a batch, and all have the loss of the whole. Letters, here and in ``backward``:
N examples, B of them in an effective batch (one optimizer step), C logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from w2s_core.data.rows import Rows
from w2s_core.methods.losses import LOSSES, Batch, Value, learned, tie_ranks
from w2s_core.models.classifier import Classifier
from w2s_core.models.packing import on_device
from w2s_core.settings.setting import Forward, Setting
from w2s_core.training.backward import set_gradient
from w2s_core.training.curve import LossCurve
from w2s_core.training.distributed import join, shard
from w2s_core.training.encoded import encoded
from w2s_core.training.kept import Best, Kept
from w2s_core.training.optimizers import make_optimizer
from w2s_core.training.recompute import recomputed_layers
from w2s_core.training.state import loss_in, put_back, take, take_loss
from w2s_core.watch import Checkpoint, Watch


class Recipe(NamedTuple):
    """How to train: what every model of a pair shares, but for the learning rate and the student's loss."""

    loss: Mapping[str, Any]
    """Name (key ``loss``) and parameters of the loss."""
    training: Mapping[str, Any]
    """The fields of ``TrainingConfig``."""
    lr: float
    """Peak learning rate."""
    seed: int
    stops: Sequence[Mapping[str, Any]] = ()
    """Rules (key ``rule``) by which weights are kept besides those after the last step."""


class Fit(NamedTuple):
    """How a training went."""

    n_steps: int
    train_loss: float
    """Mean over the last ten steps."""
    n_truncated: int
    """Training rows that did not fit the model's length."""
    near_chance: bool
    """Whether what was learned stayed near chance; see ``LossCurve.near_chance``."""
    best: list[Best | None]
    """What each of the recipe's rules prefers."""
    weights: dict[int, Mapping[str, Tensor]]
    """Step to the weights after it, of those steps; see ``Kept``."""


def fit(
    setting: Setting,
    classifier: Classifier,
    rows: Rows,
    targets: np.ndarray,
    recipe: Recipe,
    *,
    watch: Watch,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
) -> Fit:
    """Train ``classifier`` in place.

    Args:
        setting: what the rows are.
        classifier: the model.
        rows: N examples.
        targets: [N, C] float64, the probability of each class.
        recipe: loss, schedule and seed.
        watch: what the training shows and keeps of itself.
        evaluate: gives the curve more columns at ``watch.eval_at`` and where a rule looks; it may use the classifier,
            without changing it.

    Raises:
        TrainingError: the loss or its gradient is not finite, or the loss explodes, or is not defined for so many
            classes; one example does not fit into memory, or on several devices a portion; the optimizer is not
            installed, or the model cannot do without keeping inner results.
    """
    training = recipe.training
    group = join(watch.n_devices, watch.device)
    shard(classifier, group, watch.device)
    device = classifier.to(watch.device).device
    tokens = encoded(setting, rows, classifier, watch)
    forward = Forward(setting, classifier, tokens)
    longest = int(tokens.longest.max())
    _set_up(classifier, longest, training)
    plan = [
        batch
        for epoch in range(training["epochs"])
        for batch in batches(len(tokens), training["batch_size"], (recipe.seed, epoch))
    ]
    kept = Kept(recipe.stops, len(plan), training["epochs"])
    evaluated = kept.points | ({math.ceil(share * len(plan)) for share in watch.eval_at} - {len(plan)})
    loss = LOSSES.get(recipe.loss["loss"])
    loss_params = loss.params.model_validate(recipe.loss)
    all_targets = torch.from_numpy(targets).to(device)
    all_ties = torch.from_numpy(tie_ranks(rows.ids)).to(device)
    loss_state = dict(loss.start(all_targets, loss_params))

    def objective(logits: Tensor, batch: np.ndarray, progress: float) -> Value:
        index = on_device(batch, device)
        labels = learned(all_targets[index], loss_params)
        result = loss.of(logits, Batch(labels, all_ties[index], progress, loss_state), loss_params)
        if labels.shape[1] == 1:
            return result
        disagree = (logits[:, : labels.shape[1]].argmax(-1) != labels.argmax(-1)).double().mean()
        return result._replace(log={"label_disagree": disagree, **result.log})

    optimizer = make_optimizer(classifier, training)
    parameters = [p for settings in optimizer.param_groups for p in settings["params"]]
    with (
        _seeded(group.seed(recipe.seed), device),
        recomputed_layers(classifier.backbone, enabled=watch.gradient_checkpointing),
    ):
        saved = watch.checkpoints and watch.checkpoints.resume({"attention": classifier.attention})
        if saved:
            put_back(classifier, optimizer, saved.tensors, saved.values["optimizer"])
            kept.put_back(saved.tensors, saved.values["kept"])
            loss_state |= loss_in(saved.tensors, device)
        n_done, values = (saved.step, saved.values) if saved else (0, {"micro_tokens": watch.micro_tokens, "curve": {}})
        del saved  # it is as large as the training
        micro_tokens = values["micro_tokens"]
        curve = LossCurve(len(plan), watch, **values["curve"])
        for step, batch in enumerate(plan[n_done:], n_done + 1):
            step_lr = recipe.lr * lr_factor(step - 1, len(plan), training["schedule"], training["warmup_frac"])
            for settings in optimizer.param_groups:
                settings["lr"] = step_lr
            on_batch = partial(objective, progress=(step - 1) / len(plan))
            result, enough = set_gradient(forward, batch, micro_tokens, on_batch, group)
            if enough < micro_tokens:
                watch.say(f"out of memory at step {step}: from now on {enough} tokens at a time, not {micro_tokens}")
                micro_tokens = enough
            grad_norm = group.whole(torch.nn.utils.clip_grad_norm_(parameters, training["max_grad_norm"]))
            optimizer.step()
            # Only now: a step whose memory ran out computes its loss again.
            loss_state |= result.state
            n_tokens = tokens.n_tokens(batch)
            row = {"step": step, "lr": step_lr, "examples": len(batch), "tokens": n_tokens}
            curve.add(row, result, grad_norm)
            if evaluate and step in evaluated:
                curve.fetch()
                accuracies = evaluate()
                watch.curve([{"step": step, **accuracies}])
                kept.look(step, accuracies, classifier, group)
                _set_up(classifier, longest, training)
            if watch.checkpoints and step < len(plan) and watch.checkpoints.is_due():
                curve.fetch()
                watch.checkpoints.save(_checkpoint(step, classifier, optimizer, micro_tokens, curve, loss_state, kept))
            watch.progress(step, len(plan), "steps")
        curve.fetch()
    classifier.zero_grad()
    classifier.eval()
    return Fit(len(plan), float(np.mean(curve.recent)), tokens.n_truncated, curve.near_chance, kept.best, kept.weights)


def batches(n_rows: int, batch_size: int, seed: tuple[int, ...]) -> list[np.ndarray]:
    """Indices of one epoch's effective batches; only the last is smaller than ``batch_size``.

    Each is a random sample of the rows, the same for every model: losses take it for one. Texts of similar length are
    none; what follows length is for the passes that a batch is cut into.
    """
    order = np.random.default_rng(seed).permutation(n_rows)
    return [order[start : start + batch_size] for start in range(0, n_rows, batch_size)]


def lr_factor(step: int, n_steps: int, schedule: str, warmup_frac: float) -> float:
    """Share of the peak learning rate at ``step`` (from 0): linear warm-up, then the schedule, to 0 at the end."""
    n_warmup = math.ceil(warmup_frac * n_steps)
    if step < n_warmup:
        return (step + 1) / n_warmup
    progress = (step - n_warmup) / (n_steps - n_warmup)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - progress if schedule == "linear" else 1.0


def _set_up(classifier: Classifier, longest: int, training: Mapping[str, Any]) -> None:
    """Put the classifier into its mode for training, at the beginning and after every evaluation."""
    classifier.use_dropout(training["dropout"])
    classifier.use_attention_for(longest)


def _checkpoint(
    step: int,
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    micro_tokens: int,
    curve: LossCurve,
    loss_state: Mapping[str, Tensor],
    kept: Kept,
) -> Checkpoint:
    """What ``fit`` goes on from."""
    state = take(classifier, optimizer)
    kept_tensors, best = kept.take()
    tensors = state.tensors | take_loss(loss_state) | kept_tensors
    about_curve = {"first": curve.first, "recent": curve.recent, "disagreed": curve.disagreed}
    values = {"optimizer": state.values, "micro_tokens": micro_tokens, "curve": about_curve, "kept": best}
    return Checkpoint(step, tensors, values)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's random state is that of ``seed`` inside, and afterwards what it was before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
