"""What models without pretrained weights are pretrained on, and the tokenizers that they read it with, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from w2s_core.config import PretrainConfig
from w2s_core.offline.world import World
from w2s_core.registry import Registry

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Lines(NamedTuple):
    """S batches of B sequences of T tokens."""

    tokens: torch.Tensor
    """[S, B, T] int64."""
    asks: torch.Tensor | None = None
    """[S, B, T] bool, whether the loss asks for a token; None: for all."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """One of them."""

    tokenizer: Callable[[World, int | None, int], PreTrainedTokenizerFast]
    """``(world, n_words, max_length)``: see ``PretrainConfig.n_words`` and ``ModelConfig.max_length``."""
    lines: Callable[[World, PretrainConfig, PreTrainedTokenizerFast], Lines]
    """What a model is pretrained on, once."""


CORPORA: Registry[Corpus] = Registry(
    "corpus", param="corpus", modules=("w2s_core.offline.language", "w2s_core.offline.positions")
)
