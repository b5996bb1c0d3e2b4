"""The training loop and its mirror, prediction.

No models and no losses are defined here, and no files are read. Randomness comes from explicit generators and from
torch's state, which is put back as it was. Letters: N examples, B of them in an effective batch (one optimizer step).
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

from w2s_core.errors import TrainingError
from w2s_core.losses import LOSSES, Batch, Loss, tie_ranks
from w2s_core.models import Classifier
from w2s_core.rows import Rows
from w2s_core.tokenize import Tokens, micro_batches, tokenize
from w2s_core.watch import Watch

POOL_BATCHES = 16
"""Batches of similar length are cut from random pools of this many, so that they differ from epoch to epoch."""

CPU_TOKENS = 2_048
"""Padded tokens per forward pass of a prediction on a CPU, where more is slower (half as fast at 16,384)."""

N_RECENT = 10
"""Steps whose mean loss is reported as the training loss, and listed when it is not finite."""


Objective = Callable[[Tensor, np.ndarray], Loss]
"""Loss of the logits [B, 2] of the examples with the indices [B]."""


class Fit(NamedTuple):
    """How a training went."""

    n_steps: int
    train_loss: float
    """Mean over the last ``N_RECENT`` steps."""
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
) -> Fit:
    """Train ``classifier`` in place.

    Args:
        targets: [N] float64, P(class 1) of each row.
        loss: name (key ``loss``) and parameters of the loss.
        training: the fields of ``TrainingConfig``.
        lr: peak learning rate.

    Raises:
        TrainingError: the loss or its gradient is not finite, or one example does not fit into memory.
    """
    device = classifier.to(watch.device).device
    tokens = tokenize(rows, classifier.tokenizer, classifier.max_length)
    classifier.use_attention_for(int(tokens.lengths.max()))
    classifier.use_dropout(training["dropout"])
    n_chars = np.array([len(a) + len(b) for a, b in zip(rows.passages, rows.prompts, strict=True)])
    plan = [
        batch
        for epoch in range(training["epochs"])
        for batch in batches(n_chars, training["batch_size"], training["batching"], (seed, epoch))
    ]
    loss_function = LOSSES.get(loss["loss"])
    all_targets = torch.from_numpy(targets).to(device)
    all_ties = torch.from_numpy(tie_ranks(rows.ids)).to(device)

    def objective(logits: Tensor, batch: np.ndarray, progress: float) -> Loss:
        index = torch.from_numpy(batch).to(device)
        return loss_function(logits, Batch(all_targets[index], all_ties[index], progress), loss)

    optimizer = _optimizer(classifier, training)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    micro_tokens = watch.micro_tokens
    recent: list[float] = []
    with _seeded(seed, device):
        for step, batch in enumerate(plan):
            step_lr = lr * lr_factor(step, len(plan), training["schedule"], training["warmup_frac"])
            for group in optimizer.param_groups:
                group["lr"] = step_lr
            on_batch = partial(objective, progress=step / len(plan))
            result, micro_tokens = _gradient(classifier, tokens, batch, micro_tokens, on_batch)
            grad_norm = torch.nn.utils.clip_grad_norm_(parameters, training["max_grad_norm"]).item()
            value = result.value.item()
            if not math.isfinite(value + grad_norm):
                before = ", ".join(f"{x:.4g}" for x in recent) or "none"
                raise TrainingError(
                    f"loss {value:.4g} with gradient norm {grad_norm:.4g} at step {step + 1} of {len(plan)}, "
                    f"learning rate {step_lr:.3g}; losses before: {before}; lower the model's lr"
                )
            optimizer.step()
            recent = [*recent, value][-N_RECENT:]
            log = {name: float(x) for name, x in result.log.items()}
            watch.curve({"step": step + 1, "loss": value, "lr": step_lr, "grad_norm": grad_norm, **log})
            watch.progress(step + 1, len(plan), "steps")
    classifier.zero_grad()
    classifier.eval()
    return Fit(len(plan), float(np.mean(recent)), tokens.n_truncated)


def predict(classifier: Classifier, rows: Rows, watch: Watch) -> np.ndarray:
    """P(class 1) of each row, [N] float64, in the order of the rows."""
    classifier.to(watch.device).eval()
    tokens = tokenize(rows, classifier.tokenizer, classifier.max_length)
    classifier.use_attention_for(int(tokens.lengths.max()))
    micro_tokens = min(watch.micro_tokens, CPU_TOKENS) if classifier.device.type == "cpu" else watch.micro_tokens
    probs = np.empty(len(rows))
    n_done = 0
    with torch.inference_mode():
        for portion in micro_batches(tokens.lengths, np.arange(len(rows)), micro_tokens):
            logits = _logits(classifier, tokens, portion)
            probs[portion] = logits.double().softmax(-1)[:, 1].cpu().numpy()
            n_done += len(portion)
            watch.progress(n_done, len(rows), "rows")
    return probs


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


def _optimizer(classifier: Classifier, training: Mapping[str, Any]) -> torch.optim.AdamW:
    """AdamW on what is trainable; biases and norms do not decay."""
    trainable = [p for p in classifier.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": training["weight_decay"]},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(training["beta1"], training["beta2"]), fused=True)


def _gradient(
    classifier: Classifier, tokens: Tokens, batch: np.ndarray, micro_tokens: int, objective: Objective
) -> tuple[Loss, int]:
    """Set the gradient of the loss of one effective batch.

    Where memory runs out, tries again with half as many tokens at a time; returns what was enough, for the next batch.
    """
    while True:
        portions = micro_batches(tokens.lengths, batch, micro_tokens)
        classifier.zero_grad()
        try:
            return _backward(classifier, tokens, portions, objective), micro_tokens
        except torch.OutOfMemoryError as error:
            largest = max(len(portion) * int(tokens.lengths[portion[0]]) for portion in portions)
            if len(portions) == len(batch):
                raise TrainingError(
                    f"one example of {largest} tokens does not fit into memory; lower the model's max_length"
                ) from error
        micro_tokens = largest // 2


def _backward(classifier: Classifier, tokens: Tokens, portions: list[np.ndarray], objective: Objective) -> Loss:
    """Add the gradient of the loss of all ``portions`` together, with the graph of only one in memory.

    Where there are several, each is run twice: first for the logits that the loss needs, then, from the same random
    state, for its share of the gradient.
    """
    is_whole = len(portions) == 1
    states: list[Tensor] = []
    logits: list[Tensor] = []
    with torch.set_grad_enabled(is_whole):
        for portion in portions:
            states.append(_random_state(classifier.device))
            logits.append(_logits(classifier, tokens, portion))
    leaf = torch.cat(logits).detach().requires_grad_()  # [B, 2]
    loss = objective(leaf, np.concatenate(portions))
    loss.value.backward()
    shares = leaf.grad.split([len(portion) for portion in portions])
    if is_whole:
        logits[0].backward(shares[0])
        return loss
    for portion, state, share in zip(portions, states, shares, strict=True):
        _set_random_state(classifier.device, state)
        _logits(classifier, tokens, portion).backward(share)
    return loss


def _logits(classifier: Classifier, tokens: Tokens, portion: np.ndarray) -> Tensor:
    ids, mask = tokens.padded(portion, classifier.pad_id)
    device = classifier.device
    return classifier(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))


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
