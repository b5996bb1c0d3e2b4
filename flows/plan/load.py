"""From what a user typed to a GridConfig: presets, TOML files, overrides; each error is one line naming the field."""

from __future__ import annotations

import copy
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from artifacts.errors import UsageError
from flows.plan.grid import GridConfig
from flows.plan.naming import derived_name
from w2s_core.data.datasets import called
from w2s_core.registry import UnknownNameError, unknown_name

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


GONE = {
    "training.batching": "is gone: every batch is a random sample of the rows; leave it out",
    "training.lr": "is a field of each model; training.lr_scale multiplies that of all of them",
}
"""Fields that older grid files have or that are looked for there, and what there is instead."""


def preset_names() -> list[str]:
    """Names of the grids that ship with the package."""
    files = resources.files("flows.grids").iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".toml"))


def load_grid(grid: str, overrides: Mapping[str, Any]) -> GridConfig:
    """The grid of a preset's name or a TOML file, with overrides.

    Args:
        grid: a preset's name, or the path of a TOML file (told by its suffix or a separator).
        overrides: dotted field name to value, such as ``{"training.epochs": 3}``. Where they change what is compared,
            and do not name the grid, it gets a name of its own.

    Raises:
        UsageError: no such grid, unreadable TOML, or a field that does not fit.
    """
    if grid in preset_names():
        origin = f"preset {grid}"
        text = (resources.files("flows.grids") / f"{grid}.toml").read_text(encoding="utf-8")
    else:
        path = Path(grid)
        if not path.is_file():
            if path.suffix == ".toml" or len(path.parts) > 1:
                raise UsageError(f"no grid file at {path}; `w2s init {path}` writes one")
            raise UsageError(unknown_name("grid", grid, preset_names()) + " (or give the path of a TOML file)")
        origin = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: cannot be read as text: {error}") from None
    try:
        values = _parsed(text, origin)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin}: not valid TOML: {error}") from None
    values.setdefault("name", Path(grid).stem)
    if not overrides or "name" in overrides:
        return overridden_grid(values, overrides, origin)
    try:
        base = GridConfig.model_validate(copy.deepcopy(values))
    except ValidationError:
        base = None  # The overrides may be what it lacks.
    config = overridden_grid(values, overrides, origin)
    return config.model_copy(update={"name": derived_name(base, config, overrides)})


def overridden_grid(values: dict[str, Any], overrides: Mapping[str, Any], origin: str) -> GridConfig:
    """The grid with these values, some of them replaced; ``overrides`` as in ``load_grid``.

    Raises:
        UsageError: a field that does not fit.
    """
    for field, value in overrides.items():
        _set(values, field, value)
    return parse_grid(values, origin)


def parse_grid(values: Mapping[str, Any], origin: str) -> GridConfig:
    """The grid with these values.

    Raises:
        UsageError: the first field that does not fit, in one line; further ones are counted.
    """
    if isinstance(values.get("datasets"), list | tuple):
        try:
            names = [called(name) if isinstance(name, str) else name for name in values["datasets"]]
        except UnknownNameError as error:
            raise UsageError(f"{origin}: datasets: {error}") from None
        values = {**values, "datasets": names}
    try:
        return GridConfig.model_validate(values)
    except ValidationError as error:
        first, *more = map(_line, _causes(error.errors(include_url=False)))
        also = f" ({len(more)} more: {'; '.join(more[:2])})" if more else ""
        raise UsageError(f"{origin}: {first}{also}") from None


def parse_value(text: str) -> Any:
    """A value from the command line: TOML where it is, else a string.

    Raises:
        UsageError: TOML that cannot be read for what it holds.
    """
    try:
        return _parsed(f"value = {text}", _shown(text))["value"]
    except tomllib.TOMLDecodeError:
        return text


def _parsed(text: str, origin: str) -> dict[str, Any]:
    """TOML, of which the parser also fails on some that is none of its mistakes.

    Raises:
        UsageError: a whole number of thousands of digits, or brackets that are nested very deeply.
        TOMLDecodeError: it is not valid.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise UsageError(f"{origin}: brackets are nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{origin}: a value cannot be read ({str(error).partition(';')[0]})") from None


def _set(values: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UsageError(f"{field}: {parent} is no table")
    values[last] = value


def _causes(items: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without those that say of a list with something wrong in it that it is too short: such an item does not count."""
    return [
        item
        for item in items
        if item["type"] != "too_short" or not any(_is_inside(other["loc"], item["loc"]) for other in items)
    ]


def _is_inside(place: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _line(item: ErrorDetails) -> str:
    # Tags of the forms of a field stand in the location, too.
    path = [part for part in item["loc"] if not str(part).startswith("<")]
    where = ".".join(map(str, path))
    if item["type"] == "extra_forbidden" and where in GONE:
        return f"{where} {GONE[where]}"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), _fields_at(path[:-1]), n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(_fields_at(path[:-1]))}"
        return f"{where}: unknown field; {hint}"
    if item["type"] == "missing":
        return f"{where}: missing"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "string_pattern_mismatch":
        message = "a name has letters, digits, dots, dashes and underscores only, a letter or digit first"
    shown = "" if isinstance(item["input"], dict) else f" (got {_shown(item['input'])})"
    return f"{where}: {message[0].lower()}{message[1:]}{shown}"


def _shown(value: Any) -> str:
    """A value as a part of one line, however large it is."""
    try:
        text = repr(value)
    except ValueError:  # more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= 200 else text[:197] + "..."


def _fields_at(path: Sequence[int | str]) -> list[str]:
    """Names of the fields of the table at a path of field names and list positions."""
    tables: list[type[BaseModel]] = [GridConfig]
    for part in path:
        fields = [table.model_fields[str(part)] for table in tables if part in table.model_fields]
        if fields:
            tables = _tables_in(fields[0].annotation)
    return list({name: None for table in tables for name in table.model_fields})


def _tables_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [table for part in get_args(annotation) for table in _tables_in(part)]
