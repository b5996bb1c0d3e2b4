"""The training loop and its mirror, prediction.

No models and no losses are defined here, and no files are read. Randomness comes from explicit generators and from
torch's state, which is put back as it was. Where several processes train a model together, all of them run this loop:
each computes the logits of its part of a batch, and all have the loss of the whole. Letters: N examples, B of them in
an effective batch (one optimizer step), C logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from w2s_core.curve import LossCurve
from w2s_core.distributed import ALONE, Group, join, shard
from w2s_core.errors import TrainingError
from w2s_core.losses import LOSSES, Batch, Loss, tie_ranks
from w2s_core.models import Classifier
from w2s_core.optimizers import make_optimizer
from w2s_core.recompute import recomputed_layers
from w2s_core.rows import Rows
from w2s_core.state import put_back, take
from w2s_core.tokenize import Tokens, micro_batches, split_by_length, tokenize
from w2s_core.watch import Checkpoint, Watch

POOL_BATCHES = 16
"""Batches of similar length are cut from random pools of this many, so that they differ from epoch to epoch."""

CPU_TOKENS = 2_048
"""Padded tokens per forward pass of a prediction on a CPU, where more is slower (half as fast at 16,384)."""

CPU_PASS_TOKENS = 512
"""Tokens of padding that are worth one more pass of a training on a CPU, which adds to the gradient of every weight."""

Objective = Callable[[Tensor, np.ndarray], Loss]
"""Loss of the logits of the examples with the indices [B]."""


class Fit(NamedTuple):
    """How a training went."""

    n_steps: int
    train_loss: float
    """Mean over the last ten steps."""
    n_truncated: int
    """Training rows that did not fit the model's length."""


def fit(
    classifier: Classifier,
    rows: Rows,
    targets: np.ndarray,
    *,
    loss: Mapping[str, Any],
    training: Mapping[str, Any],
    lr: float,
    seed: int,
    watch: Watch,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
) -> Fit:
    """Train ``classifier`` in place.

    Args:
        targets: [N] float64, P(class 1) of each row.
        loss: name (key ``loss``) and parameters of the loss.
        training: the fields of ``TrainingConfig``.
        lr: peak learning rate.
        evaluate: gives the curve more columns at ``watch.eval_at``; it may use the classifier, without changing it.

    Raises:
        TrainingError: the loss or its gradient is not finite, or the loss explodes; one example does not fit into
            memory, or on several devices a portion; the optimizer is not installed, or the model cannot do without
            keeping inner results.
    """
    group = join(watch.n_devices, watch.device)
    shard(classifier, group, watch.device)
    device = classifier.to(watch.device).device
    tokens = tokenize(rows, classifier.tokenizer, classifier.max_length, watch.scratch)
    longest = int(tokens.lengths.max())
    _set_up(classifier, longest, training)
    plan = [
        batch
        for epoch in range(training["epochs"])
        for batch in batches(tokens.n_chars, training["batch_size"], training["batching"], (seed, epoch))
    ]
    evaluated = {math.ceil(share * len(plan)) for share in watch.eval_at} - {len(plan)} if evaluate else set()
    loss_function = LOSSES.get(loss["loss"])
    all_targets = torch.from_numpy(targets).to(device)
    all_ties = torch.from_numpy(tie_ranks(rows.ids)).to(device)

    def objective(logits: Tensor, batch: np.ndarray, progress: float) -> Loss:
        index = _on_device(batch, device)
        return loss_function(logits, Batch(all_targets[index], all_ties[index], progress), loss)

    optimizer = make_optimizer(classifier, training)
    parameters = [p for settings in optimizer.param_groups for p in settings["params"]]
    with (
        _seeded(group.seed(seed), device),
        recomputed_layers(classifier.backbone, enabled=watch.gradient_checkpointing),
    ):
        saved = watch.checkpoints and watch.checkpoints.resume({"attention": classifier.attention})
        if saved:
            put_back(classifier, optimizer, saved.tensors, saved.values["optimizer"])
        n_done, values = (saved.step, saved.values) if saved else (0, {"micro_tokens": watch.micro_tokens, "curve": {}})
        del saved  # it is as large as the training
        micro_tokens = values["micro_tokens"]
        curve = LossCurve(len(plan), watch, **values["curve"])
        for step, batch in enumerate(plan[n_done:], n_done + 1):
            step_lr = lr * lr_factor(step - 1, len(plan), training["schedule"], training["warmup_frac"])
            for settings in optimizer.param_groups:
                settings["lr"] = step_lr
            on_batch = partial(objective, progress=(step - 1) / len(plan))
            result, enough = _gradient(classifier, tokens, batch, micro_tokens, on_batch, group)
            if enough < micro_tokens:
                watch.say(f"out of memory at step {step}: from now on {enough} tokens at a time, not {micro_tokens}")
                micro_tokens = enough
            grad_norm = group.whole(torch.nn.utils.clip_grad_norm_(parameters, training["max_grad_norm"]))
            optimizer.step()
            n_tokens = int(tokens.lengths[batch].sum())
            row = {"step": step, "lr": step_lr, "examples": len(batch), "tokens": n_tokens}
            curve.add(row, result, grad_norm)
            if evaluate and step in evaluated:
                curve.fetch()
                watch.curve([{"step": step, **evaluate()}])
                _set_up(classifier, longest, training)
            if watch.checkpoints and step < len(plan) and watch.checkpoints.is_due():
                curve.fetch()
                watch.checkpoints.save(_checkpoint(step, classifier, optimizer, micro_tokens, curve))
            watch.progress(step, len(plan), "steps")
        curve.fetch()
    classifier.zero_grad()
    classifier.eval()
    return Fit(len(plan), float(np.mean(curve.recent)), tokens.n_truncated)


