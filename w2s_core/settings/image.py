"""An image in one of K classes (Burns et al. 2023, appendix D.1). Letters: B images, K classes, D features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from w2s_core.data.checks import Check
from w2s_core.data.images import Pixels, as_pixels, decoded
from w2s_core.data.rows import Rows, Shown
from w2s_core.data.sampling import Row
from w2s_core.settings.kinds import IMAGE_MODELS
from w2s_core.settings.reports import GIVEN, QUALITIES, SCORES, class_given, class_quality, class_score
from w2s_core.settings.setting import KINDS, LEAKS, SETTINGS, VIEWS, Setting, Size, View

if TYPE_CHECKING:
    from torch import Tensor

    from w2s_core.models.images import ImageClassifier


def encode(rows: Rows, reader: ImageClassifier, scratch: Path) -> Pixels:
    """The pixels of each image, as the model's processor makes them."""
    return as_pixels(rows, reader.processor, scratch)


def n_outputs(n_classes: int) -> int:
    """One for each class."""
    return n_classes


def logits(classifier: ImageClassifier, pixels: Pixels, portion: np.ndarray) -> Tensor:
    """[B, K]."""
    import torch

    found: Tensor = classifier(torch.from_numpy(pixels.values[portion]))
    return found


def probs(logits: Tensor) -> Tensor:
    """[B, K] float64."""
    return logits.double().softmax(-1)


def lengths(shown: Shown) -> list[int]:
    """Nothing: an image is resized, and none is too long."""
    return [0] * len(shown["image"])


def lure(shown: Shown) -> list[int]:
    """How many bytes it takes: more, the more there is to see."""
    return [len(image) for image in shown["image"]]


def brief(shown: Shown) -> list[str]:
    """How large each image is, and how much it takes."""
    sizes = [decoded(image).size for image in shown["image"]]
    return [
        f"{width} × {height} pixels in {len(image)} bytes"
        for (width, height), image in zip(sizes, shown["image"], strict=True)
    ]


def _n_bytes(row: Row) -> int:
    return len(row.shown[0])


def _encoding(row: Row) -> str:
    return str(row.shown[0].hex())


def _pixels(row: Row) -> str:
    return row.group


def leaks(rows: Sequence[Row]) -> list[Check]:
    """None are looked for; that images are there twice is found in any setting."""
    return []


SETTINGS.register(
    "image",
    Setting(n_outputs=n_outputs, encode=encode, logits=logits, features=logits, probs=probs),
)
KINDS.register("image", IMAGE_MODELS)
VIEWS.register(
    "image",
    View(
        shows={"image": pa.binary()},
        cut=None,
        lengths=lengths,
        text=None,
        documents=None,
        answer_starts=None,
        lure=lure,
        size=Size("size.bytes", _n_bytes),
        exact=_encoding,
        near=_pixels,
        brief=brief,
        alike=", pixel by pixel",
        things="images",
    ),
)
LEAKS.register("image", leaks)
GIVEN.register("image", class_given)
QUALITIES.register("image", class_quality)
SCORES.register("image", class_score)
