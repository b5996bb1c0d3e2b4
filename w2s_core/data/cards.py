"""What is said beside the files of a dataset of its classes: in a card (README.md), or in what ``datasets`` wrote.

Formats without a description of their columns (CSV, JSON Lines) have it there. Read when a grid is planned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from w2s_core.data.datasets import Dataset, Label
from w2s_core.data.labels import order_of

LONGEST = 1 << 24
"""Characters of a file that are read."""


def other_classes(place: Path, dataset: Dataset) -> dict[str, list[str]]:
    """Label column to the names of its classes, where these stand beside the files in another order than the entry's.

    Args:
        place: the folder of the dataset.
        dataset: its entry.

    Raises:
        DataError: the names are not those of the entry.
    """
    return {
        column: names
        for column, names in classes_beside(place, dataset.hub_config).items()
        if isinstance(label := dataset.columns.get(column), Label)
        and order_of(label, names, f"{place} (its card)", column) is not None
    }


def classes_beside(place: Path, config: str | None) -> dict[str, list[str]]:
    """Column to the names of its classes, from 0 on; of the columns of which something is said.

    Args:
        place: the folder of a dataset.
        config: the configuration whose rows are meant, where several are described.
    """
    for described in _descriptions(place):
        features = described.get(config or "default", next(iter(described.values()), None))
        if found := _classes(features):
            return found
    return {}


def _descriptions(place: Path) -> Iterator[Mapping[str | None, Any]]:
    """Configuration to its features, by each file that says something; what cannot be read says nothing."""
    for name in ("dataset_infos.json", "dataset_info.json"):
        content = _parsed(place / name, json.loads)
        if isinstance(content, dict):
            of_configs = content if name == "dataset_infos.json" else {None: content}
            yield {key: info.get("features") for key, info in of_configs.items() if isinstance(info, dict)}
    card = _parsed(place / "README.md", _front_matter)
    infos = card.get("dataset_info") if isinstance(card, dict) else None
    infos = infos if isinstance(infos, list) else [infos]
    yield {info.get("config_name"): info.get("features") for info in infos if isinstance(info, dict)}


def _parsed(path: Path, parse: Any) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            return parse(file.read(LONGEST))
    except Exception:  # a card is written for people: there may be none, or anything in it
        return None


def _front_matter(text: str) -> Any:
    import yaml

    start, matter, _ = text.split("---\n", 2)
    return None if start.strip() else yaml.safe_load(matter)


def _classes(features: Any) -> dict[str, list[str]]:
    found = {}
    if isinstance(features, dict):
        features = [{"name": name, **feature} for name, feature in features.items() if isinstance(feature, dict)]
    for feature in features if isinstance(features, list) else ():
        if not isinstance(feature, dict):
            continue
        of_type = feature.get("dtype")
        labels = of_type.get("class_label") if isinstance(of_type, dict) else feature
        names = labels.get("names") if isinstance(labels, dict) else None
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=int)] if all(str(k).isdecimal() for k in names) else None
        if isinstance(names, list) and names:
            found[str(feature.get("name"))] = [str(name) for name in names]
    return found