def predict(classifier: Classifier, rows: Rows, watch: Watch) -> np.ndarray:
    """P(class 1) of each row, [N] float64, in the order of the rows."""
    return predict_tokens(classifier, tokenize(rows, classifier.tokenizer, classifier.max_length, watch.scratch), watch)


def predict_tokens(classifier: Classifier, tokens: Tokens, watch: Watch) -> np.ndarray:
    """P(class 1) of each text, [N] float64, in every process; leaves the classifier in its mode for predictions."""
    group = join(watch.n_devices, watch.device)
    classifier.to(watch.device).eval()
    classifier.use_attention_for(int(tokens.lengths.max()))
    micro_tokens = min(watch.micro_tokens, CPU_TOKENS) if classifier.device.type == "cpu" else watch.micro_tokens
    probs = np.zeros(len(tokens))
    portions = micro_batches(tokens.lengths, np.arange(len(tokens)), micro_tokens)
    n_done = 0
    while portions:
        # One portion each; where there are fewer, some compute what another does too, since all have to compute.
        turn = portions[: group.size]
        try:
            # Not inference_mode: what a model computed in it and kept could not be trained on afterwards.
            with torch.no_grad():
                logits = _logits(classifier, tokens, turn[group.rank % len(turn)])
        except torch.OutOfMemoryError as error:
            enough = _fewer_tokens(tokens, turn, error, group)
            watch.say(f"out of memory: from now on {enough} tokens at a time, not {micro_tokens}")
            micro_tokens = enough
            portions = micro_batches(tokens.lengths, np.concatenate(portions), micro_tokens)
            continue
        if group.rank < len(turn):
            probs[turn[group.rank]] = logits[:, :2].double().softmax(-1)[:, 1].cpu().numpy()
        n_done += sum(len(portion) for portion in turn)
        del portions[: len(turn)]
        watch.progress(n_done, len(tokens), "rows")
    return probs if group.size == 1 else group.sum(torch.from_numpy(probs).to(classifier.device)).cpu().numpy()


