"""How attention is computed: which kernel, by device, precision and length, and those of them that are our own.

Nothing is timed here. Letters: B examples, H heads (of which G hold keys and values), T tokens, S tokens of all
examples together, D size of a head.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import bidirectional_mask_function, causal_mask_function, eager_mask

PLAIN = "plain"
"""What transformers knows our kernel for padded texts by."""
PACKED = "packed"
"""What it knows our kernel by for texts that lie end to end."""
FUSED = "sdpa"
"""What it calls the kernel of PyTorch; a model for which it chooses another has attention of a kind of its own."""


class Choice(NamedTuple):
    """Up to which length products of matrices are used instead of the fused kernel."""

    device: str
    precision: str
    n_tokens: int


CHOICES = (
    # As ``bench/attention.py`` measured forward and backward pass of the 22M encoder. In fp32 the fused kernel is never
    # slower; in bf16 its backward pass takes up to twice as long at 128 tokens.
    Choice("cpu", "bf16", 512),
)
"""Where they are faster."""

HARMLESS = {"is_causal", "sliding_window", "position_ids", "use_cache", "output_attentions", "layer_idx"}
"""What models tell a kernel besides, that is in the mask already or changes no result."""


WINDOWS = {"sliding_window"}
"""Of those, what is in a mask only."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How texts lie in one sequence, end to end."""

    runs: list[tuple[int, int]]
    """How many texts of one length stand together, and that length."""
    starts: Tensor
    """[B + 1] int32, on the model's device: where each starts, and S."""

    @classmethod
    def of(cls, lengths: list[int], starts: Tensor) -> Layout:
        """Of texts with [B] tokens each."""
        return cls([(len(list(same)), length) for length, same in itertools.groupby(lengths)], starts)


def use_attention(
    backbone: nn.Module, fused: str, device: str, precision: str, n_tokens: int, *, is_packable: bool
) -> None:
    """Choose the kernel for texts of up to ``n_tokens``, in the mode that the model is in.

    Args:
        fused: what transformers chose for the model; a model for which that is not ``FUSED`` keeps it.
        is_packable: whether the model's texts may lie end to end.
    """
    register_kernels()
    # The kernel of a GPU for such texts has neither float32 nor dropout.
    if is_packable and (device == "cpu" or (precision == "bf16" and not backbone.training and _has_varlen())):
        backbone.set_attn_implementation(PACKED)
    else:
        backbone.set_attn_implementation(PLAIN if fused == FUSED and _is_plain(device, precision, n_tokens) else fused)


def register_kernels() -> None:
    """Let transformers know our kernels by their names."""
    AttentionInterface.register(PLAIN, plain_attention)
    AttentionMaskInterface.register(PLAIN, plain_mask)
    AttentionInterface.register(PACKED, packed_attention)
    AttentionMaskInterface.register(PACKED, packed_mask)


def _is_plain(device: str, precision: str, n_tokens: int) -> bool:
    return any((device, precision) == (c.device, c.precision) and n_tokens <= c.n_tokens for c in CHOICES)


def _has_varlen() -> bool:
    """Whether the GPU has a kernel for texts of any lengths."""
    return importlib.util.find_spec("torch.nn.attention.varlen") is not None and (
        torch.cuda.get_device_capability() >= (8, 0)
    )


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


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    *,
    layout: Layout,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention inside each of several texts that lie end to end, all of one length at once; nothing is padded.

    Args:
        query: [1, H, S, D].
        key: [1, G, S, D].
        value: [1, G, S, D].
        attention_mask: None, as ``packed_mask`` says.
        layout: what the model was called with; it hands on what it does not know.

    Returns:
        [1, S, H, D], and no weights.

    Raises:
        NotImplementedError: the model wants something that this kernel does not know.
    """
    if unknown := {name for name, given in more.items() if given is not None} - (HARMLESS - WINDOWS):
        raise NotImplementedError(f"{', '.join(sorted(unknown))} for texts end to end")
    is_causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    # Rotated ones are in float32 under autocast.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if value.is_cuda and value.dtype == torch.bfloat16 and not dropout and value.shape[-1] % 8 == 0:
        return _varlen(query, key, value, scaling, is_causal, layout), None
    sizes = [n * length for n, length in layout.runs]
    found = []
    for (n, length), *parts in zip(layout.runs, *(x[0].split(sizes, 1) for x in (query, key, value)), strict=True):
        of_run = [part.unflatten(1, (n, length)).transpose(0, 1) for part in parts]  # [n, H, length, D]
        precision = "bf16" if value.dtype == torch.bfloat16 else "fp32"
        if _is_plain(value.device.type, precision, length):
            mask = _causal_mask(length, value) if is_causal else None
            output, _ = plain_attention(module, *of_run, mask, scaling=scaling, dropout=dropout)
        else:
            output, _ = sdpa_attention_forward(
                module, *of_run, None, scaling=scaling, dropout=dropout, is_causal=is_causal
            )
        found.append(output.flatten(0, 1))
    return torch.cat(found)[None], None


def packed_mask(*args: Any, mask_function: Callable[..., Any], **more: Any) -> None:
    """No mask; a model in which a text's tokens see others than all of it, or all before them, is refused.

    Raises:
        NotImplementedError: it is one.
    """
    if mask_function not in (causal_mask_function, bidirectional_mask_function):
        raise NotImplementedError("a mask of a kind of its own, for texts end to end")


def _causal_mask(n_tokens: int, like: Tensor) -> Tensor:
    """[1, 1, T, T], added to the scores."""
    return like.new_full((1, 1, n_tokens, n_tokens), torch.finfo(like.dtype).min).triu(1)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, is_causal: bool, layout: Layout
) -> Tensor:
    """The same in one call, on a GPU."""
    from torch.nn.attention.varlen import varlen_attn

    longest = max(length for _, length in layout.runs)
    query, key, value = (x[0].transpose(0, 1) for x in (query, key, value))  # [S, H, D]
    return varlen_attn(
        query,
        key,
        value,
        layout.starts,
        layout.starts,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0 if is_causal else -1),
        enable_gqa=query.shape[1] != key.shape[1],
    )[None]
