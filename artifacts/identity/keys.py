"""Keys and node ids: canonical JSON and what goes into it. Digests of bytes are in ``digests``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

JSON = Any
"""A JSON value; pydantic and json check it where it enters."""


class Canonical(str):
    """The canonical JSON of a value, where it stands for the value: it is made once for all that is digested of it."""

    __slots__ = ()


_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)


def canonical_json(value: JSON) -> str:
    """The one text of a JSON value: sorted keys, no spaces, shortest floats, no NaN.

    Raises:
        TypeError: a value that is no JSON, or a key that is no string.
        ValueError: NaN or an infinity.
    """
    _check_keys(value)
    return _ENCODER.encode(value)


_NESTED = (dict, list, tuple)


def _check_keys(value: JSON) -> None:
    # json.dumps would turn the keys 1 and "1" into the same text.
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a key of canonical JSON must be a string, not {key!r}")
        value = value.values()
    elif not isinstance(value, _NESTED):
        return
    for item in value:
        if isinstance(item, _NESTED):  # most are not, and a plan asks for every node
            _check_keys(item)


def json_digest(value: JSON) -> str:
    """SHA-256 of the canonical JSON of ``value``, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _digest(before: dict[str, JSON], params: Mapping[str, JSON] | Canonical, after: dict[str, JSON]) -> str:
    """``json_digest`` of an object with ``params`` between fields whose names come before and after that."""
    text = params if isinstance(params, Canonical) else canonical_json(params)
    first = f"{canonical_json(before)[:-1]}," if before else "{"
    return hashlib.sha256(f'{first}"params":{text},{canonical_json(after)[1:]}'.encode()).hexdigest()


def without_added(params: Mapping[str, JSON], added: Mapping[str, JSON]) -> dict[str, JSON]:
    """``params`` less every later addition that equals the value it stood for, and less tables that this empties.

    Args:
        params: all parameters of a stage.
        added: dotted path of an added parameter to its frozen value, as in ``w2s_core.stages.ADDED``.
    """
    kept: dict[str, JSON] = dict(params)
    # What was added to a table goes before the table is compared.
    for path, frozen in sorted(added.items(), key=lambda addition: -addition[0].count(".")):
        *parents, last = path.split(".")
        levels = [kept]
        for parent in parents:
            child = levels[-1].get(parent)
            if not isinstance(child, dict):
                break
            levels[-1][parent] = dict(child)
            levels.append(levels[-1][parent])
        else:
            if last in levels[-1] and _is_same(levels[-1][last], frozen):
                del levels[-1][last]
                for level, parent in reversed(list(zip(levels, parents, strict=False))):
                    if not level[parent]:
                        del level[parent]
    return kept


def _is_same(value: JSON, frozen: JSON) -> bool:
    """Whether two values have one canonical JSON; 1 and 1.0 have not."""
    if isinstance(value, str) and isinstance(frozen, str):
        return value == frozen  # which most are, and a plan asks for every node
    return canonical_json(value) == canonical_json(frozen)


def artifact_key(
    *,
    stage: str,
    schema: int,
    fingerprint: str,
    params: Mapping[str, JSON] | Canonical,
    inputs: Mapping[str, str],
) -> str:
    """The identity of what a stage makes.

    Args:
        stage: name of the stage.
        schema: number of its output schema.
        fingerprint: digest of the code that it reaches.
        params: all its parameters, less what ``without_added`` removes.
        inputs: name of each input to the digest of the content it reads.
    """
    return _digest({"code": fingerprint, "inputs": inputs}, params, {"schema": schema, "stage": stage})


def node_id(*, stage: str, params: Mapping[str, JSON] | Canonical, parents: Mapping[str, str]) -> str:
    """What a node is, whatever its code and bytes: stage, parameters and where each input comes from.

    Args:
        stage: name of the stage.
        params: all its parameters, less what ``without_added`` removes.
        parents: name of each input to ``"<node id>/<output>"``, or to the path of an external file.
    """
    return _digest({}, params, {"parents": parents, "stage": stage})
