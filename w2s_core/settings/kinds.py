"""The kinds of models that settings are read by; they are built elsewhere, and loaded only when one is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_core.settings.setting import ModelKind

if TYPE_CHECKING:
    from w2s_core.models.classifier import Classifier


def _build_text(model: Mapping[str, Any], base: Path | None, seed: int, n_outputs: int | None) -> Classifier:
    from w2s_core.models.classifier import build

    return build(model, base, seed, n_outputs)


def _save_text(classifier: Classifier, folder: Path) -> None:
    from w2s_core.models.classifier import save

    save(classifier, folder)


def _load_text(folder: Path) -> Classifier:
    from w2s_core.models.classifier import load

    return load(folder)


TEXT_MODELS = ModelKind(_build_text, _save_text, _load_text)
"""Causal language models and encoders."""


def _build_image(model: Mapping[str, Any], base: Path | None, seed: int, n_outputs: int | None) -> Classifier:
    from w2s_core.models.images import build

    assert n_outputs is not None
    return build(model, base, seed, n_outputs)


def _save_image(classifier: Classifier, folder: Path) -> None:
    from w2s_core.models.images import ImageClassifier, save

    assert isinstance(classifier, ImageClassifier)
    save(classifier, folder)


def _load_image(folder: Path) -> Classifier:
    from w2s_core.models.images import load

    return load(folder)


IMAGE_MODELS = ModelKind(_build_image, _save_image, _load_image)
"""Backbones that make a vector, or a map of vectors, of pixels."""
