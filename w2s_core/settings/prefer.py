"""A dialogue and two completions, of which one is preferred: reward modelling on pairs (Burns et al. 2023, 4.1).

The model gives either completion a scalar reward, from its last token. The two rewards are the logits of the pair, so
that P(second is preferred) = sigmoid(second reward - first reward), and everything that is made for two classes holds
as it is. Letters: B pairs, T tokens, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from w2s_core.data.checks import Check
from w2s_core.data.leaks import leak_checks
from w2s_core.data.rows import Rows, Shown, each
from w2s_core.data.sampling import Row
from w2s_core.data.tokens import Tokens, tokenize
from w2s_core.settings.kinds import TEXT_MODELS
from w2s_core.settings.reports import GIVEN, QUALITIES, SCORES, class_given, class_quality, class_score
from w2s_core.settings.setting import KINDS, LEAKS, SETTINGS, VIEWS, Reader, Setting, View

if TYPE_CHECKING:
    from torch import Tensor

    from w2s_core.models.classifier import Classifier


def encode(rows: Rows, reader: Reader, scratch: Path) -> Tokens:
    """Two sequences per row, which see as much of the dialogue as there is room for beside the longer completion."""
    return tokenize(rows, reader.tokenizer, reader.max_length, scratch, cut="passage", whole=("first", "second"))


def n_outputs(n_classes: int) -> int:
    """A reward, of either completion."""
    return 1


def _outputs(classifier: Classifier, tokens: Tokens, portion: np.ndarray) -> Tensor:
    """[B, 2, K]: the K outputs of the head for either completion."""
    import torch

    ids, mask = tokens.padded(portion, classifier.pad_id)  # [2 B, T]
    found: Tensor = classifier(torch.from_numpy(ids), torch.from_numpy(mask))
    return found.view(len(portion), 2, -1)


def logits(classifier: Classifier, tokens: Tokens, portion: np.ndarray) -> Tensor:
    """[B, 2] rewards; under the head ``lm_head_tokens`` the log-odds of its token "1" against "0"."""
    outputs = _outputs(classifier, tokens, portion)
    return outputs[..., 0] if outputs.shape[-1] == 1 else outputs[..., 1] - outputs[..., 0]


def features(classifier: Classifier, tokens: Tokens, portion: np.ndarray) -> Tensor:
    """[B, D], those of the second less those of the first: a linear function of them is a difference of rewards."""
    outputs = _outputs(classifier, tokens, portion)
    return outputs[:, 1] - outputs[:, 0]


def probs(logits: Tensor) -> Tensor:
    """[B, 2] float64; equal rewards are 0.5."""
    return logits.double().softmax(-1)


def lengths(shown: Shown) -> list[int]:
    """The dialogue and the longer completion."""
    columns = zip(shown["passage"], shown["first"], shown["second"], strict=True)
    return [len(passage) + max(len(first), len(second)) for passage, first, second in columns]


def text(shown: Shown) -> list[str]:
    """A question about both completions, of which class 1 is the answer yes."""
    return [
        f"{passage}\n\nFirst answer: {first}\n\nSecond answer: {second}\n\nIs the second answer better?"
        for passage, first, second in zip(shown["passage"], shown["first"], shown["second"], strict=True)
    ]


def documents(shown: Shown) -> list[str]:
    """The dialogue with either completion, preferred or not."""
    columns = zip(shown["passage"], shown["first"], shown["second"], strict=True)
    return [f"{passage}\n{end}" for passage, *ends in columns for end in ends]


def answer_starts(shown: Shown) -> list[int]:
    """With the completion."""
    return [len(passage) + 1 for passage in shown["passage"] for _ in ("first", "second")]


def lure(shown: Shown) -> list[float]:
    """How many characters the second is longer."""
    return [len(second) - len(first) for first, second in zip(shown["first"], shown["second"], strict=True)]


def metrics(rows: Rows, probs: np.ndarray) -> Mapping[str, float | None]:
    """How often the longer completion is preferred, in truth and by the answers; of equal length, half of the time."""
    longer = np.sign(list(each(rows, lure)))
    return {
        "longer_wins": _agreement(longer, rows.gt_labels - 0.5),
        "prefers_longer": _agreement(longer, probs - 0.5),
    }


def _agreement(one: np.ndarray, other: np.ndarray) -> float:
    """How often two signs are equal, where either may be none."""
    return float(np.mean((np.sign(one) * np.sign(other) + 1) / 2))


def leaks(rows: Sequence[Row]) -> list[Check]:
    """Completions as answers that are right or wrong, each compared with all; and the order of the pairs."""
    answers = [
        row._replace(
            id=f"{row.id}.{place}", shown=(row.shown[0], end), gt_label=int(row.gt_label == place), candidate=end
        )
        for row in rows
        for place, end in enumerate(row.shown[1:])
    ]
    longer = np.array([len(row.shown[2]) - len(row.shown[1]) for row in rows])
    labels = np.array([row.gt_label for row in rows])
    return [*leak_checks(rows, answers), Check("train", "longer_wins", _agreement(longer, labels - 0.5))]


SETTINGS.register(
    "prefer",
    Setting(n_outputs=n_outputs, encode=encode, logits=logits, features=features, probs=probs),
)
KINDS.register("prefer", TEXT_MODELS)
VIEWS.register(
    "prefer",
    View(
        shows={"passage": pa.string(), "first": pa.string(), "second": pa.string()},
        cut="passage",
        lengths=lengths,
        text=text,
        documents=documents,
        answer_starts=answer_starts,
        lure=lure,
        metrics=metrics,
    ),
)
LEAKS.register("prefer", leaks)
GIVEN.register("prefer", class_given)
QUALITIES.register("prefer", class_quality)
SCORES.register("prefer", class_score)
