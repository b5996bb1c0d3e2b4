"""Datasets of images; offline counterparts: ``offline.pictures``."""

from __future__ import annotations

from w2s_core.data.datasets import DATASETS, Dataset, Draw, EncodedImage, Label, Picture, RawRow
from w2s_core.data.images import pixel_digest

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def _labels(*names: str) -> Label:
    return Label(names=tuple((name,) for name in names), is_binary=False)


def _picture(row: RawRow, draw: Draw) -> list[Picture]:
    return [Picture(row["image"], row["label"], pixel_digest(row["image"]))]


def _cifar10(row: RawRow, draw: Draw) -> list[Picture]:
    return [Picture(row["img"], row["label"], pixel_digest(row["img"]))]


def _cifar100(row: RawRow, draw: Draw) -> list[Picture]:
    return [Picture(row["img"], row["fine_label"], pixel_digest(row["img"]))]


NO_CHARACTERS = 1
"""Nobody reads any."""

DATASETS.register(
    "fashion_mnist",
    Dataset(
        hub_id="zalando-datasets/fashion_mnist",
        hub_aliases=("fashion_mnist",),
        splits={"train": "train", "test": "test"},
        setting="image",
        n_classes=10,
        columns={"image": EncodedImage(), "label": _labels(*FASHION)},
        format=_picture,
        max_chars=NO_CHARACTERS,
        licence="MIT",
    ),
)
DATASETS.register(
    "cifar10",
    Dataset(
        hub_id="uoft-cs/cifar10",
        splits={"train": "train", "test": "test"},
        setting="image",
        n_classes=10,
        columns={"img": EncodedImage(), "label": _labels(*CIFAR10)},
        format=_cifar10,
        max_chars=NO_CHARACTERS,
        unverified="columns and order of classes as on the Hub",
    ),
)
DATASETS.register(
    "cifar100",
    Dataset(
        hub_id="uoft-cs/cifar100",
        splits={"train": "train", "test": "test"},
        setting="image",
        n_classes=100,
        columns={"img": EncodedImage(), "fine_label": Label(is_binary=False)},
        format=_cifar100,
        max_chars=NO_CHARACTERS,
        unverified="columns as on the Hub",
    ),
)
DATASETS.register(
    # The validation split, as Burns et al. 2023 have it (appendix D.1): the supervisor was trained on the other.
    "imagenet",
    Dataset(
        hub_id="ILSVRC/imagenet-1k",
        splits={"train": "validation", "test": "validation"},
        setting="image",
        n_classes=1000,
        columns={"image": EncodedImage(), "label": Label(is_binary=False)},
        format=_picture,
        max_chars=NO_CHARACTERS,
        licence="for research alone, by its terms",
        unverified="the rows on the Hub, which are gated; folders by class are read in the order of their names",
    ),
)
DATASETS.register(
    "images",
    Dataset(
        hub_id="ylecun/mnist",
        splits={"train": "train", "test": "test"},
        setting="image",
        n_classes=None,
        columns={"image": EncodedImage(), "label": Label(is_binary=False)},
        format=_picture,
        max_chars=NO_CHARACTERS,
        unverified="the rows on the Hub; any folders of images by class, or files of such columns, can be put in the "
        "folder",
    ),
)
