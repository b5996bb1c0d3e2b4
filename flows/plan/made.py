"""What a plan, and a run of it, keep of the artifacts that are there: a hundred thousand manifests would be too much.

How artifacts are looked up, and what a whole manifest says, is in ``artifacts.store``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple

from artifacts.store.manifest import Manifest

VERSIONS_THAT_MATTER = ("torch", "transformers")
"""Libraries whose version is no identity, but is worth a line when it changed."""


class Content(NamedTuple):
    """What an output holds."""

    digest: str
    evicted: bool


class Made(NamedTuple):
    """An artifact."""

    stage: str
    key: str
    node: str
    """The node that it was made as."""
    outputs: Mapping[str, Content]
    seconds: float
    """How long its stage took."""
    versions: tuple[str | None, ...]
    """Of ``VERSIONS_THAT_MATTER``, that it was made with."""
    device: str
    """On which it was made; empty where that is not known."""


def made_of(manifest: Manifest, stage: str, key: str, node: str) -> Made:
    """What there is to keep of a manifest, with the strings that the plan has already.

    Args:
        manifest: what the store has.
        stage: its stage.
        key: its key.
        node: id of the node that it is there for, and that it was made as in most cases.
    """
    return Made(
        stage,
        key,
        node if manifest.node == node else manifest.node,
        {name: Content(output.digest, output.evicted) for name, output in manifest.outputs.items()},
        manifest.timings.get("seconds", 0.0),
        tuple([manifest.environment.get(library) for library in VERSIONS_THAT_MATTER]),
        sys.intern(str(manifest.environment.get("device") or "")),
    )
