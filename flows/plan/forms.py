"""The form of a grid in the Prefect UI: a preset, what is chosen instead of the preset's, and everything else nested.

Made from the fields of ``GridConfig``; descriptions say what presets hold, and the bounds. What is left empty is the
preset's, so a form is a preset with overrides, as on the command line, and goes the same way from there. Boxes are
optional, so that the UI shows them closed.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema

from flows.plan.grid import GridConfig
from flows.plan.load import load_grid, preset_names
from flows.plan.resolve import METHODS
from flows.plan.supervisors.supervisor import SUPERVISORS
from w2s_core.data.datasets import DATASETS, called
from w2s_core.models.catalog import LADDERS, MODELS

LADDER = "ladder: "
"""In front of a ladder's name among those of models; some ladders are called like one of their models."""


def _as_form(schema: dict[str, Any]) -> None:
    """Keep the order of the fields, show what the preset decides as empty, and boxes as closed."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position
        # The UI begins with the first form of a field.
        field.get("anyOf", []).sort(key=lambda form: form.get("type") != "null")
        if not field.get("default"):
            field.pop("default", None)


class Form(BaseModel):
    """Base of what the UI shows as one box."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, json_schema_extra=_as_form)


UNCHANGED = "as in the preset"
"""The choice that is none. The form has no other way to leave a choice empty, and a switch has no third position."""


class PairForm(Form):
    """A supervisor, and a model of the ladder that learns from it."""

    weak: str = Field(description="A model of the ladder, or another supervisor.")
    strong: Literal[tuple(MODELS)] = Field(description="Stands later in the ladder.")  # type: ignore[valid-type]


class SupervisorForm(Form):
    """Who gives weak labels besides the models of the ladder."""

    kind: Literal[tuple(SUPERVISORS)] = Field(description="`w2s supervisors` says what each is.")  # type: ignore[valid-type]
    name: str = Field(description="What tables and pairs call it.")
    settings: dict[str, Any] = Field({}, description='Of its kind, such as {"models": ["offline-s"], "n_seeds": 3}.')


MOST_SHOWN = 4
"""Items of a list in a description; of more, their number."""


BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
"""As pydantic names them, in words."""


@cache
def _presets() -> dict[str, dict[str, Any]]:
    """What each preset holds, by its name."""
    return {name: load_grid(name, {}).model_dump(mode="json") for name in preset_names()}


def held(path: str) -> str:
    """What the presets have at a dotted name, in words: "1,600 (demo, quick), 400 (debate)"; empty for nothing."""
    by_value: dict[str, list[str]] = {}
    for name, value in _presets().items():
        for part in path.split("."):
            value = value[part]
        by_value.setdefault(_shown(value), []).append(name)
    if set(by_value) == {""}:
        return ""
    if len(by_value) == 1:
        return f"Presets: {next(iter(by_value))}."
    words = [f"{value or 'none'} ({', '.join(names)})" for value, names in by_value.items()]
    return f"Presets: {'; '.join(words)}."


def _shown(value: Any) -> str:
    if value is None or value in ([], ""):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return str(value.get("name", "its own"))
    if isinstance(value, list):
        items = ["→".join(map(str, item)) if isinstance(item, list) else _shown(item) for item in value]
        return ", ".join(items) if len(items) <= MOST_SHOWN else f"{len(items)} of them"
    return f"{value:,}" if isinstance(value, int) else str(value)


def bounds(metadata: list[Any]) -> str:
    """The bounds of a number in words: "At least 1, at most 100."; empty where it has none."""
    found = [f"{words} {value:,}" for name, words in BOUNDS.items() for value in _values(metadata, name)]
    words = ", ".join(found)
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _values(metadata: list[Any], name: str) -> list[float]:
    return [value for bound in metadata if (value := getattr(bound, name, None)) is not None]


def _described(text: str | None, path: str, metadata: list[Any]) -> str:
    return " ".join(filter(None, (text, bounds(metadata), held(path) if path != "name" else "")))


