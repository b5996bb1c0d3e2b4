"""Linear probes: logistic regression on frozen features (Burns et al. 2023, section 5.2.3).

Which features and labels they are given is in ``flows.plan.probes``. Arrays in, arrays out. Probabilities and
log-odds are [N], of class 1, where there are two classes, and [N, C] where there are C of more. Letters: N examples, D
features, R of their directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

L2 = (0.0, *(10.0**power for power in range(-4, 5)))
"""Penalties to choose from."""

N_ITERATIONS = 500
"""At most; classes that a plane separates, without a penalty, have no best weights."""

GRADIENT = 1e-9
"""Largest entry of the gradient of the mean loss at which the weights count as the best."""

RESOLUTION = float(np.finfo(np.float32).eps)
"""Of a float32 feature: what varies by less, relative to its mean, does not vary."""


class Probe(NamedTuple):
    """A fitted probe: P(class 1) = sigmoid((x - mean) / scale · weight + bias), or of C > 2 classes a softmax."""

    mean: np.ndarray
    """[D] float64, of the training's features."""
    scale: np.ndarray
    """[D] float64, their standard deviation; 1 where they do not vary."""
    weight: np.ndarray
    """[D] float64, or [D, C]."""
    bias: np.ndarray
    """[] float64, or [C]."""
    l2: float

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """[N] float64 of [N, D]; [N, C], up to a constant of each row, where there are more than two classes."""
        found: np.ndarray = (features - self.mean) / self.scale @ self.weight + self.bias
        return found

    def probs(self, features: np.ndarray) -> np.ndarray:
        """P(class 1), [N] float64, of [N, D]; [N, C] where there are more than two classes."""
        log_odds = self.log_odds(features)
        if log_odds.ndim == 2:
            powers = np.exp(log_odds - log_odds.max(1, keepdims=True))
            of_each: np.ndarray = powers / powers.sum(1, keepdims=True)
            return of_each
        found: np.ndarray = np.exp(-np.logaddexp(0, -log_odds))
        return found


class Chosen(NamedTuple):
    """The probe with the least validation loss."""

    probe: Probe
    train_loss: float
    """Mean cross-entropy in nats, without the penalty."""
    validation_loss: float


def cross_entropy(log_odds: np.ndarray, targets: np.ndarray) -> float:
    """Mean over [N] log-odds, against P(class 1) of the labels, [N], in nats; or of [N, C] against [N, C]."""
    if log_odds.ndim == 2:
        above = log_odds - log_odds.max(1, keepdims=True)
        return float(np.mean(np.log(np.exp(above).sum(1)) - (targets * above).sum(1)))
    return float(np.mean(np.logaddexp(0, log_odds) - targets * log_odds))


def fit(features: np.ndarray, targets: np.ndarray, l2: float) -> Probe:
    """The weights that minimise sum of cross-entropies + l2 / 2 · |weight|², on standardised features.

    Full-batch L-BFGS from zero, in float64. The bias has no penalty. ``l2`` is one over the ``C`` of scikit-learn.

    Args:
        features: [N, D] float32.
        targets: [N] float64, P(class 1), or [N, C].
        l2: at least 0.
    """
    return choose(features, targets, features, targets, [l2]).probe


def choose(
    features: np.ndarray,
    targets: np.ndarray,
    validation_features: np.ndarray,
    validation_targets: np.ndarray,
    penalties: Sequence[float],
) -> Chosen:
    """Fit with each penalty, as ``fit`` does, and keep the one with the least validation loss; of equals the greatest.

    Args:
        features: [N, D] float32, to fit on.
        targets: [N] float64, P(class 1) of these, or [N, C].
        validation_features: [V, D] float32, to choose by.
        validation_targets: the same of these, by whom those of ``targets`` are.
        penalties: at least one.
    """
    wide = features.astype(np.float64)
    mean, deviation = wide.mean(0), wide.std(0)
    scale = np.where(deviation > RESOLUTION * np.abs(mean), deviation, 1.0)
    turned = _turned((wide - mean) / scale)
    best: Chosen | None = None
    for l2 in sorted(penalties, reverse=True):
        weight, bias = _minimise(turned, targets, l2)
        probe = Probe(mean, scale, weight, bias, l2)
        losses = (
            cross_entropy(probe.log_odds(features), targets),
            cross_entropy(probe.log_odds(validation_features), validation_targets),
        )
        # Rounding is not to decide a tie.
        if best is None or round(losses[1], 12) < round(best.validation_loss, 12):
            best = Chosen(probe, *losses)
    assert best is not None
    return best


class _Turned(NamedTuple):
    """Features along the R directions in which they vary, which is all that the loss sees of them."""

    along: np.ndarray
    """[N, R]."""
    spread: np.ndarray
    """[R], the length of each column of ``along``; none is 0."""
    directions: np.ndarray
    """[R, D], of length 1 and at right angles, so that the penalty is the same in them."""


def _turned(standardised: np.ndarray) -> _Turned:
    left, spread, directions = np.linalg.svd(standardised, full_matrices=False)
    is_real = spread > spread.max(initial=0) * max(standardised.shape) * np.finfo(np.float64).eps
    return _Turned((left * spread)[:, is_real], spread[is_real], directions[is_real])


def _minimise(turned: _Turned, targets: np.ndarray, l2: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights, [D] or [D, C], and bias.

    Steps are taken along the turned features, each scaled so that the objective curves alike in all: features of a
    model go together so much that it would take thousands of steps otherwise, and some dozens do.
    """
    import torch  # which a plan, that only looks methods up, does not load

    n = len(targets)
    # p (1 - p) is 1/4 where nothing is known yet.
    scale = np.sqrt(n / (turned.spread**2 / 4 + l2))
    x, y = torch.from_numpy(turned.along * scale), torch.tensor(targets, dtype=torch.float64)
    penalty = torch.from_numpy(l2 / (2 * n) * scale**2)
    of_classes = targets.shape[1:]
    weight = torch.zeros(len(scale), *of_classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(of_classes, dtype=torch.float64, requires_grad=True)
    miss = torch.nn.functional.cross_entropy if of_classes else torch.nn.functional.binary_cross_entropy_with_logits
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=N_ITERATIONS,
        max_eval=2 * N_ITERATIONS,
        tolerance_grad=GRADIENT,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        squares = weight.square().sum(1) if of_classes else weight.square()
        value: torch.Tensor = miss(x @ weight + bias, y) + (penalty * squares).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return (weight.detach().numpy().T * scale @ turned.directions).T, bias.detach().numpy()
