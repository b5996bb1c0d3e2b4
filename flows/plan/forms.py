"""The form of a grid in the Prefect UI: a preset, what is chosen instead of the preset's, and everything else nested.

Made from the fields of ``GridConfig``. What is left empty is the preset's, so a form is a preset with overrides, as on
the command line, and goes the same way from there.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
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
    """Keep the order of the fields, and show what the preset decides as empty."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position
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


class Choices(Form):
    """The fields that are choices in the form, and free text in a grid's file."""

    preset: Literal[tuple(preset_names())] = Field(  # type: ignore[valid-type]
        "quick", description="The grid to start from. What is left empty below is as in the preset."
    )
    datasets: list[Annotated[Literal[tuple(DATASETS)], BeforeValidator(called)]] = Field(
        [], description="Instead of the preset's."
    )  # type: ignore[valid-type]
    models: list[Literal[(*(LADDER + name for name in LADDERS), *MODELS)]] = Field(  # type: ignore[valid-type]
        [], description="Instead of the preset's: a ladder, or models in order, weakest first."
    )
    methods: list[Literal[tuple(METHODS)]] = Field([], description="Instead of the preset's.")  # type: ignore[valid-type]
    seeds: list[Annotated[int, Field(ge=0)]] = Field([], description="Training seeds, instead of the preset's.")
    file: str = Field("", description="Path of a grid's TOML file on the machine that runs it, instead of a preset.")
    supervisors: list[SupervisorForm] = Field([], description="Instead of the preset's; most grids have none.")
    pairs: list[PairForm] = Field([], description="Instead of the preset's; most grids have all pairs of their ladder.")

    def to_config(self) -> GridConfig:
        """The grid that the form stands for.

        Raises:
            UsageError: no such file, or fields that do not fit; one line, as on the command line.
        """
        chosen = self.model_dump(exclude_none=True, exclude={"preset", "file", "models", "supervisors", "pairs"})
        overrides = dict(_leaves(chosen))
        if self.models:
            overrides["models"] = _ladder(self.models)
        if self.supervisors:
            overrides["supervisors"] = [
                {**each.settings, "kind": each.kind, "name": each.name} for each in self.supervisors
            ]
        if self.pairs:
            overrides["pairs"] = [[pair.weak, pair.strong] for pair in self.pairs]
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


def _emptiable(field: FieldInfo) -> tuple[Any, FieldInfo]:
    """A field that may be left empty, with its bounds and description."""
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        box = _box(kind)
        return box, Field(box(), description=field.description)
    if get_origin(kind) in (Union, types.UnionType):
        # None is what an empty field stands for, anyway.
        [kind] = [part for part in get_args(kind) if part is not types.NoneType]
    if kind is bool:
        kind = Literal["yes", "no"]  # which are read as booleans
    if get_origin(kind) is Literal:
        return Literal[(UNCHANGED, *get_args(kind))], Field(UNCHANGED, description=field.description)
    bounded = Annotated[(kind, *field.metadata)] if field.metadata else kind
    return Union[bounded, SkipJsonSchema[None]], Field(None, description=field.description)  # noqa: UP007


def _box(config: type[BaseModel]) -> type[Form]:
    """All fields of a table of the grid, each of which may be left empty."""
    fields: dict[str, Any] = {name: _emptiable(field) for name, field in config.model_fields.items()}
    return create_model(config.__name__.removesuffix("Config"), __base__=Form, __doc__=config.__doc__, **fields)


NO_FIELDS = ("world",)
"""What a form leaves to a grid's file: the generated world is nobody's choice."""


def _rest() -> dict[str, Any]:
    """The fields of a grid that are not written out; boxes come last."""
    fields = {
        n: _emptiable(f) for n, f in GridConfig.model_fields.items() if n not in {*Choices.model_fields, *NO_FIELDS}
    }
    return dict(sorted(fields.items(), key=lambda item: isinstance(item[1][1].default, Form)))


GridForm = create_model("GridForm", __base__=Choices, __doc__="A grid.", **_rest())
"""The whole form; ``to_config`` makes the grid of it."""
