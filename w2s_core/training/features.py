"""Frozen features: what a model makes of a text, as its head would get it.

How rows go through a model is in ``predict``. Letters: N examples, D size of the last hidden state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from w2s_core.config import Layer
from w2s_core.data.rows import Rows
from w2s_core.errors import DataError
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
        vectors = predict(_of_features(setting), classifier, rows, watch)
    finally:
        classifier.head = head.to(classifier.device)
    return vectors.astype(np.float32)  # exact: they were float32


def give_layer(classifier: Classifier, layer: Layer) -> None:
    """Have the backbone give the hidden states after a layer in place of its last ones, from now on.

    Raises:
        DataError: it has fewer layers, or the states are of another size than the last.
    """
    n_layers = getattr(classifier.backbone.config.get_text_config(), "num_hidden_layers", None)
    if n_layers is None:
        raise DataError(f"layer = {layer}: a {classifier.backbone.config.model_type} does not say how many it has")
    wanted = {"last": n_layers, "middle": max(1, n_layers // 2)}.get(str(layer)) or int(layer)
    if wanted > n_layers:
        raise DataError(f"layer = {layer}, but the model has {n_layers} layers")
    width = classifier.head.in_features

    def give(module: nn.Module, args: Any, output: Any) -> Any:
        # The first are of the embeddings.
        states = output.hidden_states[wanted]
        if states.shape[-1] != width:
            raise DataError(f"layer = {layer}: it has {states.shape[-1]} hidden units, and the last layer {width}")
        output.last_hidden_state = states
        return output

    # An argument of the call would be handed on to attention.
    classifier.backbone.config.output_hidden_states = True
    classifier.backbone.register_forward_hook(give)


def _of_features(setting: Setting) -> Setting:
    return replace(setting, logits=setting.features, probs=_as_they_are)


def _as_they_are(vectors: Tensor) -> Tensor:
    return vectors
