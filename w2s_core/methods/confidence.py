"""Losses by which a student becomes surer of its own answers than its labels are.

Its answers count without gradient, but for the entropy. What a loss is, is in ``losses``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from w2s_core.errors import TrainingError
from w2s_core.methods.losses import LOSSES, NO_STATE, Batch, Loss, OnLabels, Value, cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


class Rising(OnLabels):
    """What a weight takes that rises in the course of a training."""

    alpha_max: float = Field(0.5, ge=0, le=1, description="Final weight of what the student says itself.")
    warmup_frac: float = Field(0.2, ge=0, le=1, description="Share of steps over which the weight rises from 0.")
    schedule: Literal["linear", "oai_step"] = Field(
        "linear",
        description="oai_step, as published code has it: up to alpha_max · warmup_frac, then at once alpha_max.",
    )


def weight(params: Rising, progress: float) -> float:
    """The weight after a share ``progress`` of the steps; without warm-up, ``alpha_max`` from the first step on.

    Linear as in Burns et al. 2023, appendix A.4; in openai/weak-to-strong, ``weak_to_strong/loss.py`` at 15a0fab, it is
    the share of all steps until the warm-up is over.
    """
    share = 1.0
    if params.warmup_frac > 0 and progress <= params.warmup_frac:
        share = progress if params.schedule == "oai_step" else progress / params.warmup_frac
    return params.alpha_max * share


def mixed(targets: Tensor, own: Tensor, alpha: Tensor | float) -> Tensor:
    """[B, C] labels of which a share ``alpha``, of all or [B, 1], is ``own``; the first class takes what is left."""
    import torch

    others = (1 - alpha) * targets[:, 1:] + alpha * own[:, 1:]
    return torch.cat([1 - others.sum(-1, keepdim=True), others], -1)


def one_hot(classes: Tensor, like: Tensor) -> Tensor:
    """[B, C] float64 with a 1 at each of [B] classes."""
    from torch.nn import functional

    return functional.one_hot(classes, like.shape[1]).double()


class Logconf(Rising):
    """The auxiliary confidence loss."""

    cited: ClassVar[str] = "Burns et al. 2023, section 4.3 and appendix A.4"

    loss: Literal["logconf"] = "logconf"
    threshold: Literal["half", "match_prior", "fixed", "buffer"] = Field(
        "half",
        description="Hardened to class 1: half of a batch, as many as its mean label says, where P(class 1) > 0.5, or "
        "the upper half of the student's last predictions. Of more classes, each has an equal share of a batch, or "
        "that of its mean label, or the likeliest counts.",
    )
    buffer: int = Field(512, ge=1, description="How many predictions, of this batch and before, threshold buffer sees.")


def most_classes(params: Logconf) -> int | None:
    """Two where predictions are remembered, which are those of class 1."""
    return 2 if params.threshold == "buffer" else None


def start_logconf(targets: Tensor, params: Logconf) -> Mapping[str, Tensor]:
    """No predictions yet, where they are remembered."""
    most = most_classes(params)
    if most is not None and targets.shape[1] > most:
        raise TrainingError(
            f"loss logconf: threshold = {params.threshold!r} ranks examples by class 1 of two, and these labels have "
            f"{targets.shape[1]} classes; 'half', 'match_prior' and 'fixed' harden any number"
        )
    if params.threshold != "buffer":
        return NO_STATE
    return {"margins": targets.new_empty(0), "ties": targets.new_empty(0).long()}


def logconf(logits: Tensor, batch: Batch, params: Logconf) -> Value:
    """Auxiliary confidence loss (Burns et al. 2023, section 4.3.2 and appendix A.4).

    Cross-entropy against ``(1 - alpha) w + alpha h``: ``w`` the weak label, ``h`` the student's own prediction, without
    gradient, hardened at a threshold (``hardened``). ``alpha`` rises from 0 (``weight``); where it is 0 the loss is
    ``xent`` bit for bit.
    """
    alpha = weight(params, batch.progress)
    classes, state = hardened(logits, batch, params)
    own = one_hot(classes, batch.targets)
    log: dict[str, Tensor | float] = {
        "alpha": alpha,
        "hardened_share": own[:, 1].mean(),
        "hardened_disagree": (classes != batch.targets.argmax(-1)).double().mean(),
    }
    labels = mixed(batch.targets, own, alpha) if alpha else batch.targets
    return Value(cross_entropy(logits, labels), log, state)


LOSSES.register("logconf", Loss(logconf, Logconf, start_logconf, most_classes))


def hardened(logits: Tensor, batch: Batch, params: Logconf) -> tuple[Tensor, Mapping[str, Tensor]]:
    """[B] classes that the student's predictions are hardened to, and the predictions that it remembers from now on.

    ``half``: so that half of the batch is class 1 (Burns et al. 2023). ``match_prior``: as many as the labels have in
    the mean (published code of openai/weak-to-strong). ``fixed``: the likeliest class, the first of equal ones.
    ``buffer``: half of the last predictions, those of this batch included, which is then seldom half of the batch
    (published code of EleutherAI/w2s, with 32). Of a single prediction no share can be class 1 but none or all: it is
    hardened as by ``fixed``. More classes than two have no median: see ``matched``.
    """
    import torch

    likeliest = logits[:, : batch.targets.shape[1]].argmax(-1)
    if params.threshold == "fixed" or len(logits) == 1 < batch.targets.shape[1] - 1:
        return likeliest, NO_STATE
    if batch.targets.shape[1] > 2:
        equal = torch.full_like(batch.targets[0], 1 / batch.targets.shape[1])
        shares = equal if params.threshold == "half" else batch.targets.mean(0)
        return matched(logits[:, : batch.targets.shape[1]].detach(), shares), NO_STATE
    margins = (logits[:, 1] - logits[:, 0]).detach()  # [B], rise with P(class 1)
    if params.threshold == "buffer":
        # Which are forgotten first must not depend on how the batch was cut.
        order = batch.ties.argsort()
        now = {"margins": margins[order].double(), "ties": batch.ties[order]}
        n_before = max(params.buffer - len(logits), 0)
        last = {name: torch.cat([last_of(batch.state[name], n_before), now[name]]) for name in now}
        if len(last["ties"]) == 1:
            return likeliest, last
        of_last = harden_top(last["margins"], last["ties"], math.ceil(len(last["ties"]) / 2))
        return torch.empty_like(likeliest).scatter(0, order, last_of(of_last, len(logits))), last
    if len(logits) == 1:
        return likeliest, NO_STATE
    n_positive: Tensor | int = math.ceil(len(logits) / 2)
    if params.threshold == "match_prior":
        # A sum such as 3.0000000000000004 is three. It stays on the device, which nothing here waits for.
        n_positive = (batch.targets[:, 1].sum() - 1e-6).ceil()
    return harden_top(margins, batch.ties, n_positive), NO_STATE


COOLINGS, N_SCALINGS = 8, 20
"""How often the temperature of an assignment is halved, and how often classes are scaled at each."""


def matched(logits: Tensor, shares: Tensor) -> Tensor:
    """[B] classes: the likeliest, once each class is favoured by as much as gives it its share of the examples.

    That is prior matching by the optimal assignment of examples to classes, as the limit of optimal transport with less
    and less entropy (Cuturi 2013). For two classes the median does it exactly; Burns et al. 2023 define nothing for
    more, so this is a choice of this project.

    Args:
        logits: [B, C], without gradient.
        shares: [C] float64, the prior; a class without any is never answered.
    """
    log_p = logits.double().log_softmax(-1)  # [B, C]
    favour = shares.log()
    for cooling in range(COOLINGS):
        temperature = 0.5**cooling
        for _ in range(N_SCALINGS):
            of_answers = ((log_p + favour) / temperature).log_softmax(-1).logsumexp(0) - math.log(len(logits))
            change = temperature * (shares.log() - of_answers)
            favour = favour + change.nan_to_num(nan=0.0, neginf=-math.inf)
    return (log_p + favour).argmax(-1)


def last_of(values: Tensor, n: int) -> Tensor:
    """The last ``n``, or all."""
    return values[max(len(values) - n, 0) :]


def harden_top(margins: Tensor, ties: Tensor, n_positive: Tensor | int) -> Tensor:
    """[M] int64: 1 for the ``n_positive`` of M examples with the highest margins, else 0."""
    import torch

    by_tie = ties.argsort(stable=True)
    order = by_tie[margins[by_tie].argsort(descending=True, stable=True)]
    is_top = torch.arange(len(margins), device=margins.device) < n_positive
    return torch.empty_like(order).scatter(0, order, is_top.long())


class Entropy(Rising):
    """A share of the student's entropy beside the cross-entropy."""

    cited: ClassVar[str] = "EleutherAI/w2s"

    loss: Literal["entropy"] = "entropy"
    detached: bool = Field(
        False,
        description="As that code has it: no gradient through the student's answers in the entropy. What is left is "
        "that of xent, 1 - alpha times as large.",
    )


