"""Which files of a folder are the rows of a dataset, in the layouts that people have.

A folder of ours, a clone of a Hub repository, its converted branch, or what ``save_to_disk`` wrote. Only names are
looked at here; reading is in ``formats`` and ``sources``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from w2s_core.data.datasets import DATASETS, Dataset, names_of
from w2s_core.data.formats import file_name
from w2s_core.errors import DataError

SPLITS = ("train", "test")
SYNONYMS = {"validation": ("validation", "valid", "val", "dev")}
"""What files of a split are called besides its own name."""


IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""Suffixes of files of images, in small letters or large."""


def image_files(folder: Path) -> list[Path]:
    """The images in a folder, by name."""
    return [path for path in _files(folder) if path.suffix.lower() in IMAGES]


def class_folders(folder: Path) -> list[Path]:
    """The folders in a folder that hold images, by name: in this order classes have their numbers."""
    places = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [place for place in places if image_files(place)]


class Found(NamedTuple):
    """A file of a split."""

    rest: str
    """What its name, or its folder's, says after the split."""
    suffix: str
    path: Path


def folder_files(folder: Path, dataset: str) -> dict[str, Path]:
    """The files of one dataset in a folder, by the names that they have as inputs of ``prepare``.

    Splits have our names or the Hub's, which may mean another file by ``test``: the Hub's count where its layout is
    there. A split is one file, such as ``train.parquet`` or ``train.csv.gz``, or shards of one kind, such as
    ``train-00000-of-00002.parquet``; or of images a
    folder with a folder of each class. An input is called by our split and what the file's name says after its own.

    Raises:
        DataError: the folder, the dataset, a split or a numbered shard is missing, or a split is there twice.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; give one that holds {dataset}/train.parquet")
    place = dataset_folder(folder, dataset)
    if place is None:
        raise _no_dataset(folder, dataset)
    entry = DATASETS.get(dataset)
    for base in _bases(place, entry):
        ours = {split: _found(base, split) for split in SPLITS}
        hubs = {split: _found(base, entry.splits[split]) for split in SPLITS}
        is_hubs = base != place or any("-of-" in found.rest for files in hubs.values() for found in files)
        for chosen in (hubs, ours) if is_hubs else (ours, hubs):
            if all(chosen.values()):
                return {
                    f"{split}{found.rest}": found.path.absolute()
                    for split, files in chosen.items()
                    for found in _whole(base, split, files)
                }
    there = sorted(path.name for path in place.iterdir())
    missing = next(split for split in SPLITS if not _found(place, split))
    raise DataError(
        f"{place} must hold one of {missing}.parquet and {missing}.jsonl, or shards such as "
        f"{missing}-00000-of-00002.parquet; there are {_listed(there)}"
    )


def dataset_folder(folder: Path, dataset: str) -> Path | None:
    """The folder of a dataset in another, by any of its names; None if there is none."""
    return next((folder / name for name in names_of(dataset) if (folder / name).is_dir()), None)


def _bases(place: Path, entry: Dataset) -> Iterator[Path]:
    """Folders in which the files of a dataset may lie, the likeliest first."""
    config = entry.hub_config
    for inner in (config, f"data/{config}") if config else ():
        yield place / inner
    if entry.hub_dir:
        yield place / entry.hub_dir
    for inner in ("", "data", "default", "plain_text"):
        yield place / inner


def _found(base: Path, split: str) -> list[Found]:
    """The files of a split in a folder: called after it, or in a folder that is."""
    found = []
    for word in SYNONYMS.get(split, (split,)):
        for path in _files(base):
            name = file_name(path)
            if name and (name.stem == word or name.stem.startswith(f"{word}-")):
                found.append(Found(name.stem.removeprefix(word), name.suffix + name.compression, path))
        for path in _files(base / word):
            name = file_name(path)
            # ``datasets`` keeps there what it knows of them and computed, too.
            if name and name.stem not in ("state", "dataset_info") and not name.stem.startswith("cache-"):
                rest = name.stem.removeprefix("data-").removeprefix(f"{word}-")
                found.append(Found(f"-{rest}", name.suffix + name.compression, path))
        if not found and class_folders(base / word):
            found.append(Found("", "", base / word))
        if found:
            break
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _whole(place: Path, split: str, found: list[Found]) -> list[Found]:
    """``found``, if it is one file or shards of one kind, and all of them."""
    names = _listed([file.path.name for file in found])
    is_sharded = all(file.rest for file in found)
    if len(found) > 1 and not (is_sharded and len({file.suffix for file in found}) == 1):
        # The same rows in several formats are none the wiser to choose from.
        raise DataError(
            f"{place} must hold one {split} file or shards of one kind, not both or a mixture; there are {names}"
        )
    numbered = [match for file in found if (match := re.match(r"-(\d+)-of-(\d+)", file.rest))]
    numbers = sorted(int(match[1]) for match in numbered)
    totals = {int(match[2]) for match in numbered}
    if numbered and (len(totals) > 1 or numbers != list(range(max(totals)))):
        missing = set(range(min(max(totals), len(found) + 1))) - set(numbers)
        raise DataError(
            f"{place} must hold each numbered {split} shard once, "
            + (f"but of {max(totals)} number {min(missing)} is missing" if missing else "but some are there twice")
            + f"; there are {names}"
        )
    return found


def _no_dataset(folder: Path, dataset: str) -> DataError:
    if any(_found(folder, split) for split in SPLITS):
        instead = "give the folder above it" if folder.resolve().name == dataset else f"move them to {folder / dataset}"
        return DataError(f"{folder} holds files, where it must hold a folder {dataset!r} with them; {instead}")
    there = sorted(path.name for path in folder.iterdir() if path.is_dir())
    near = difflib.get_close_matches(dataset, there, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {_listed(there)}"
    return DataError(f"{folder} has no folder {dataset!r}; {hint}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12]) or "none"
    return f"{shown}, and {len(names) - 12} more" if len(names) > 12 else shown
