"""Rows laid end to end, as one sequence without padding: a backbone's pass over them, and whether it can take one.

Positions start again with every row. That no token sees another row is for the kernel ``PACKED`` of ``attention``.
Letters: B rows, T tokens of the longest, S tokens of all rows together, D hidden size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from w2s_core.models.attention import FUSED, PACKED, Layout, register_kernels

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

PROBES = ((1, 2, 0, 2, 1), (2, 1, 1, 0, 2, 2, 1, 0, 1), (2, 0, 1, 1, 2), (1,), (2,))
"""Rows that a model has to tell apart: with what may be its padding, of one length and another, of a single token."""


def on_device(array: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """A copy on the device, which a GPU fetches in its own time."""
    tensor = torch.as_tensor(array)
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def packed_states(backbone: nn.Module, input_ids: Tensor, mask: Tensor, device: torch.device) -> tuple[Tensor, Layout]:
    """Last hidden states [S, D] of all rows, one after the other, and how they lie.

    Args:
        input_ids: [B, T] int64, best where the rows are: on the CPU, since a GPU would have to be waited for.
        mask: [B, T] int64, 1 on text.
        device: of the backbone.
    """
    kept = mask.bool()
    # Some count only what is not padding, from after its id on, and give the padding the position of its id.
    before = next((module.padding_idx for module in counted_positions(backbone)), -1)
    counted = kept & (input_ids != before)
    positions = (counted.cumsum(1) * counted + before)[kept]  # [S]
    ids = input_ids[kept]
    lengths = mask.sum(1)
    starts = nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
    layout = Layout.of(lengths.tolist(), on_device(starts, device))
    states = backbone(
        input_ids=on_device(ids[None], device),
        attention_mask=torch.ones(1, len(ids), dtype=torch.int64, device=device),
        position_ids=on_device(positions[None], device),
        layout=layout,
    ).last_hidden_state
    return states[0], layout


def counted_positions(backbone: nn.Module) -> list[nn.Embedding]:
    """The embeddings of positions that are counted from after the id of the padding, as RoBERTa's."""
    return [
        module
        for name, module in backbone.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]


def longest_text(wanted: int, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, backbone: nn.Module) -> int:
    """``wanted``, or less where the model has fewer positions; some count from after the padding index."""
    limits = [getattr(config, field, None) for field in ("max_position_embeddings", "max_seq_len")]
    limits += [len(module.weight) - module.padding_idx - 1 for module in counted_positions(backbone)]
    # XLNet says -1 for none.
    positions = [limit for limit in limits if isinstance(limit, int) and limit > 0]
    return min(wanted, tokenizer.model_max_length, *positions)


def pool_packed(states: Tensor, layout: Layout, pooling: str) -> Tensor:
    """[B, D] from hidden states [S, D]: of the last or first token of each row, or the mean over it."""
    if pooling == "mean":
        return torch.segment_reduce(states, "mean", offsets=layout.starts.long())
    return states[layout.starts[:-1] if pooling == "first" else layout.starts[1:] - 1]


def is_packable(backbone: nn.Module) -> bool:
    """Whether every row has the hidden states that it has alone; of a model on the CPU, in float32.

    A model that mixes neighbouring tokens outside of attention, has positions or attention of its own, or attends to a
    part of a row only, either has others or raises an error.
    """
    if backbone.config._attn_implementation != FUSED:
        return False
    was_training = backbone.training
    longest = max(map(len, PROBES))
    ids = torch.tensor([[*probe, *[0] * (longest - len(probe))] for probe in PROBES])
    mask = torch.tensor([[1] * len(probe) + [0] * (longest - len(probe)) for probe in PROBES])
    register_kernels()
    backbone.eval()
    try:
        with torch.no_grad():
            alone = [
                backbone(input_ids=row[None, :n], attention_mask=torch.ones(1, n, dtype=torch.int64)).last_hidden_state
                for row, n in zip(ids, mask.sum(1).tolist(), strict=True)
            ]
            backbone.set_attn_implementation(PACKED)
            packed, _ = packed_states(backbone, ids, mask, ids.device)
    except Exception:  # of hundreds of families, each with its own
        return False
    finally:
        backbone.set_attn_implementation(FUSED)
        backbone.train(was_training)
    expected = torch.cat(alone, 1)[0]
    return packed.shape == expected.shape and torch.allclose(
        packed, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())
    )
