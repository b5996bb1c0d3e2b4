"""All that a training carries from one optimizer step to the next: weights, state of optimizer and loss, random state.

Copies out and back, for checkpoints; when they are taken and how they are kept is for whoever watches the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from w2s_core.models.classifier import Classifier


class State(NamedTuple):
    """A training between two steps; the names in both mappings belong to this module."""

    tensors: dict[str, Tensor]
    """On the CPU, sharing no memory with the training."""
    values: dict[str, Any]
    """What is no tensor, as JSON."""


def take(classifier: Classifier | PreTrainedModel, optimizer: torch.optim.Optimizer) -> State:
    """Copy the state of a training on ``classifier``'s device; frozen weights are no part of it."""
    tensors = {f"weight/{name}": p for name, p in classifier.named_parameters() if p.requires_grad}
    tensors |= {f"buffer/{name}": buffer for name, buffer in classifier.named_buffers()}
    values = {}
    for i, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state[parameter].items():
            kind = tensors if isinstance(value, Tensor) else values
            kind[f"optimizer/{i}/{name}"] = value
    tensors["random/cpu"] = torch.get_rng_state()
    if classifier.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(classifier.device)
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    return State(copies, values)


def put_back(
    classifier: Classifier | PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Any],
) -> None:
    """Make a training what it was when ``take`` copied it; it must be of the same model, device and optimizer."""
    weights, buffers = dict(classifier.named_parameters()), dict(classifier.named_buffers())
    of_optimizer: dict[int, dict[str, Any]] = {}
    with torch.no_grad():
        for full_name, value in [*tensors.items(), *values.items()]:
            kind, _, name = full_name.partition("/")
            if kind == "weight":
                weights[name].copy_(value)
            elif kind == "buffer":
                buffers[name].copy_(value)
            elif kind == "optimizer":
                index, _, name = name.partition("/")
                of_optimizer.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": of_optimizer, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random/cpu"])
    if classifier.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random/cuda"], classifier.device)


def take_loss(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy the state of a loss; its names are others than those of ``take``, which it may be kept with."""
    return {f"loss/{name}": value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}


def loss_in(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The state of a loss among what was kept."""
    return {name.removeprefix("loss/"): tensors[name].to(device) for name in tensors if name.startswith("loss/")}


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """In the order in which ``load_state_dict`` counts them."""
    return [p for group in optimizer.param_groups for p in group["params"]]
