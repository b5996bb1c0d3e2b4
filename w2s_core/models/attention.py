"""How attention is computed: which kernel, by device, precision and length, and the one of them that is our own.

Nothing is timed here. Letters: B examples, H heads (of which G hold keys and values), T tokens, D size of a head.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import eager_mask

PLAIN = "plain"
"""What transformers knows our kernel by."""


class Choice(NamedTuple):
    """Up to which length our kernel is used instead of the fused one of PyTorch."""

    device: str
    precision: str
    n_tokens: int


CHOICES = (
    # As ``bench/attention.py`` measured forward and backward pass of the 22M encoder. In fp32 the fused kernel is never
    # slower; in bf16 its backward pass takes up to twice as long at 128 tokens.
    Choice("cpu", "bf16", 512),
)
"""Where our kernel is faster."""

HARMLESS = {"is_causal", "sliding_window", "position_ids", "use_cache", "output_attentions", "layer_idx"}
"""What models tell a kernel besides, that is in the mask already or changes no result."""


def use_attention(backbone: nn.Module, fused: str, device: str, precision: str, n_tokens: int) -> None:
    """Choose the kernel for texts of up to ``n_tokens``.

    Args:
        fused: what transformers chose for the model; a model for which that is not ``sdpa`` keeps it, since its
            attention is of a kind of its own.
    """
    is_plain = fused == "sdpa" and any(
        (device, precision) == (choice.device, choice.precision) and n_tokens <= choice.n_tokens for choice in CHOICES
    )
    register_plain()
    backbone.set_attn_implementation(PLAIN if is_plain else fused)


def register_plain() -> None:
    """Let transformers know our kernel by its name."""
    AttentionInterface.register(PLAIN, plain_attention)
    AttentionMaskInterface.register(PLAIN, plain_mask)


def plain_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention as products of matrices, with every large tensor in the precision of ``query``.

    What transformers calls ``eager`` adds a float32 mask to bf16 scores, which makes all that follows twice as large.

    Args:
        query: [B, H, T, D].
        key: [B, G, T, D].
        value: [B, G, T, D].
        attention_mask: [B, 1, T, T], added to the scores; or None, where every token sees every other.

    Returns:
        [B, T, H, D], and no weights.
    """
    if any(given is not None and name not in HARMLESS for name, given in more.items()):
        mask = None if attention_mask is None else attention_mask.to(query.dtype)
        return sdpa_attention_forward(
            module, query, key, value, mask, dropout=dropout, scaling=scaling, **more | {"is_causal": False}
        )
    n_shared = query.shape[1] // key.shape[1]
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = (query * scaling) @ repeat_kv(key, n_shared).transpose(2, 3)  # [B, H, T, T]
    if attention_mask is not None:
        scores += attention_mask
    weights = nn.functional.dropout(scores.softmax(-1), dropout, module.training)
    return (weights @ repeat_kv(value, n_shared)).transpose(1, 2).contiguous(), None


def plain_mask(*args: Any, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", **more: Any) -> Any:
    """What ``eager_mask`` of transformers makes, in the precision that the scores will have."""
    kind = torch.device(device).type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else dtype
    return eager_mask(*args, dtype=dtype, device=device, **more)