class Choices(Form):
    """The fields that are choices in the form, and free text in a grid's file."""

    preset: Literal[tuple(preset_names())] = Field(  # type: ignore[valid-type]
        "quick", description="The grid to start from. What is left empty below is as in the preset."
    )
    datasets: list[Annotated[Literal[tuple(DATASETS)], BeforeValidator(called)]] = Field(
        [], description=_described("Instead of the preset's.", "datasets", [])
    )  # type: ignore[valid-type]
    models: list[Literal[(*(LADDER + name for name in LADDERS), *MODELS)]] = Field(  # type: ignore[valid-type]
        [],
        description=_described("Instead of the preset's: a ladder, or models in order, weakest first.", "models", []),
    )
    methods: list[Literal[tuple(METHODS)]] = Field(  # type: ignore[valid-type]
        [], description=_described("Instead of the preset's.", "methods", [])
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [], description=_described("Training seeds, instead of the preset's. Each at least 0.", "seeds", [])
    )
    file: str = Field("", description="Path of a grid's TOML file on the machine that runs it, instead of a preset.")

    @model_validator(mode="before")
    @classmethod
    def _into_more(cls, values: Any) -> Any:
        """Take fields that are in the box ``more`` outside it, too, as in a grid's file."""
        outside = values.keys() & set(RARE) if isinstance(values, dict) else set()
        if not outside:
            return values
        inside = {**(values.get("more") or {}), **{name: values[name] for name in outside}}
        return {**{name: value for name, value in values.items() if name not in outside}, "more": inside}

    def to_config(self) -> GridConfig:
        """The grid that the form stands for.

        Raises:
            UsageError: no such file, or fields that do not fit; one line, as on the command line.
        """
        chosen = self.model_dump(exclude_none=True, exclude={"preset", "file", "models"})
        rare = chosen.pop("more", {})
        supervisors, pairs = rare.pop("supervisors", []), rare.pop("pairs", [])
        overrides = {**dict(_leaves(chosen)), **dict(_leaves(rare))}
        if self.models:
            overrides["models"] = _ladder(self.models)
        if supervisors:
            overrides["supervisors"] = [
                {**each["settings"], "kind": each["kind"], "name": each["name"]} for each in supervisors
            ]
        if pairs:
            overrides["pairs"] = [[pair["weak"], pair["strong"]] for pair in pairs]
        return load_grid(self.file or self.preset, overrides)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of the fields that are not empty."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        elif value not in ("", [], UNCHANGED):
            yield prefix + name, value


def _ladder(choices: list[str]) -> str | list[str]:
    """What ``GridConfig.models`` is for these choices."""
    if len(choices) == 1 and choices[0].startswith(LADDER):
        return choices[0].removeprefix(LADDER)
    models: list[str] = []
    for choice in choices:
        models += LADDERS[choice.removeprefix(LADDER)] if choice.startswith(LADDER) else (choice,)
    return models


def _emptiable(path: str, field: FieldInfo) -> tuple[Any, Any]:
    """A field that may be left empty, with its bounds and description; ``path`` is its dotted name."""
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _closed(_box(path, kind), field.description or (kind.__doc__ or "").partition("\n")[0])
    if get_origin(kind) in (Union, types.UnionType):
        # None is what an empty field stands for, anyway.
        [kind] = [part for part in get_args(kind) if part is not types.NoneType]
    description = _described(field.description, path, field.metadata)
    if kind is bool:
        kind = Literal["yes", "no"]  # which are read as booleans
    if get_origin(kind) is Literal:
        return Literal[(UNCHANGED, *get_args(kind))], Field(UNCHANGED, description=description)
    bounded = Annotated[(kind, *field.metadata)] if field.metadata else kind
    return Union[bounded, SkipJsonSchema[None]], Field(None, description=description)  # noqa: UP007


def _closed(box: type[Form], description: str) -> tuple[Any, Any]:
    """A box that the UI shows closed, until somebody opens it."""
    return Union[None, box], Field(None, description=description)  # noqa: UP007


def _box(path: str, config: type[BaseModel]) -> type[Form]:
    """All fields of a table of the grid, each of which may be left empty."""
    fields: dict[str, Any] = {name: _emptiable(f"{path}.{name}", f) for name, f in config.model_fields.items()}
    return create_model(config.__name__.removesuffix("Config"), __base__=Form, __doc__=config.__doc__, **fields)


NO_FIELDS = ("world",)
"""What a form leaves to a grid's file: the generated world is nobody's choice."""

RARE = ("supervisors", "pairs", "self_training", "data_seed", "ceiling_half", "salience", "retention")
"""Fields of a grid that few change: the box ``more`` has them."""


class Lists(Form):
    """Those of them that are lists of tables."""

    supervisors: list[SupervisorForm] = Field([], description="Instead of the preset's; most grids have none.")
    pairs: list[PairForm] = Field([], description="Instead of the preset's; most grids have all pairs of their ladder.")


def _rest() -> dict[str, Any]:
    """The fields of a grid that are not written out; boxes come last, and of these the one with what few change."""
    known = {*Choices.model_fields, *Lists.model_fields, *NO_FIELDS}
    fields = {name: _emptiable(name, field) for name, field in GridConfig.model_fields.items() if name not in known}
    rare = create_model(
        "More",
        __base__=Lists,
        __doc__="What few change.",
        **{name: fields.pop(name) for name in RARE if name in fields},
    )
    fields["more"] = _closed(rare, "What few change: other supervisors, pairs, seeds of the data, ceilings.")
    boxes = {name for name, (kind, _) in fields.items() if _is_box(kind)}
    return dict(sorted(fields.items(), key=lambda item: item[0] in boxes))


def _is_box(kind: Any) -> bool:
    return any(isinstance(part, type) and issubclass(part, Form) for part in get_args(kind))


GridForm = create_model("GridForm", __base__=Choices, __doc__="A grid.", **_rest())
"""The whole form; ``to_config`` makes the grid of it."""
