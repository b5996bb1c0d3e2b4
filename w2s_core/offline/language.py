"""The corpus ``words``: texts of the generated world end to end, read by a tokenizer of its words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from w2s_core.config import PretrainConfig
from w2s_core.offline.corpora import CORPORA, Corpus, Lines
from w2s_core.offline.world import World, build_tokenizer, corpus

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def lines(world: World, config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> Lines:
    """The corpus, cut without regard to documents."""
    shape = config.n_steps, config.batch_size, config.sequence_length
    n_tokens = math.prod(shape)
    tokens: list[int] = []
    for document in corpus(world, config.seed):
        tokens += tokenizer(document)["input_ids"] + [tokenizer.eos_token_id]
        if len(tokens) >= n_tokens:
            break
    return Lines(torch.tensor(tokens[:n_tokens]).view(shape))


CORPORA.register("words", Corpus(build_tokenizer, lines))