def entropy(logits: Tensor, batch: Batch, params: Entropy) -> Value:
    """(1 - α) CE(p, w) + α H(p); α rises as that of ``logconf``, and where it is 0 this is ``xent``.

    ``w2s/loss.py`` at 08cb994 learns from (1 - α) w + α p without gradient through the target: of the same value, but
    its gradient is (1 - α)(p - w), which lessens no entropy.
    """
    alpha = weight(params, batch.progress)
    log_p = logits.double().log_softmax(-1)  # [B, C] or more
    p = log_p.exp()
    of_student = -((p.detach() if params.detached else p) * log_p).sum(-1).mean()
    value = (1 - alpha) * cross_entropy(logits, batch.targets) + alpha * of_student
    return Value(value, {"alpha": alpha, "entropy": of_student})


LOSSES.register("entropy", Loss(entropy, Entropy))


class Adaptconf(OnLabels):
    """Adaptive confidence: each example weighs the student's own answer by itself."""

    cited: ClassVar[str] = "AdaptConf, Guo et al. 2024"

    loss: Literal["adaptconf"] = "adaptconf"
    temperature: float = Field(0.5, gt=0, description="Lower: less weight of its own where it contradicts the label.")


def adaptconf(logits: Tensor, batch: Batch, params: Adaptconf) -> Value:
    """Cross-entropy against ``(1 - a) w + a h`` with a weight a of each example, without gradient through it.

    a = exp(c/T) / (exp(c/T) + exp(d/T)), where c is the cross-entropy with the student's likeliest class h, and d that
    with the label's; so a is a half where these are the same, and less where they are not. As in
    ggjy/vision_weak_to_strong, ``classification/distillers/adaptconf.py`` at fa5b811 (T is its threshold: 0.5 for
    CIFAR, 4 for ImageNet), whose divergence from the labels instead of this cross-entropy has the same gradient.
    """
    log_p = logits.double().log_softmax(-1)[:, : batch.targets.shape[1]]
    own, theirs = log_p.argmax(-1), batch.targets.argmax(-1)
    contradiction = (log_p.gather(1, theirs[:, None]) - log_p.gather(1, own[:, None])).detach()  # [B, 1], c - d
    alpha = (contradiction / params.temperature).sigmoid()
    log: dict[str, Tensor | float] = {"alpha": alpha.mean(), "hardened_disagree": (own != theirs).double().mean()}
    return Value(cross_entropy(logits, mixed(batch.targets, one_hot(own, batch.targets), alpha)), log)


LOSSES.register("adaptconf", Loss(adaptconf, Adaptconf))
