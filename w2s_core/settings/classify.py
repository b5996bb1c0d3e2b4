"""A text of a passage and a prompt, in one of two classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from w2s_core.data.rows import Rows
from w2s_core.data.tokens import Tokens, tokenize
from w2s_core.models.classifier import Classifier
from w2s_core.settings.setting import SETTINGS, Setting


def encode(rows: Rows, classifier: Classifier, scratch: Path) -> Tokens:
    """One sequence per row."""
    return tokenize(rows, classifier.tokenizer, classifier.max_length, scratch)


def logits(classifier: Classifier, tokens: Tokens, portion: np.ndarray) -> Tensor:
    """[B, 2], or [B, 3] under the head ``lm_head_tokens``: the third stands for all tokens that are no label."""
    ids, mask = tokens.padded(portion, classifier.pad_id)
    found: Tensor = classifier(torch.from_numpy(ids), torch.from_numpy(mask))
    return found


def probs(logits: Tensor) -> Tensor:
    """[B, 2] float64."""
    return logits[:, :2].double().softmax(-1)


SETTINGS.register("classify", Setting(n_classes=2, encode=encode, logits=logits, probs=probs))
