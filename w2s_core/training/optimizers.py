"""The optimizers that a training can name, and which of its weights decay.

Their learning rate is set anew before every step, by ``w2s_core.training.fit``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from w2s_core.errors import TrainingError
from w2s_core.registry import Registry

if TYPE_CHECKING:
    import torch

MakeOptimizer = Callable[[list[dict[str, Any]], Mapping[str, Any]], "torch.optim.Optimizer"]
"""``(parameter groups, fields of TrainingConfig) -> optimizer``."""

OPTIMIZERS: Registry[MakeOptimizer] = Registry(
    "optimizer", param="training.optimizer", modules=("w2s_core.training.optimizers",)
)


def make_optimizer(module: torch.nn.Module, training: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer that ``training`` names, on what is trainable in ``module``; biases and norms do not decay."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": training["weight_decay"]},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS.get(training["optimizer"])([group for group in groups if group["params"]], training)


@OPTIMIZERS.register("adamw")
def adamw(groups: list[dict[str, Any]], training: Mapping[str, Any]) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019), fused: 8 bytes of state per weight."""
    from torch.optim import AdamW

    return AdamW(groups, betas=(training["beta1"], training["beta2"]), fused=True)


@OPTIMIZERS.register("adafactor")
def adafactor(groups: list[dict[str, Any]], training: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Adafactor (Shazeer & Stern 2018) without first moment: state of one row and one column per matrix.

    That of transformers, with steps that are not scaled by the size of the weights, so that a learning rate means what
    it means for AdamW, and a head of zeros moves. (That of torch always scales them, and waits for the GPU each time.)
    """
    from transformers.optimization import Adafactor

    return Adafactor(groups, lr=0.0, scale_parameter=False, relative_step=False, warmup_init=False)


@OPTIMIZERS.register("adamw8bit")
def adamw8bit(groups: list[dict[str, Any]], training: Mapping[str, Any]) -> torch.optim.Optimizer:
    """AdamW with block-wise quantized state (Dettmers et al. 2022), of the package bitsandbytes: 2 bytes per weight."""
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise TrainingError(
            "training.optimizer: adamw8bit needs the package bitsandbytes, which is not installed; "
            "pip install bitsandbytes, or choose adamw or adafactor"
        ) from error
    return AdamW8bit(groups, betas=(training["beta1"], training["beta2"]))
