"""The losses of a training as they come: fetched from the device in blocks, judged, and told to the watch.

Reading a number from a GPU makes the processor wait for all that is queued there, so it is done once per block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from w2s_core.errors import TrainingError
from w2s_core.methods.losses import Value
from w2s_core.watch import Watch

BLOCK = 10
"""Steps whose losses are fetched together."""

N_RECENT = 10
"""Steps whose mean loss is reported as the training loss, and listed when it is not finite."""

EXPLODED = 10.0
"""How many times the first loss, or that of a coin where that is more, the mean of the recent losses may reach.

A coin costs log 2 = 0.69 nats, whatever the labels. A model that costs ten times as much, over all of the recent
steps together, is sure and wrong nearly everywhere. Relative to the first loss, since a head may start far from a coin.
"""


WARM = 1 / 3
"""Share of a training after which what it has learned is looked at."""

NEAR_CHANCE = 0.4
"""Mean disagreement, from ``WARM`` on, from which a training counts as near chance. A coin has 0.5; labels of which a
tenth is noise have about 0.1, and 0.4 once a threshold follows something else than the labels."""


class LossCurve:
    """What the steps of one training gave.

    Args:
        n_steps: of the whole training.
        watch: gets the rows of the curve.
        first: loss of the first step, if that was in an earlier process.
        recent: the losses before, as ``recent`` was then.
        disagreed: as ``disagreed`` was then.
    """

    def __init__(
        self,
        n_steps: int,
        watch: Watch,
        first: float | None = None,
        recent: Sequence[float] = (),
        disagreed: Mapping[str, float] | None = None,
    ) -> None:
        self.first = first
        self.recent = list(recent)
        """Losses of the last ``N_RECENT`` steps that were fetched."""
        self.disagreed = dict(disagreed or {})
        """From ``WARM`` on, of each number that tells how often what is learned differs from the labels: its sum."""
        self._n_steps = n_steps
        self._watch = watch
        self._rows: list[dict[str, float]] = []
        self._names: list[str] = []
        self._numbers: list[Tensor] = []
        watch.curve([])  # from now on it counts the time

    def add(self, row: dict[str, float], loss: Value, grad_norm: Tensor) -> None:
        """One step; fetches the block that it fills.

        Args:
            row: what is known without the device: step (from 1), lr, examples, tokens.
            loss: of the effective batch.
            grad_norm: before clipping.

        Raises:
            TrainingError: see ``fetch``.
        """
        on_device = {"loss": loss.value, "grad_norm": grad_norm}
        on_device |= {name: value for name, value in loss.log.items() if isinstance(value, Tensor)}
        known = {name: value for name, value in loss.log.items() if not isinstance(value, Tensor)}
        self._rows.append({**row, "fraction": row["step"] / self._n_steps, **known})
        self._names = list(on_device)
        self._numbers.append(torch.stack([value.detach().double() for value in on_device.values()]))
        if len(self._rows) == BLOCK:
            self.fetch()

    def fetch(self) -> None:
        """Fetch and judge what was added, and tell the watch.

        Raises:
            TrainingError: a loss or a gradient is not finite, or the losses explode.
        """
        if not self._rows:
            return
        for row, numbers in zip(self._rows, torch.stack(self._numbers).tolist(), strict=True):
            row.update(zip(self._names, numbers, strict=True))
            self._judge(row)
            if row["fraction"] > WARM:
                for name in row:
                    if name.endswith("_disagree"):
                        self.disagreed[name] = self.disagreed.get(name, 0.0) + row[name]
        self._watch.curve(self._rows)
        self._rows, self._numbers = [], []

    @property
    def near_chance(self) -> bool:
        """Whether the model's classes, or those that the loss hardens, differed from the labels nearly as a coin does.

        Over the last two thirds of the training: labels that cannot be learned, a learning rate that is far off, or a
        threshold that fights the labels.
        """
        n_steps = self._n_steps - math.floor(self._n_steps * WARM)
        return any(total / n_steps > NEAR_CHANCE for total in self.disagreed.values())

    def _judge(self, row: dict[str, float]) -> None:
        loss, where = row["loss"], f"at step {row['step']} of {self._n_steps}, learning rate {row['lr']:.3g}"
        before = ", ".join(f"{x:.4g}" for x in self.recent) or "none"
        if not math.isfinite(loss + row["grad_norm"]):
            raise TrainingError(
                f"loss {loss:.4g} with gradient norm {row['grad_norm']:.4g} {where}; "
                f"losses before: {before}; lower the model's lr"
            )
        self.first = loss if self.first is None else self.first
        self.recent = [*self.recent, loss][-N_RECENT:]
        mean = sum(self.recent) / len(self.recent)
        if len(self.recent) == N_RECENT and mean > EXPLODED * max(self.first, math.log(2)):
            raise TrainingError(
                f"the loss explodes: {mean:.4g} over {N_RECENT} steps, {self.first:.4g} in the first, {where}; "
                f"losses before: {before}; lower the model's lr"
            )
