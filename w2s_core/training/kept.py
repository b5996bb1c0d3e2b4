"""The weights that stopping rules prefer, of those that a training had on its way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from w2s_core.methods.stopping import STOPS
from w2s_core.models.classifier import Classifier
from w2s_core.training.distributed import Group, gather


class Best(NamedTuple):
    """What a rule prefers so far."""

    step: int
    merit: float


class Kept:
    """Copies of the weights that are the best so far by some rule, by step.

    Args:
        stops: the rules (key ``rule``) and their parameters.
        n_steps: of the training.
        epochs: of the training.
    """

    def __init__(self, stops: Sequence[Mapping[str, Any]], n_steps: int, epochs: int) -> None:
        rules = [(STOPS.get(stop["rule"]), stop) for stop in stops]
        self._merits = [rule.merit for rule, _ in rules]
        self._points = [rule.points(n_steps, epochs, rule.params.model_validate(stop)) for rule, stop in rules]
        self.best: list[Best | None] = [None] * len(rules)
        """In the order of the rules."""
        self.weights: dict[int, Mapping[str, Tensor]] = {}
        """Step to the weights after it, by name, on the CPU, less those that are frozen; where several processes train
        together the first has them all, and the others none."""

    @property
    def points(self) -> set[int]:
        """Steps after which some rule looks."""
        return set().union(*self._points)

    def look(self, step: int, accuracies: Mapping[str, float], classifier: Classifier, group: Group) -> None:
        """Keep the weights after ``step`` if a rule that looks there prefers them to all before."""
        for i, (merit_of, points) in enumerate(zip(self._merits, self._points, strict=True)):
            before, merit = self.best[i], merit_of(accuracies)
            if step in points and (before is None or merit > before.merit):
                self.best[i] = Best(step, merit)
        wanted = {best.step for best in self.best if best is not None}
        if step in wanted:
            self.weights[step] = _weights(classifier, group)
        self.weights = {at: weights for at, weights in self.weights.items() if at in wanted}

    def take(self) -> tuple[dict[str, Tensor], list[Best | None]]:
        """What to keep in a checkpoint: tensors, whose names are others than those of ``state.take``, and values."""
        tensors = {f"kept/{at}/{name}": weight for at, kept in self.weights.items() for name, weight in kept.items()}
        return tensors, list(self.best)

    def put_back(self, tensors: Mapping[str, Tensor], best: Sequence[Sequence[Any] | None]) -> None:
        """Make this what it was when ``take`` was called, of what may hold other tensors, too."""
        self.best = [None if one is None else Best(*one) for one in best]
        self.weights = {
            at: {name.removeprefix(f"kept/{at}/"): tensors[name] for name in tensors if name.startswith(f"kept/{at}/")}
            for at in {one.step for one in self.best if one is not None}
        }


def _weights(classifier: Classifier, group: Group) -> Mapping[str, Tensor]:
    if group.size > 1:
        return gather(classifier)
    frozen = {name for name, parameter in classifier.named_parameters() if not parameter.requires_grad}
    state = classifier.state_dict().items()
    return {name: weight.to("cpu", copy=True).contiguous() for name, weight in state if name not in frozen}
