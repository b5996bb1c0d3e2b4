"""Frozen features: what a model makes of a text, as its head would get it.

How rows go through a model is in ``predict``. Letters: N examples, D size of the last hidden state.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from w2s_core.data.rows import Rows
from w2s_core.models.classifier import Classifier
from w2s_core.settings.setting import Setting
from w2s_core.training.predict import predict
from w2s_core.watch import Watch


class Bare(nn.Linear):
    """A head that gives what it is given; its weight only says where it is."""

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, D] of the same."""
        return hidden


def extract(setting: Setting, classifier: Classifier, rows: Rows, watch: Watch) -> np.ndarray:
    """What the setting makes of the pooled last hidden states of each row, [N, D] float32, in the order of the rows."""
    head = classifier.head
    # So that features are batched, packed and pooled as whatever the model is asked for, whatever that will be.
    classifier.head = Bare(head.in_features, 1, bias=False)
    try:
        vectors = predict(_of_features(setting, head.in_features), classifier, rows, watch)
    finally:
        classifier.head = head.to(classifier.device)
    return vectors.astype(np.float32)  # exact: they were float32


def _of_features(setting: Setting, n: int) -> Setting:
    return replace(setting, n_classes=n, logits=setting.features, probs=_as_they_are)


def _as_they_are(vectors: Tensor) -> Tensor:
    return vectors
