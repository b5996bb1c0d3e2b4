"""What there is to choose from, as tables: datasets, models, ladders, parts of methods, supervisors."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pydantic.fields import FieldInfo

from flows.plan.learners import LEARNERS
from flows.plan.supervisors.supervisor import SUPERVISORS
from w2s_core.config import AdaptConfig, Frozen
from w2s_core.data.datasets import DATASETS
from w2s_core.debate.debaters.debater import DEBATERS
from w2s_core.debate.protocol import protocol_names, read_protocol
from w2s_core.methods.ensembles import WAYS
from w2s_core.methods.losses import LOSSES
from w2s_core.methods.mistakes import STRUCTURES
from w2s_core.methods.stopping import STOPS
from w2s_core.methods.treatments import TREATMENTS
from w2s_core.models.catalog import LADDERS, MODELS


def datasets_table() -> pa.Table:
    """One row per dataset."""
    rows = []
    for name in DATASETS:
        dataset = DATASETS.get(name)
        rows.append(
            {
                "dataset": name,
                "setting": dataset.setting,
                "hub": dataset.hub_id,
                "config": dataset.hub_config,
                "train": dataset.splits["train"],
                "test": dataset.splits["test"],
                "examples": None if dataset.sizes is None else f"{dataset.sizes[0]:,} + {dataset.sizes[1]:,}",
                "max chars": dataset.max_chars,
                "licence": dataset.licence,
                "not verified": dataset.unverified,
            }
        )
    return pa.Table.from_pylist(rows)


def models_table() -> pa.Table:
    """One row per model, with the ladders it stands in."""
    rows = []
    for name, model in MODELS.items():
        ladders = [ladder for ladder, members in LADDERS.items() if name in members]
        rows.append(
            {
                "model": name,
                "path": model.path or "offline",
                "ladders": ", ".join(ladders),
                "lr": model.lr,
                "precision": model.precision,
                "max length": model.max_length,
                "lora": model.lora is not None,
            }
        )
    return pa.Table.from_pylist(rows)


Parts = Mapping[str, Mapping[str, type[Frozen]]]
"""What a table of a grid's file takes, by field and name."""


def methods_table() -> pa.Table:
    """One row per part of a method: what it is, what it takes, and where it was published."""
    return _parts_table(
        {
            "loss": {name: LOSSES.get(name).params for name in LOSSES},
            "labels": {name: TREATMENTS.get(name).params for name in TREATMENTS},
            "stop": {name: STOPS.get(name).params for name in STOPS},
            "adapt": {"adapt": AdaptConfig},
            "learn": {name: LEARNERS.get(name).spec for name in LEARNERS},
        }
    )


def supervisors_table() -> pa.Table:
    """One row per kind of supervisor and what it may name, such as a way to combine; columns as of methods."""
    parts = _parts_table(
        {
            "kind": {name: SUPERVISORS.get(name).spec for name in SUPERVISORS},
            "by": {name: WAYS.get(name).params for name in WAYS},
            "debater": {name: DEBATERS.get(name).params for name in DEBATERS},
            "errors": {name: STRUCTURES.get(name).params for name in STRUCTURES},
        }
    )
    read = {name: read_protocol(name) for name in protocol_names()}
    protocols = [
        {"part": "protocol", "name": name, "what": said.about, "settings": f"n_turns = {said.n_turns}", "source": None}
        for name, said in read.items()
    ]
    return pa.concat_tables([parts, pa.Table.from_pylist(protocols, parts.schema)])


def _parts_table(parts: Parts) -> pa.Table:
    rows = [
        {
            "part": part,
            "name": name,
            "what": inspect.cleandoc(params.__doc__ or "").partition("\n\n")[0],
            "settings": ", ".join(
                _setting(field, info)
                for field, info in params.model_fields.items()
                if field != "name" and field != _tag(params)
            ),
            "source": params.cited or None,
        }
        for part, entries in parts.items()
        for name, params in entries.items()
    ]
    return pa.Table.from_pylist(rows)


def _setting(field: str, info: FieldInfo) -> str:
    """A field with its default, and what it may be: bounds, or other choices."""
    default = _name(type(info.default)) if isinstance(info.default, Frozen) else info.default
    text = field if info.is_required() else f"{field} = {default}"
    limits = [*_bounds(info.metadata), *_choices(info.annotation, info.default)]
    return f"{text} ({', '.join(limits)})" if limits else text


def _tag(part: type[Frozen]) -> str | None:
    """The field that tells a part from others of its kind, which can have one value only; None: it has no others."""
    return next((field for field, info in part.model_fields.items() if _is_fixed(info.annotation)), None)


def _is_fixed(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def _name(part: type[Frozen]) -> str:
    return str(part.model_fields[_tag(part) or ""].default)


def _bounds(metadata: list[Any]) -> list[str]:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    return [
        f"{sign} {getattr(bound, name):g}"
        for bound in metadata
        for name, sign in signs.items()
        if isinstance(getattr(bound, name, None), int | float)
    ]


def _choices(annotation: Any, default: Any) -> list[str]:
    """What else a field may be, of a ``Literal`` or of several forms."""
    if get_origin(annotation) is Literal:
        others = [str(choice) for choice in get_args(annotation) if choice != default]
        return ["or " + ", ".join(others)] if others else []
    if get_origin(annotation) is Annotated:
        return _bounds([m for part in get_args(annotation)[1:] for m in getattr(part, "metadata", [part])])
    if get_origin(annotation) in (Union, types.UnionType):
        tables = [part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, Frozen)]
        others = [_name(table) for table in tables if not isinstance(default, table)]
        tabled = ["or " + ", ".join(others)] if others else []
        return tabled + [choice for part in get_args(annotation) for choice in _choices(part, default)]
    return []
