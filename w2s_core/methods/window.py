"""The confidence window: a student learns from those labels alone about which it is not sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from w2s_core.methods.losses import LOSSES, Batch, Loss, OnLabels, Value, cross_entropies

if TYPE_CHECKING:
    from torch import Tensor


class Window(OnLabels):
    """Cross-entropy against the labels of which the student is unsure."""

    cited: ClassVar[str] = "EleutherAI/w2s"

    loss: Literal["window"] = "window"
    radius: Annotated[float, Field(ge=0, le=1)] | Literal["midweak"] = Field(
        0.15,
        description="How far from chance the student's likeliest class may be; midweak: as far as the median label is.",
    )


def start(targets: Tensor, params: Window) -> Mapping[str, Tensor]:
    """The radius: given, or the median distance of the training's own labels from chance, the lower of two middle ones.

    Labels as the supervisor gave them, whatever is done to those of a batch.
    """
    import torch

    if params.radius == "midweak":
        return {"radius": (targets.amax(-1) - 1 / targets.shape[1]).median()}
    return {"radius": torch.tensor(params.radius, dtype=targets.dtype, device=targets.device)}


def window(logits: Tensor, batch: Batch, params: Window) -> Value:
    """Cross-entropy where max p < 1/C + radius, else 0, over the size of the whole batch (``w2s/loss.py`` at 08cb994).

    Where the student is sure of everything, it is 0 with a gradient of 0. p is over the classes alone.
    """
    n_classes = batch.targets.shape[1]
    certainty = logits[:, :n_classes].detach().double().softmax(-1).amax(-1)  # [B]
    is_unsure = certainty < 1 / n_classes + batch.state["radius"]
    value = cross_entropies(logits, batch.targets).where(is_unsure, 0.0).mean()
    return Value(value, {"window_share": is_unsure.double().mean(), "window_radius": batch.state["radius"]})


LOSSES.register("window", Loss(window, Window, start))
