"""Images in folders that are called by their classes, as ImageNet and what people collect themselves come.

Which folder is which split is in ``layouts``; images are decoded in ``images``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_core.data.cards import classes_beside
from w2s_core.data.datasets import Dataset, EncodedImage, Kind, Label
from w2s_core.data.formats import metadata_of
from w2s_core.data.labels import class_names
from w2s_core.data.layouts import class_folders, image_files
from w2s_core.errors import DataError


def label_column(columns: Mapping[str, Kind]) -> str | None:
    """The first column of labels."""
    return next((name for name, kind in columns.items() if isinstance(kind, Label)), None)


def read_class_folders(folder: Path, columns: Mapping[str, Kind]) -> Iterator[Mapping[str, Any]]:
    """A row for each image, by class and name: its bytes, and its folder's name for a label."""
    image = next((name for name, kind in columns.items() if isinstance(kind, EncodedImage)), None)
    label = label_column(columns)
    if image is None or label is None:
        raise DataError(f"{folder} holds folders of images, and this dataset has none; it must hold a file of rows")
    for place in class_folders(folder):
        for path in image_files(place):
            yield {image: path.read_bytes(), label: place.name}


def classes_of_source(files: Mapping[str, Path], place: Path, dataset: Dataset) -> list[str]:
    """The names of the classes, from 0 on, of a dataset whose entry leaves them to its source.

    Those of the folders of the training split in the order of their names; else what is said of its files.

    Raises:
        DataError: nothing is said of them.
    """
    column = label_column(dataset.columns) or ""
    train = next(path for name, path in files.items() if name.startswith("train"))
    if train.is_dir():
        return [folder.name for folder in class_folders(train)]
    names: Sequence[str] | None = class_names(metadata_of(train), str(train)).get(column)
    names = names or classes_beside(place, dataset.hub_config).get(column)
    if not names:
        raise DataError(
            f"{train}: nothing says how many classes column {column!r} has; give folders of images by class, Parquet "
            "files as the Hub has them, whose schema names the classes, or a card (README.md) that does"
        )
    return list(names)
