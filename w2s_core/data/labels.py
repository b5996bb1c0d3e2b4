"""What a file means by the values of a label column, in the numbers that a dataset's entry means.

Conversion only where the meaning is beyond doubt; which columns hold labels is in ``datasets`` and its entries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from w2s_core.data.datasets import Kind, Label
from w2s_core.data.layouts import SPLITS
from w2s_core.errors import DataError

YES_OR_NO = (("0", "1"), ("false", "true"), ("no", "yes"))
"""What 0 and 1 are called by whoever gives them no names of their own."""

Tell = Callable[[str, str], None]
"""``tell(column, how)``: hears of a label column whose classes are mapped."""


def converter(label: Label, names: Sequence[str] | None, where: str, column: str, tell: Tell) -> Callable[[Any], Any]:
    """A function from a file's values of a label column to the entry's; what it cannot convert it returns as it is.

    Args:
        label: what the entry means.
        names: what the file itself calls its numbers from 0 on; None if it does not say.
        where: the file, for the message.
        column: its name, for both.
        tell: hears of names in another order than the entry's.

    Raises:
        DataError: the file's names are not those of the entry.
    """
    order = None if names is None else order_of(label, names, where, column)
    if names is not None and order is not None:
        tell(column, ", ".join(f"{name!r} is {i} there and {order[i]} here" for i, name in enumerate(names)))
    by_name = _by_name(label)
    # An entry that leaves the names to its source has the source's order.
    own = {name: number for number, name in enumerate(names or ())} if is_open(label) else {}

    def convert(value: Any) -> Any:
        number = value
        if isinstance(value, str) and value in own:
            return label.kind(own[value])
        if isinstance(value, bool):
            if not label.is_binary:
                return value
            number = int(value)
        elif isinstance(value, float | Decimal) and value == value and abs(value) < 1e9 and value == int(value):
            number = int(value)
        elif isinstance(value, str):
            digits = value.strip()
            if _plain(value) in by_name and not digits.isdecimal():
                return label.kind(by_name[_plain(value)])  # a name, whatever the order
            if label.kind is str or len(digits) > 9 or not digits.removeprefix("-").isdecimal():
                return value
            number = int(digits)
        if not isinstance(number, int) or (label.kind is bool and number not in (0, 1)):
            return value
        if order is not None and 0 <= number < len(order):
            number = order[number]
        return label.kind(number)

    return convert


def is_open(label: Label) -> bool:
    """Whether an entry leaves to its source what the classes are called."""
    return not label.names and not label.is_binary


def _by_name(label: Label) -> dict[str, int]:
    """Every name of a class to its number."""
    named = {_plain(name): number for number, names in enumerate(label.names) for name in names}
    if label.is_binary:
        named |= {name: number for pair in YES_OR_NO for number, name in enumerate(pair)}
    return named


def order_of(label: Label, names: Sequence[str], where: str, column: str) -> list[int] | None:
    """The entry's number for each of the file's, if they differ.

    Raises:
        DataError: the file's names are not those of the entry.
    """
    if is_open(label):
        return None
    by_name = _by_name(label)
    order = [by_name.get(_plain(name), int(name) if name.isdecimal() else -1) for name in names]
    n_classes = 2 if label.is_binary else len(label.names)
    if -1 in order or len(set(order)) < len(order) or (n_classes and len(order) != n_classes):
        meant = ", ".join(f"{i} = {names[0]}" for i, names in enumerate(label.names))
        said = ", ".join(f"{i} = {name!r}" for i, name in enumerate(names))
        raise DataError(f"{where}: column {column!r} says that {said}; expected {meant or 'numbers without names'}")
    return None if order == list(range(len(order))) else order


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum() or letter == "-")


def class_names(metadata: Mapping[bytes, bytes] | None, where: str) -> dict[str, list[str]]:
    """Column to the names of its classes, as the Hub's feature description in a file's schema has them.

    Raises:
        DataError: there is a description that cannot be read.
    """
    text = (metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        features = json.loads(text)["info"]["features"]
        return {
            name: [str(one) for one in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(
            f"{where}: the description of its columns (schema metadata 'huggingface') cannot be read"
        ) from None


def converters(
    columns: Mapping[str, Kind], names: Mapping[str, Sequence[str]], where: str, tell: Tell
) -> dict[str, Callable[[Any], Any]]:
    """A converter for every label column."""
    return {
        column: converter(kind, names.get(column), where, column, tell)
        for column, kind in columns.items()
        if isinstance(kind, Label)
    }


def mapping_notes(told: Iterable[tuple[str, str, str]]) -> list[str]:
    """What is to be said of classes that are mapped, each once.

    Args:
        told: split, column and how, of every file, as it was told.
    """
    splits: dict[tuple[str, str], set[str]] = {}
    for split, column, how in told:
        splits.setdefault((column, how), set()).add(split)
    return [
        f"labels of column {column!r} of {' and '.join(split for split in SPLITS if split in of)} are mapped: {how}"
        for (column, how), of in splits.items()
    ]
