"""Generated images: gratings in noise, whose orientation, spacing and colour tell their class.

What a model is pretrained on without labels are such images, too, of any orientation and spacing (``pairs_of_views``).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from w2s_core.config import GENERATED_CLASSES, WorldConfig
from w2s_core.offline.rows import OFFLINE
from w2s_core.offline.world import World, below, stream

SIDE = 16
"""Pixels."""

ORIENTATIONS = 5
SPACINGS = 4
"""Of classes; what is left of a class's number is its colour."""

NOISE = 0.4
"""Standard deviation of each pixel, where a grating goes from -1 to 1 times its contrast."""


def gratings(angles: np.ndarray, waves: np.ndarray, colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[N, H, W, 3] float64, about 0, in any phase: what is seen is the same, whatever the place of the waves.

    Args:
        angles: [N], of the waves, in radians.
        waves: [N], that go into the image.
        colours: [N, 3], how much each channel shows.
        rng: draws phase, contrast and noise.
    """
    n = len(angles)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    phase, contrast = rng.uniform(0, 2 * np.pi, n), rng.uniform(0.5, 1.0, n)
    along = np.multiply.outer(waves * np.cos(angles), x) + np.multiply.outer(waves * np.sin(angles), y)  # [N, H, W]
    wave = contrast[:, None, None] * np.sin(2 * np.pi * along + phase[:, None, None])
    return wave[..., None] * colours[:, None, None] + rng.normal(0, NOISE, (n, SIDE, SIDE, 3))


def as_bytes(values: np.ndarray) -> np.ndarray:
    """[…] uint8 of such values."""
    return (127.5 + 60 * values).clip(0, 255).astype(np.uint8)


def encoded(values: np.ndarray) -> bytes:
    """A PNG of [H, W, 3]."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(as_bytes(values)).save(file, "PNG")
    return file.getvalue()


def of_class(number: int, rng: np.random.Generator) -> np.ndarray:
    """An image of a class; orientation and spacing vary within it, but hardly into the next."""
    rest, turn = divmod(number, ORIENTATIONS)
    hue, wide = divmod(rest, SPACINGS)
    angle = np.pi * (turn + rng.normal(0, 0.12)) / ORIENTATIONS
    waves = 2.0 + wide + rng.normal(0, 0.2)
    colour = np.cos(2 * np.pi * (np.arange(3) / 3 + hue / 50)) if hue else np.ones(3)
    found: np.ndarray = gratings(np.array([angle]), np.array([waves]), colour[None], rng)[0]
    return found


def pairs_of_views(world: WorldConfig, n: int, draw: int) -> np.ndarray:
    """[n, 2, 3, H, W] uint8: pairs of images of the same orientation, spacing and colour, which have no class.

    Args:
        world: which world.
        n: pairs.
        draw: which of them.
    """
    rng = stream("views", world.seed, draw)
    angles, waves = rng.uniform(0, np.pi, n), rng.uniform(1.5, 2 + SPACINGS, n)
    colours = np.where(rng.random((n, 1)) < 0.5, 1.0, rng.uniform(-1, 1, (n, 3)))
    views = gratings(*(np.repeat(of_pairs, 2, axis=0) for of_pairs in (angles, waves, colours)), rng)
    return as_bytes(views).reshape(n, 2, SIDE, SIDE, 3).transpose(0, 1, 4, 2, 3)


def _images(n_classes: int, rng: np.random.Generator) -> tuple[bytes, int]:
    number = below(n_classes, rng)
    return encoded(of_class(number, rng)), number


@OFFLINE.register("fashion_mnist")
def _fashion_mnist(world: World, rng: np.random.Generator) -> dict[str, Any]:
    image, label = _images(10, rng)
    return {"image": image, "label": label}


@OFFLINE.register("cifar10")
def _cifar10(world: World, rng: np.random.Generator) -> dict[str, Any]:
    image, label = _images(10, rng)
    return {"img": image, "label": label}


@OFFLINE.register("cifar100")
def _cifar100(world: World, rng: np.random.Generator) -> dict[str, Any]:
    image, label = _images(100, rng)
    return {"img": image, "fine_label": label}


@OFFLINE.register("imagenet")
def _imagenet(world: World, rng: np.random.Generator) -> dict[str, Any]:
    image, label = _images(1000, rng)
    return {"image": image, "label": label}


@OFFLINE.register("images")
def _any_images(world: World, rng: np.random.Generator) -> dict[str, Any]:
    image, label = _images(GENERATED_CLASSES, rng)
    return {"image": image, "label": label}
