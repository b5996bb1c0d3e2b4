"""Losses that compare the student's answers with the labels in another way than by cross-entropy alone.

None of them looks at the student's own hardened answers; those are in ``confidence``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from w2s_core.methods.losses import LOSSES, Batch, Loss, OnLabels, Value, cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


class Kl(OnLabels):
    """KL(labels || student): the gradient of xent, and 0 where they are equal."""

    cited: ClassVar[str] = "EleutherAI/w2s"

    loss: Literal["kl"] = "kl"


def kl(logits: Tensor, batch: Batch, params: Kl) -> Value:
    """Mean KL(labels || student): their cross-entropy less the entropy of the labels."""
    import torch

    entropy = -torch.xlogy(batch.targets, batch.targets).sum(-1).mean()
    return Value(cross_entropy(logits, batch.targets) - entropy, {})


LOSSES.register("kl", Loss(kl, Kl))


class Rkl(OnLabels):
    """Reverse KL(student || labels): seeks one answer of the labels instead of covering all (follow-up work).

    The least probability of a label is a choice of this project.
    """

    loss: Literal["rkl"] = "rkl"
    epsilon: float = Field(1e-4, gt=0, lt=0.5, description="Least probability of a class in a label.")


def rkl(logits: Tensor, batch: Batch, params: Rkl) -> Value:
    """Mean Σ p (log p - log w), with labels of at least ``epsilon`` per class, scaled to a sum of 1.

    So a label of exactly 0 costs a finite number. What is no class (head ``lm_head_tokens``) has a label of 0.
    """
    from torch.nn import functional

    log_p = logits.double().log_softmax(-1)  # [B, C] or more
    labels = functional.pad(batch.targets, (0, log_p.shape[1] - batch.targets.shape[1])).clamp(min=params.epsilon)
    labels = labels / labels.sum(-1, keepdim=True)
    return Value((log_p.exp() * (log_p - labels.log())).sum(-1).mean(), {})


LOSSES.register("rkl", Loss(rkl, Rkl))


class Product(OnLabels):
    """Cross-entropy against the product of labels and own answers.

    The published code has no least probability; the one here is a choice of this project.
    """

    cited: ClassVar[str] = "openai/weak-to-strong"

    loss: Literal["product"] = "product"
    alpha: float = Field(1.0, ge=0, description="Power of the labels.")
    beta: float = Field(1.0, ge=0, description="Power of the student's answers.")
    epsilon: float = Field(1e-6, gt=0, lt=0.5, description="Least probability of a class in a label.")


def product(logits: Tensor, batch: Batch, params: Product) -> Value:
    """Cross-entropy against q ∝ p^β w^α, without gradient through q (``weak_to_strong/loss.py`` at 15a0fab).

    Labels count with at least ``epsilon``: where one is exactly 0 and the student exactly 1, q would be 0 / 0. The
    ``warmup_frac`` of the published class is used nowhere in it, and is left out.
    """
    n_classes = batch.targets.shape[1]
    log_p = logits.double().log_softmax(-1)[:, :n_classes].detach()
    log_w = batch.targets.clamp(min=params.epsilon).log()
    q = (params.beta * log_p + params.alpha * log_w).softmax(-1)
    return Value(cross_entropy(logits, q), {})


LOSSES.register("product", Loss(product, Product))
