"""Who can speak in a debate: the kinds of debaters that a supervisor may name, and what they are asked and say.

Each kind has a module of its own here. What is spoken about, and in which order, is in ``w2s_core.entries.debate``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from w2s_core.config import Frozen
from w2s_core.registry import Registry
from w2s_core.watch import Watch


class Asked(NamedTuple):
    """One turn of one row that is to be spoken."""

    id: str
    """Of the row."""
    turn: int
    """From 0 on."""
    side: int
    passage: str
    question: str
    """The row's prompt, which is never cut."""
    write: Callable[[str], str]
    """The debater's prompt, of the passage or what is left of it."""
    gt_label: int
    """For debaters that are generated; who is asked by a prompt must not see it."""


class Spoken(NamedTuple):
    """What was said."""

    text: str
    is_cut: bool
    """Whether it ends where the debater was stopped."""
    n_tokens: int
    """Said."""
    n_read: int
    """Tokens of the prompt."""


Speak = Callable[[Sequence[Asked]], Iterator[tuple[int, Spoken]]]
"""Says each turn that is asked for, in any order: with its place in the sequence, as soon as it is there."""


class Debater(NamedTuple):
    """A kind of debater."""

    open: Callable[[Mapping[str, Any], Mapping[str, Path], Watch], Speak]
    """Of the parameters and inputs of a stage."""
    params: type[Frozen]
    """Its settings, with its name as ``kind``."""
    needs: tuple[Literal["model", "world"], ...] = ()
    """What ``open`` takes besides: the model of the ladder that its settings name, or the generated world."""
    in_no_key: frozenset[str] = frozenset()
    """Settings that say nothing of what is said."""
    asks: str = ""
    """Whom it asks elsewhere, with the settings in braces; nobody, if it is empty."""


DEBATERS: Registry[Debater] = Registry("kind of debater", param="debater.kind", modules=("w2s_core.debate.debaters.*",))


class Sampled(Frozen):
    """How a language model's words are drawn."""

    temperature: float = Field(0.8, ge=0, le=2, description="0: always the likeliest word.")
    top_p: float = Field(1.0, gt=0, le=1, description="Only of the likeliest words that have this share together.")
    max_tokens: int = Field(128, ge=1, le=4_096, description="Of one turn; what is longer is cut, and marked.")
