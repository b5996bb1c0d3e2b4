"""A text of a passage and a prompt, in one of two classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from w2s_core.data.leaks import leak_checks
from w2s_core.data.rows import Rows, Shown
from w2s_core.data.tokens import Tokens, tokenize
from w2s_core.settings.kinds import TEXT_MODELS
from w2s_core.settings.reports import GIVEN, QUALITIES, SCORES, class_given, class_quality, class_score
from w2s_core.settings.setting import KINDS, LEAKS, SETTINGS, VIEWS, Reader, Setting, View

if TYPE_CHECKING:
    from torch import Tensor

    from w2s_core.models.classifier import Classifier


ANSWER = "\nA: "
"""In front of the answer of a prompt that has one, see ``w2s_core.data.datasets.multiple_choice``."""


def encode(rows: Rows, reader: Reader, scratch: Path) -> Tokens:
    """One sequence per row."""
    return tokenize(rows, reader.tokenizer, reader.max_length, scratch, cut="passage", whole=("prompt",))


def n_outputs(n_classes: int) -> int:
    """One for each class."""
    return n_classes


def logits(classifier: Classifier, tokens: Tokens, portion: np.ndarray) -> Tensor:
    """[B, 2], or [B, 3] under the head ``lm_head_tokens``: the third stands for all tokens that are no label."""
    import torch

    ids, mask = tokens.padded(portion, classifier.pad_id)
    found: Tensor = classifier(torch.from_numpy(ids), torch.from_numpy(mask))
    return found


def probs(logits: Tensor) -> Tensor:
    """[B, 2] float64."""
    return logits[:, :2].double().softmax(-1)


def lengths(shown: Shown) -> list[int]:
    """Passage and prompt together."""
    return [len(passage) + len(prompt) for passage, prompt in zip(shown["passage"], shown["prompt"], strict=True)]


def text(shown: Shown) -> list[str]:
    """Passage and prompt, a line each, as a model reads them."""
    pairs = zip(shown["passage"], shown["prompt"], strict=True)
    return [f"{passage}\n{prompt}" if passage else prompt for passage, prompt in pairs]


def answer_starts(shown: Shown) -> list[int]:
    """After the last ``A:`` of the prompt, or with the prompt where it has none."""
    found = []
    for passage, prompt in zip(shown["passage"], shown["prompt"], strict=True):
        before, _, _ = prompt.rpartition(ANSWER)
        found.append((len(passage) + 1 if passage else 0) + (len(before) + len(ANSWER) if before else 0))
    return found


SETTINGS.register(
    "classify",
    Setting(n_outputs=n_outputs, encode=encode, logits=logits, features=logits, probs=probs),
)
KINDS.register("classify", TEXT_MODELS)
VIEWS.register(
    "classify",
    View(
        shows={"passage": pa.string(), "prompt": pa.string()},
        cut="passage",
        lengths=lengths,
        text=text,
        documents=text,
        answer_starts=answer_starts,
        lure=lengths,
    ),
)
LEAKS.register("classify", leak_checks)
GIVEN.register("classify", class_given)
QUALITIES.register("classify", class_quality)
SCORES.register("classify", class_score)
