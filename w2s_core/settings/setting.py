"""What an example is: how rows become a model's inputs, and what its logits are and mean.

Trainings, predictions, losses and scores know settings only as this. Letters: B examples of a portion, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from w2s_core.data.rows import Rows
from w2s_core.data.tokens import Tokens
from w2s_core.models.classifier import Classifier
from w2s_core.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One kind of example, of C classes."""

    n_classes: int
    encode: Callable[[Rows, Classifier, Path], Tokens]
    """What the model reads of every row; the folder is for files that end with their last user."""
    logits: Callable[[Classifier, Tokens, np.ndarray], Tensor]
    """[B, C] of the examples with the indices [B]; further columns stand for what is no class."""
    probs: Callable[[Tensor], Tensor]
    """[B, C] float64, the probability of each class, from such logits."""


SETTINGS: Registry[Setting] = Registry("setting", param="setting", modules=("w2s_core.settings.*",))


@dataclass(frozen=True, slots=True)
class Forward:
    """A model on the examples of a setting: gives the logits of any of them."""

    setting: Setting
    classifier: Classifier
    tokens: Tokens

    def __call__(self, portion: np.ndarray) -> Tensor:
        """[B, C] logits of the examples with the indices [B]."""
        return self.setting.logits(self.classifier, self.tokens, portion)
