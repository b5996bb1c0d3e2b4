"""The stage ``pretrain_images``: a small ConvNeXt that learns which two generated images belong together.

It makes the image models of the offline ladder; finetuning and probing them is as of any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import ConvNextConfig, ConvNextImageProcessorPil, ConvNextModel

from w2s_core.config import ImagePretrainConfig, WorldConfig
from w2s_core.errors import TrainingError
from w2s_core.offline.pictures import SIDE, pairs_of_views
from w2s_core.watch import Watch

TEMPERATURE = 0.5
"""Of the similarities; a choice of this project, as is the scale of layers, with 1e-6 of which little is learned."""


def pretrain_images(params: Mapping[str, Any], inputs: Mapping[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Train one model and save it with its processor; of no steps, it is as it starts.

    Args:
        params: the fields of an ``ImagePretrainConfig``, and ``world``, those of a ``WorldConfig``.
        inputs: none.
        out: gets ``model``, a folder that transformers loads.
        watch: hears of every step.

    Raises:
        TrainingError: the loss is not finite any more.
    """
    world = WorldConfig(**params["world"])
    config = ImagePretrainConfig(**{name: value for name, value in params.items() if name != "world"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = ConvNextModel(
            ConvNextConfig(
                image_size=SIDE,
                patch_size=4,
                num_stages=len(config.widths),
                hidden_sizes=list(config.widths),
                depths=list(config.depths),
                layer_scale_init_value=1.0,
            )
        )
        loss = _train(model, config, world, watch)
    model.save_pretrained(out / "model")
    processor = ConvNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_pct=1.0, resample=2)
    processor.image_mean, processor.image_std = [0.5] * 3, [0.25] * 3
    processor.save_pretrained(out / "model")
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"loss": loss, "n_steps": config.n_steps, "n_parameters": n_parameters}


def _train(model: ConvNextModel, config: ImagePretrainConfig, world: WorldConfig, watch: Watch) -> float | None:
    """SimCLR (Chen et al. 2020) without augmentations: two images of a pair are two draws of what is generated.

    Returns the mean loss of the last tenth of the steps, in nats; log(2 B - 1) is that of knowing nothing.
    """
    if not config.n_steps:
        return None
    model = model.to(watch.device).train()
    head = nn.Sequential(nn.Linear(config.widths[-1], 64), nn.ReLU(), nn.Linear(64, 32)).to(watch.device)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=config.lr)
    losses: list[float] = []
    for step in range(config.n_steps):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * step / config.n_steps))
        views = torch.from_numpy(pairs_of_views(world, config.batch_size, step)).to(watch.device)
        pixels = (views.flatten(0, 1).float() / 255 - 0.5) / 0.25  # [2 B, 3, H, W], a pair side by side
        loss = contrast(head(model(pixel_values=pixels).pooler_output))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise TrainingError(f"pretraining diverged: loss {losses[-1]} at step {step}; lower lr (now {config.lr})")
        watch.progress(step + 1, config.n_steps, "steps")
    model.to("cpu").eval()
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)


def contrast(vectors: torch.Tensor) -> torch.Tensor:
    """Mean over [2 B, D] vectors, pairs side by side, of -log softmax of the similarity to the partner."""
    unit = functional.normalize(vectors, dim=1)
    similar = unit @ unit.T / TEMPERATURE
    similar = similar.masked_fill(torch.eye(len(unit), dtype=torch.bool, device=unit.device), -math.inf)
    partner = torch.arange(len(unit), device=unit.device) ^ 1
    return functional.cross_entropy(similar, partner)
