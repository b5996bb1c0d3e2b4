"""The stage ``pretrain``: a small GPT-2 trained from scratch on one pass of the world's corpus.

It makes the models of the offline ladder; finetuning them, like any other model, is in ``trainings``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from w2s_core.config import PretrainConfig, WorldConfig
from w2s_core.errors import TrainingError
from w2s_core.offline.world import World, build_tokenizer, build_world, corpus
from w2s_core.training.state import put_back, take
from w2s_core.watch import Checkpoint, Watch

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

WARMUP_FRAC = 0.05
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0
CURVE_EVERY = 10


def pretrain(params: Mapping[str, Any], inputs: Mapping[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Train one model and save it with its tokenizer.

    Args:
        params: the fields of a ``PretrainConfig``, and ``world``, those of a ``WorldConfig``.
        inputs: none.
        out: gets ``model``, a folder that transformers loads.
        watch: hears of every step.

    Raises:
        TrainingError: the loss is not finite any more.
    """
    world = build_world(WorldConfig(**params["world"]))
    config = PretrainConfig(**{name: value for name, value in params.items() if name != "world"})
    tokenizer = build_tokenizer(world, config.n_words, config.sequence_length)
    batches = token_batches(world, config, tokenizer)  # [S, B, T]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _build(config, tokenizer).to(watch.device)
    loss = _train(model, batches, config.lr, watch)
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    n_parameters = sum(p.numel() for p in model.parameters())
    return {"loss": loss, "n_parameters": n_parameters, "n_steps": len(batches)}


def token_batches(world: World, config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """The corpus as S batches of B sequences of T tokens, cut without regard to documents; [S, B, T] int64."""
    n_steps = max(1, config.n_tokens // (config.batch_size * config.sequence_length))
    n_tokens = n_steps * config.batch_size * config.sequence_length
    tokens: list[int] = []
    for document in corpus(world, config.seed):
        tokens += tokenizer(document)["input_ids"] + [tokenizer.eos_token_id]
        if len(tokens) >= n_tokens:
            break
    return torch.tensor(tokens[:n_tokens]).view(n_steps, config.batch_size, config.sequence_length)


def _build(config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    from transformers import GPT2Config, GPT2LMHeadModel

    size = config.size
    architecture = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=config.sequence_length,
        n_embd=size.width,
        n_layer=size.n_layers,
        n_head=size.n_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # For sequences this short the plain implementation is the faster one on a CPU.
        attn_implementation="eager",
    )
    return GPT2LMHeadModel(architecture)


def _train(model: GPT2LMHeadModel, batches: torch.Tensor, peak_lr: float, watch: Watch) -> float:
    """One pass over ``batches``; returns the mean loss of the last tenth, in nats per token."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_lr, weight_decay=WEIGHT_DECAY, fused=True)
    losses: list[float] = []
    saved = watch.checkpoints and watch.checkpoints.resume({})
    if saved:
        put_back(model, optimizer, saved.tensors, saved.values["optimizer"])
        losses += saved.values["losses"]
    model.train()
    for step, batch in enumerate(batches[len(losses) :], len(losses)):
        for group in optimizer.param_groups:
            group["lr"] = peak_lr * _schedule((step + 1) / len(batches))
        tokens = batch.to(model.device)  # (B, T)
        logits = model(input_ids=tokens, use_cache=False).logits  # (B, T, V)
        loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise TrainingError(f"pretraining diverged: loss {losses[-1]} at step {step}; lower lr (now {peak_lr})")
        if step % CURVE_EVERY == 0:
            watch.curve([{"step": step + 1, "loss": losses[-1], "lr": optimizer.param_groups[0]["lr"]}])
        if watch.checkpoints and step + 1 < len(batches) and watch.checkpoints.is_due():
            state = take(model, optimizer)
            watch.checkpoints.save(
                Checkpoint(step + 1, state.tensors, {"losses": list(losses), "optimizer": state.values})
            )
        watch.progress(step + 1, len(batches), "steps")
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)


def _schedule(done: float) -> float:
    """Share of the peak learning rate when ``done`` of the steps are made: a linear warm-up, then a cosine to 0."""
    if done < WARMUP_FRAC:
        return done / WARMUP_FRAC
    return 0.5 * (1 + math.cos(math.pi * (done - WARMUP_FRAC) / (1 - WARMUP_FRAC)))
