"""The callback that every stage receives; what it does with what it is told is no part of a stage.

Progress, curves and checkpoints go through it, so that changing how they are shown or kept changes no key. It also
carries the runtime knobs, which change no result beyond rounding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


class Checkpoint(NamedTuple):
    """A training after ``step`` optimizer steps."""

    step: int
    tensors: Mapping[str, Tensor]
    """On the CPU."""
    values: Mapping[str, Any]
    """JSON."""


class Checkpoints(Protocol):
    """Keeps the state of one training, so that it goes on where it was killed."""

    def resume(self, choices: Mapping[str, Any]) -> Checkpoint | None:
        """The last state that was kept, if going on from it gives the very bits of a training that was never killed.

        Args:
            choices: what the training decided by itself and must decide again, such as the attention kernel.
        """

    def is_due(self) -> bool:
        """Whether to ``save`` now, after this step."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a state instead of the one before; returns before it is written, and never fails."""


class Asking(NamedTuple):
    """How servers are asked; no answer depends on it."""

    n_at_once: int = 8
    timeout_s: float = 120.0
    """Of one request."""
    patience_s: float = 900.0
    """For how long one request is repeated."""


class Watch(Protocol):
    """What a running stage tells, and where and in what portions it runs."""

    device: str
    """``"cpu"`` or ``"cuda"``."""
    n_devices: int
    """How many devices train the model together: each has a process of its own, which this is one of."""
    scratch: Path
    """Folder for what need not be in memory, on a disk."""
    micro_tokens: int
    """Padded tokens per forward pass."""
    gradient_checkpointing: bool
    """Whether to compute layers twice instead of keeping their inner results."""
    eval_at: Sequence[float]
    """Shares of a training, between 0 and 1, after which it is evaluated; at its end it is in any case."""
    checkpoints: Checkpoints | None
    """None where a training that is killed starts over."""
    asking: Asking
    """How often at once, and how long, a server is asked."""
    keeps_tokens: bool
    """Whether ``tokens`` may know some already, so that it pays to say what they are of."""

    def tokens(self, key: Hashable, make: Callable[[], T]) -> T:
        """The tokens that ``make`` gives, or gave to an earlier stage of this process for the same key.

        Args:
            key: all that they are made of; of large things a digest.
        """

    def model(self, name: str, make: Callable[[], T]) -> T:
        """The classifier that ``make`` reads from the input ``name``, or read for an earlier stage of this process.

        It may be on any device, and in any mode that a prediction leaves it in; nobody may change its weights.
        """

    def secret(self, name: str) -> str | None:
        """What the environment has under a name, such as a key for a server; to be kept nowhere."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """``done`` of ``total`` ``unit`` (``"steps"``, ``"rows"``) are finished."""

    def curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Rows of the training curve that have become known since the last call, which measures the time between.

        Such as ``{"step": 3, "loss": 0.61, "lr": 1e-4, "examples": 32, "tokens": 1840}``; a row of a step that was
        told of already adds to it. No row at all starts the clock.
        """

    def say(self, line: str) -> None:
        """One line for the log of the node."""


@dataclass
class Silent:
    """A watch that ignores what it is told."""

    device: str = "cpu"
    n_devices: int = 1
    scratch: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    micro_tokens: int = 16_384
    gradient_checkpointing: bool = False
    eval_at: Sequence[float] = ()
    checkpoints: Checkpoints | None = None
    asking: Asking = field(default_factory=Asking)
    keeps_tokens: bool = False

    def tokens(self, key: Hashable, make: Callable[[], T]) -> T:
        """Made anew."""
        return make()

    def model(self, name: str, make: Callable[[], T]) -> T:
        """Read anew."""
        return make()

    def secret(self, name: str) -> str | None:
        """There is none."""
        return None

    def progress(self, done: int, total: int, unit: str) -> None:
        """Ignored."""

    def curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Ignored."""

    def say(self, line: str) -> None:
        """Ignored."""