def batches(n_chars: np.ndarray, batch_size: int, batching: str, seed: tuple[int, ...]) -> list[np.ndarray]:
    """Indices of one epoch's effective batches; only one of them is smaller than ``batch_size``.

    They follow from lengths in characters, not in tokens, and so are the same for every model.

    Args:
        n_chars: [N], length of each text.
        batching: ``bucketed`` (texts of similar length) or ``shuffled``.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(n_chars))
    if batching == "bucketed":
        pool = batch_size * POOL_BATCHES
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        order = np.concatenate([p[np.argsort(n_chars[p], kind="stable")] for p in pools])
    parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [parts[i] for i in rng.permutation(len(parts))]


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
    classifier.use_attention_for(longest)
    classifier.use_dropout(training["dropout"])


def _checkpoint(
    step: int, classifier: Classifier, optimizer: torch.optim.Optimizer, micro_tokens: int, curve: LossCurve
) -> Checkpoint:
    """What ``fit`` goes on from."""
    state = take(classifier, optimizer)
    about_curve = {"first": curve.first, "recent": curve.recent}
    return Checkpoint(
        step, state.tensors, {"optimizer": state.values, "micro_tokens": micro_tokens, "curve": about_curve}
    )


def _gradient(
    classifier: Classifier,
    tokens: Tokens,
    batch: np.ndarray,
    micro_tokens: int,
    objective: Objective,
    group: Group = ALONE,
) -> tuple[Loss, int]:
    """Set the gradient of the loss of one effective batch.

    Where memory runs out, tries again with half as many tokens at a time; returns what was enough, for the next batch.
    """
    while True:
        dealt = _deal(tokens.lengths, batch, micro_tokens, group.size)
        classifier.zero_grad()
        try:
            return _backward(classifier, tokens, dealt, objective, group), micro_tokens
        except torch.OutOfMemoryError as error:
            micro_tokens = _fewer_tokens(tokens, dealt[group.rank], error, group)


def _deal(lengths: np.ndarray, batch: np.ndarray, micro_tokens: int, size: int) -> list[list[np.ndarray]]:
    """The portions of a batch for each of ``size`` processes, which get rows of about the same lengths."""
    if size == 1:
        return [micro_batches(lengths, batch, micro_tokens)]
    batch = batch[np.argsort(-lengths[batch], kind="stable")]
    return [micro_batches(lengths, batch[rank::size], micro_tokens) for rank in range(size)]


def _fewer_tokens(tokens: Tokens, portions: list[np.ndarray], error: torch.OutOfMemoryError, group: Group) -> int:
    """How many tokens at a time to try where ``portions`` were too large."""
    largest = max((len(portion) * int(tokens.lengths[portion[0]]) for portion in portions), default=0)
    if group.size > 1:
        # The others wait in the middle of the model for a layer that will not come.
        raise TrainingError(
            f"memory ran out on one of {group.size} devices, with up to {largest} tokens at a time; "
            "lower runtime.micro_tokens, or give the model more devices"
        ) from error
    if all(len(portion) == 1 for portion in portions):
        raise TrainingError(
            f"one example of {largest} tokens does not fit into memory; lower the model's max_length"
        ) from error
    return largest // 2


def _backward(
    classifier: Classifier, tokens: Tokens, dealt: list[list[np.ndarray]], objective: Objective, group: Group
) -> Loss:
    """Add the gradient of the loss of all portions together, with the graph of only one in memory.

    Where a process has several, each is run twice: first for the logits that the loss needs, then, from the same random
    state, for its share of the gradient. A process with fewer portions than another computes a row whose gradient is 0.

    Args:
        dealt: portions of each process.
    """
    own, n_turns = dealt[group.rank], max(len(portions) for portions in dealt)
    turns = own + [dealt[0][-1][-1:]] * (n_turns - len(own))
    is_whole = n_turns == 1
    states: list[Tensor] = []
    logits: list[Tensor] = []
    with torch.set_grad_enabled(is_whole):
        for portion in turns:
            states.append(_random_state(classifier.device))
            logits.append(_trained_logits(classifier, tokens, portion, group))
    sizes = [sum(len(portion) for portion in portions) for portions in dealt]
    place = slice(sum(sizes[: group.rank]), sum(sizes[: group.rank + 1]))  # of this process's rows among all
    computed = torch.cat(logits).detach()
    leaf = computed.new_zeros(sum(sizes), computed.shape[1])  # [B, C]
    leaf[place] = computed[: sizes[group.rank]]
    group.sum(leaf).requires_grad_()
    loss = objective(leaf, np.concatenate([portion for portions in dealt for portion in portions]))
    loss.value.backward()
    gradient = torch.zeros_like(computed)
    gradient[: sizes[group.rank]] = group.times_size(leaf.grad[place])
    shares = gradient.split([len(portion) for portion in turns])
    if is_whole:
        logits[0].backward(shares[0])
        return loss
    for portion, state, share in zip(turns, states, shares, strict=True):
        _set_random_state(classifier.device, state)
        _trained_logits(classifier, tokens, portion, group).backward(share)
    return loss


def _trained_logits(classifier: Classifier, tokens: Tokens, portion: np.ndarray, group: Group) -> Tensor:
    """As ``_logits``, with the graphs of several passes in memory where one alone would compute much padding."""
    # Processes that share a model have to take the same number of passes.
    if classifier.device.type != "cpu" or group.size > 1:
        return _logits(classifier, tokens, portion)
    passes = split_by_length(tokens.lengths, portion, CPU_PASS_TOKENS)
    return torch.cat([_logits(classifier, tokens, rows) for rows in passes])


def _logits(classifier: Classifier, tokens: Tokens, portion: np.ndarray) -> Tensor:
    ids, mask = tokens.padded(portion, classifier.pad_id)
    return classifier(_on_device(ids, classifier.device), _on_device(mask, classifier.device))


def _on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy on the device, which a GPU fetches in its own time."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's random state is that of ``seed`` inside, and afterwards what it was before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
