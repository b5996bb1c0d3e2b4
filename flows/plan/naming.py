"""What a grid is called when options or a form change what it compares, and what such a change is in words.

A name stands for one definition: what is compared is found under it, in the results and for ``gc``. So a change gets a
name of its own, the same for the same change, and the same command goes on where it ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from artifacts.errors import UsageError
from artifacts.identity.keys import JSON, json_digest
from flows.plan.grid import GridConfig
from flows.plan.resolve import resolve_methods, resolve_models, resolve_pairs

LONGEST = 60
"""Characters of a derived name; a longer one is cut, and ends with a digest of the change."""

N_DIGITS = 6
"""Of such a digest."""

NO_DEFINITION = ("name", "runtime", "retention", "audit")
"""Fields that change neither what is compared nor a number in it."""

BARE = ("datasets", "source", "models", "pairs", "methods")
"""Fields whose values speak for themselves."""

MOST_TOLD = 3
LONGEST_VALUE = 40


def derived_name(base: GridConfig | None, config: GridConfig, overridden: Mapping[str, Any]) -> str:
    """The name of ``config``, made from that of ``base`` and what is different.

    Args:
        base: the grid without overrides; None where it is none without them.
        config: the grid with them.
        overridden: dotted names of the fields that were set.
    """
    after, before = definition(config), {} if base is None else definition(base)
    changed = [
        name
        for name in after
        if before.get(name) != after[name] and any(f"{name}.".startswith(f"{field}.") for field in overridden)
    ]
    if not changed:
        return config.name
    words, is_told = [config.name], True
    shown = dict(_leaves(config.model_dump(mode="json")))
    for name in changed:
        told = list(_words(name, shown.get(name)))
        is_told = is_told and "" not in told
        words += [*([] if name in BARE else [name]), *(word for word in told if word)]
    full = "-".join(words)
    if is_told and len(full) <= LONGEST:
        return full
    digest = json_digest({name: after[name] for name in changed})[:N_DIGITS]
    return f"{full[: LONGEST - N_DIGITS - 1].rstrip('-._')}-{digest}"


def definition(config: GridConfig) -> dict[str, JSON]:
    """The fields that are a grid's definition, by dotted name: what names stand for, and lists in one order."""
    values = config.model_dump(mode="json", exclude=set(NO_DEFINITION))
    try:
        models = resolve_models(config)
        # How many devices a model is trained on is no more than rounding.
        values["models"] = [model.model_dump(mode="json", exclude={"devices"}) for model in models]
        values["pairs"] = sorted(map(list, resolve_pairs(config, [model.name for model in models])))
        values["methods"] = [method.model_dump(mode="json") for method in resolve_methods(config)]
    except UsageError:
        pass  # Said when the grid is opened.
    for name in ("datasets", "methods", "seeds"):
        values[name] = sorted(values[name], key=str)
    return dict(_leaves(values))


def difference(before: Mapping[str, Any], after: GridConfig) -> str:
    """What is different between the configuration of an earlier run and one of today, in a few words."""
    raw = dict(_leaves(before)), dict(_leaves(after.model_dump(mode="json")))
    try:
        earlier, now = definition(GridConfig.model_validate(before)), definition(after)
    except ValueError:  # of a version of this program with other fields
        earlier, now = raw
    names = [name for name in {**now, **earlier} if earlier.get(name) != now.get(name)]
    names = [name for name in names if name.partition(".")[0] not in NO_DEFINITION]
    told = [f"{name} {_short(raw[0].get(name))} → {_short(raw[1].get(name))}" for name in names[:MOST_TOLD]]
    if len(names) > MOST_TOLD:
        told.append(f"{len(names) - MOST_TOLD} more")
    return ", ".join(told) or "its inputs, or what its stages are given"


def _words(field: str, value: JSON) -> Iterator[str]:
    """A value in the characters of a name; an empty word stands for what they cannot say."""
    if isinstance(value, list):
        if field == "seeds":
            value = sorted(value)
        elif field in ("datasets", "methods"):
            value = sorted(value, key=str)
        for item in value:
            yield from _words(field, item)
        if field == "models" and len(value) == 1:
            yield ""  # A ladder may have the name of one of its models.
    elif isinstance(value, dict):
        yield from ([value["name"]] if isinstance(value.get("name"), str) else [])
        yield ""
    else:
        text = (
            {True: "on", False: "off", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)
        )
        word = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-")
        yield word
        if word != text:
            yield ""


def _short(value: JSON) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _leaves(values: Mapping[str, JSON], prefix: str = "") -> Iterator[tuple[str, JSON]]:
    """Dotted names and values of everything that is no table."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
