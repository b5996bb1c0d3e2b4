"""The stage ``pretrain``: a small GPT-2 trained from scratch on one pass of a corpus that is generated.

It makes the models of the offline ladders; finetuning them, like any other model, is in ``trainings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from w2s_core.config import PretrainConfig, WorldConfig
from w2s_core.offline.corpora import CORPORA
from w2s_core.offline.world import build_world
from w2s_core.training.language import UNCOUNTED, train_language_model
from w2s_core.watch import Watch

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast


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
    corpus = CORPORA.get(config.corpus)
    tokenizer = corpus.tokenizer(world, config.n_words, config.sequence_length)
    batches, asks = corpus.lines(world, config, tokenizer)
    wanted = None if asks is None else batches.where(asks, UNCOUNTED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _build(config, tokenizer).to(watch.device)
    loss = train_language_model(model, batches, config.lr, watch, wanted)
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    n_parameters = sum(p.numel() for p in model.parameters())
    return {"loss": loss, "n_parameters": n_parameters, "n_steps": len(batches)}


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
