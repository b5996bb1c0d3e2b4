"""What an example is: what its rows show, how they become a model's inputs, and what its logits are and mean.

Stages, losses and scores know settings only as this. A setting is an entry in each of four registries here, and of
three in ``reports``, apart by who reads them, so that rewording a prompt or an audit trains nothing again. Letters: N
examples, B of a portion, C classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from w2s_core.data.checks import Check
from w2s_core.data.rows import Rows, Shown
from w2s_core.data.sampling import Row
from w2s_core.registry import Registry
from w2s_core.settings.answers import Answers, classes

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from w2s_core.models.classifier import Classifier


class Reader(Protocol):
    """What decides how a model reads a row: a classifier, or its tokenizer alone with a length."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Of the model."""

    @property
    def max_length(self) -> int:
        """Tokens that it takes at once."""


class Encoded(Protocol):
    """What a model reads of N examples, somewhere where it takes no memory; ``data.tokens.Tokens`` is one."""

    @property
    def n_truncated(self) -> int:
        """Examples of which it reads a part."""

    @property
    def longest(self) -> np.ndarray:
        """[N] int64, tokens of the longest sequence of each example."""

    @property
    def lengths(self) -> np.ndarray:
        """[N] int64, tokens that a pass computes for each example."""

    def __len__(self) -> int:
        """N."""

    def n_tokens(self, rows: np.ndarray) -> int:
        """Tokens of the examples with these indices, without padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How models read one kind of example, of C classes, and what they say of it."""

    n_outputs: Callable[[int], int | None]
    """Of the classification head, for each sequence, where there are so many classes; None: the head is that of a
    language model."""
    encode: Callable[[Rows, Any, Path], Encoded]
    """``(rows, reader, scratch)``: what the model reads of every row; the folder is for files that end with their last
    user."""
    logits: Callable[[Any, Any, np.ndarray], Tensor]
    """[B, C] of the examples with the indices [B]; further columns stand for what is no class."""
    features: Callable[[Any, Any, np.ndarray], Tensor]
    """[B, D] of those, by a classifier whose head gives what it is given: what a linear probe is fitted on."""
    probs: Callable[[Tensor], Tensor]
    """[B, C] float64, the probability of each class, from logits."""
    answers: Callable[[Mapping[str, Any]], Answers] = classes
    """What models answer and labels hold, of the parameters of a stage."""
    decode: Callable[[Any, Any, np.ndarray], Tensor] | None = None
    """[B, W] int64, the tokens that a model answers the examples with the indices [B] with, where these are texts."""
    n_decoded: int = 0
    """W."""


class ModelKind(NamedTuple):
    """The kind of models that read the rows of a setting: how one is built, saved and read again."""

    build: Callable[[Mapping[str, Any], Path | None, int, int | None], Classifier]
    """``(model, base, seed, n_outputs)`` to a model that is ready to be finetuned; see ``models.classifier.build``."""
    save: Callable[[Classifier, Path], None]
    load: Callable[[Path], Classifier]


def joined_text(row: Row) -> str:
    """All that an example shows, to the letter."""
    return "\n".join(map(str, row.shown))


def letters_and_digits(row: Row) -> str:
    """The letters and digits of an example's text; the text, if it has none."""
    return re.sub(r"[\W_]+", "", joined_text(row).casefold()) or joined_text(row)


def nothing(shown: Shown) -> list[str]:
    """Of examples that have texts."""
    return [""] * len(next(iter(shown.values())))


class Size(NamedTuple):
    """A measure of an example."""

    name: str
    of: Callable[[Row], int]


def _characters(row: Row) -> int:
    return len(joined_text(row))


CHARACTERS = Size("length.chars", _characters)


def no_metrics(rows: Rows, probs: np.ndarray) -> Mapping[str, float | None]:
    """Of a setting whose answers are right or wrong, and nothing else."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What rows of one kind show, and what can be said of it without a model."""

    shows: Mapping[str, pa.DataType]
    """The columns of rows besides those that all have, in the order in which an example has their values."""
    n_classes: int = 2
    """Of which the truth is one, and which ``prepare`` balances; 1: the truth is a text."""
    truth: str | None = None
    """The one of them that is the right answer, which who labels is not shown; None: the truth is a class."""
    cut: str | None
    """The one of them that loses its beginning where a model reads less; the others are never cut."""
    lengths: Callable[[Shown], list[int]]
    """Characters that a model reads at once of each example, which ``data.max_chars`` limits."""
    text: Callable[[Shown], list[str]] | None
    """Each example as one text, in which a language model is asked for its class; None: there is none."""
    documents: Callable[[Shown], list[str]] | None
    """The texts that generative finetuning reads, without any label: of each example one, or several; None: none."""
    answer_starts: Callable[[Shown], list[int]] | None
    """Where in each of these its answer begins, which is a candidate and not known to be right."""
    lure: Callable[[Shown], Sequence[float]]
    """A number of each example that labels of no worth often follow, such as its length: the larger, the more class
    1."""
    metrics: Callable[[Rows, np.ndarray], Mapping[str, float | None]] = no_metrics
    """What a score says of answers, [N] P(class 1), besides how often they are right."""
    size: Size = CHARACTERS
    """How large an audit says that an example is."""
    exact: Callable[[Row], str] = joined_text
    """What two examples share that are the same, but for their labels."""
    near: Callable[[Row], str] = letters_and_digits
    """What two share that are nearly the same."""
    brief: Callable[[Shown], list[str]] = nothing
    """What stands for examples that have no text, where they are listed."""
    alike: str = ", but for case, space and punctuation"
    """In which sense, as an audit says it."""
    things: str = "texts"
    """What it calls examples."""

    @property
    def a_thing(self) -> str:
        """One of them."""
        article = "an" if self.things[0] in "aeiou" else "a"
        return f"{article} {self.things.removesuffix('s')}"


SETTINGS: Registry[Setting] = Registry("setting", param="setting", modules=("w2s_core.settings.*",))

VIEWS: Registry[View] = Registry("setting", param="setting", modules=("w2s_core.settings.*",))

KINDS: Registry[ModelKind] = Registry("setting", param="setting", modules=("w2s_core.settings.*",))
"""Which models read the rows; apart, so that what only looks at rows reaches no model."""

LEAKS: Registry[Callable[[Sequence[Row]], list[Check]]] = Registry(
    "setting", param="setting", modules=("w2s_core.settings.*",)
)
"""What of the usable training examples gives their labels away, for an audit."""


@dataclass(frozen=True, slots=True)
class Forward:
    """A model on the examples of a setting: gives the logits of any of them."""

    setting: Setting
    classifier: Classifier
    tokens: Encoded

    def __call__(self, portion: np.ndarray) -> Tensor:
        """[B, C] logits of the examples with the indices [B]."""
        return self.setting.logits(self.classifier, self.tokens, portion)
