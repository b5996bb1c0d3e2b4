"""Several processes, a GPU (or some cores) each, that train one model together; or one process, without any of this.

Each holds a share of every weight, its gradient and its optimizer state (FSDP2: Zhao et al. 2023,
``torch.distributed.fsdp.fully_shard``), and all of them must call the model equally often. Who computes which rows is
for ``fit``. The processes are started by whoever runs the stage; they find each other by ``accelerate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from w2s_core.errors import TrainingError

if TYPE_CHECKING:
    from w2s_core.models.classifier import Classifier


@dataclass(frozen=True, slots=True)
class Group:
    """The processes that train one model; ``sum`` and ``whole`` wait for all of them."""

    rank: int
    """Of this process, from 0."""
    size: int

    def seed(self, seed: int) -> int:
        """A seed of this process's own, so that no two of them drop the same units; the first has ``seed`` itself."""
        return seed if self.rank == 0 else int(np.random.SeedSequence((seed, self.rank)).generate_state(1)[0])

    def times_size(self, gradient: Tensor) -> Tensor:
        """What to pass to ``backward`` for the sum of the gradients of all processes, of which FSDP takes the mean."""
        return gradient * self.size

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place; where all but one hold zeros, what that one holds."""
        if self.size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def whole(self, tensor: Tensor) -> Tensor:
        """What is made of sharded parameters, in one piece."""
        return tensor.full_tensor() if self.size > 1 else tensor


ALONE = Group(rank=0, size=1)


def join(n_devices: int, device: str) -> Group:
    """The group of ``n_devices`` processes that this process was started in; waits for the others.

    Args:
        device: ``"cpu"`` or ``"cuda"``, of which each process gets one.
    """
    if n_devices == 1:
        return ALONE
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    assert state.num_processes == n_devices, f"{state.num_processes} processes were started, not {n_devices}"
    return Group(state.process_index, state.num_processes)


def leave() -> None:
    """Part from the group, if there is one; nobody needs the others any more."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def shard(classifier: Classifier, group: Group, device: str) -> None:
    """Leave this process its share of the weights, on its device; layers are whole only while they compute.

    The model comes as on one device, the same in every process.

    Raises:
        TrainingError: it is one whose texts cannot be padded.
    """
    if group.size == 1:
        return
    if not classifier.is_padded:
        # Processes would take different numbers of passes, and wait for each other in the middle of one.
        raise TrainingError("padding changes what this model makes of a text; set its devices to 1")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers.modeling_layers import GradientCheckpointingLayer

    mesh = init_device_mesh(device, (group.size,))
    for module in reversed(list(classifier.modules())):  # inner ones first
        if isinstance(module, GradientCheckpointingLayer):
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
    # What is in no layer (embeddings, head) is given up after a forward pass too: the next may be after a step.
    fully_shard(classifier, mesh=mesh, reshard_after_forward=True)


def gather(classifier: Classifier) -> dict[str, Tensor]:
    """The whole weights of a classifier in shares, as its state on the CPU of the first process; empty on the others.

    All processes have to call it together.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return get_model_state_dict(classifier, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
