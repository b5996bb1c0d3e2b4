"""Keys and node ids: canonical JSON and what goes into it. Digests of bytes are in ``digests``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

JSON = Any
"""A JSON value; pydantic and json check it where it enters."""


def canonical_json(value: JSON) -> str:
    """The one text of a JSON value: sorted keys, no spaces, shortest floats, no NaN.

    Raises:
        TypeError: a value that is no JSON, or a key that is no string.
        ValueError: NaN or an infinity.
    """
    _check_keys(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _check_keys(value: JSON) -> None:
    # json.dumps would turn the keys 1 and "1" into the same text.
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key of canonical JSON must be a string, not {key!r}")
            _check_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)


def json_digest(value: JSON) -> str:
    """SHA-256 of the canonical JSON of ``value``, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def without_added(params: Mapping[str, JSON], added: Mapping[str, JSON]) -> dict[str, JSON]:
    """``params`` less every later addition that equals the value it stood for.

    Args:
        params: all parameters of a stage.
        added: dotted path of an added parameter to its frozen value, as in ``w2s_core.stages.ADDED``.
    """
    kept: dict[str, JSON] = dict(params)
    for path, frozen in added.items():
        *parents, last = path.split(".")
        level = kept
        for parent in parents:
            child = level.get(parent)
            if not isinstance(child, dict):
                break
            level[parent] = level = dict(child)
        else:
            if last in level and canonical_json(level[last]) == canonical_json(frozen):
                del level[last]
    return kept


def artifact_key(
    *,
    stage: str,
    schema: int,
    fingerprint: str,
    params: Mapping[str, JSON],
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
    return json_digest({"stage": stage, "schema": schema, "code": fingerprint, "params": params, "inputs": inputs})


def node_id(*, stage: str, params: Mapping[str, JSON], parents: Mapping[str, str]) -> str:
    """What a node is, whatever its code and bytes: stage, parameters and where each input comes from.

    Args:
        stage: name of the stage.
        params: all its parameters, less what ``without_added`` removes.
        parents: name of each input to ``"<node id>/<output>"``, or to the path of an external file.
    """
    return json_digest({"stage": stage, "params": params, "parents": parents})
