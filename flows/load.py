"""From what a user typed to a GridConfig: presets, TOML files, overrides; each error is one line naming the field."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from artifacts.errors import UsageError
from w2s_core.config import GridConfig
from w2s_core.registry import unknown_name


def preset_names() -> list[str]:
    """Names of the grids that ship with the package."""
    files = resources.files("flows.grids").iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".toml"))


def load_grid(grid: str, overrides: Mapping[str, Any]) -> GridConfig:
    """The grid of a preset's name or a TOML file, with overrides.

    Args:
        grid: a preset's name, or the path of a TOML file (told by its suffix or a separator).
        overrides: dotted field name to value, such as ``{"training.epochs": 3}``.

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
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin}: not valid TOML: {error}") from None
    for field, value in overrides.items():
        _set(values, field, value)
    values.setdefault("name", Path(grid).stem)
    return parse_grid(values, origin)


def parse_grid(values: Mapping[str, Any], origin: str) -> GridConfig:
    """The grid with these values.

    Raises:
        UsageError: the first field that does not fit, in one line; further ones are counted.
    """
    try:
        return GridConfig.model_validate(values)
    except ValidationError as error:
        first, *more = (_line(item) for item in _distinct(error))
        also = f" ({len(more)} more: {'; '.join(more[:2])})" if more else ""
        raise UsageError(f"{origin}: {first}{also}") from None


def parse_value(text: str) -> Any:
    """A value from the command line: TOML where it is, else a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _set(values: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UsageError(f"{field}: {parent} is no table")
    values[last] = value


def _distinct(error: ValidationError) -> list[Any]:
    """Errors by field; of a union, only the branch that came nearest."""
    errors = error.errors(include_url=False)
    # Of a field that takes several forms (a name or a table), each form reports; the deepest report is of the
    # form that the user meant.
    kept: dict[tuple[Any, ...], Any] = {}
    for item in errors:
        path = _path(item["loc"])
        root = path[:2] if len(path) > 1 and isinstance(path[1], int) else path[:1]
        if root not in kept or len(path) > len(_path(kept[root]["loc"])):
            kept[root] = item
    return list(kept.values())


def _path(loc: Sequence[int | str]) -> tuple[int | str, ...]:
    """The location without the names of union branches, which are no fields."""
    fields = _all_fields(GridConfig)
    inner = loc[1:-1]
    last = loc[-1:] if len(loc) > 1 else ()
    return (loc[0], *(part for part in inner if isinstance(part, int) or part in fields), *(
        part for part in last if isinstance(part, int) or _is_field_like(part)
    ))  # fmt: skip


def _is_field_like(part: int | str) -> bool:
    return isinstance(part, str) and part.isidentifier() and part not in ("str", "tuple", "int")


def _line(item: Mapping[str, Any]) -> str:
    path = _path(item["loc"])
    where = ".".join(str(part) for part in path)
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(item["loc"][-1]), _all_fields(GridConfig), n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else "; `w2s init` shows all fields"
        return f"{where}: unknown field{hint}"
    if item["type"] == "missing":
        return f"{where}: missing"
    message = item["msg"].removeprefix("Value error, ")
    given = item["input"]
    shown = "" if isinstance(given, dict | BaseModel) else f" (got {given!r})"
    return f"{where}: {message[0].lower()}{message[1:]}{shown}"


def _all_fields(model: type[BaseModel]) -> list[str]:
    """Names of all fields of a model and of the models inside it."""
    names: dict[str, None] = {}
    todo: list[Any] = [model]
    seen: set[Any] = set()
    while todo:
        kind = todo.pop()
        if kind in seen:
            continue
        seen.add(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                names[name] = None
                todo.append(field.annotation)
        todo += [part for part in getattr(kind, "__args__", ()) if not isinstance(part, str)]
    return list(names)
