"""Copies what one store has, and another lacks: grid files first, so that ``gc`` keeps what follows, manifests last."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from artifacts.errors import MissingArtifact
from artifacts.store.contract import Problem, Store, digest_problems, outlast_gc
from artifacts.store.grids import Grids
from artifacts.store.manifest import Manifest

N_AT_ONCE = 8


class Copied(NamedTuple):
    """What a copy did."""

    n_artifacts: int
    size_bytes: int
    n_there: int
    """Artifacts that the target had already."""
    problems: list[Problem]
    """Artifacts that were not copied, because their files are not as their manifest says."""


def copy(source: Store, target: Store, tell: Callable[[Manifest], None] = lambda made: None) -> Copied:
    """Copy grid files and artifacts that ``target`` lacks; nothing that it has is changed, evicted outputs included.

    Args:
        source: where they are.
        target: where they go.
        tell: called with the manifest of each artifact that was copied, from any thread.
    """
    Grids(target).merge(Grids(source))
    outlast_gc(target, {(made.stage, made.key) for made in target.manifests()})
    have, there = source.listing(), target.listing()
    whole = [made for made in have.manifests() if have.get(made.stage, made.key) is not None]
    missing = [made for made in whole if there.get(made.stage, made.key) is None]

    def copy_one(made: Manifest) -> str | None:
        with target.claim(made.stage, made.key, label="copy"), target.draft(made.stage, made.key) as draft:
            try:
                source.copy_files(made, draft)
            except (MissingArtifact, FileNotFoundError):
                return "removed while it was copied"
            for problem in digest_problems(draft, made.outputs):
                return problem
            target.publish(draft, made)
            tell(made)
            return None

    with ThreadPoolExecutor(N_AT_ONCE) as threads:
        said = list(zip(missing, threads.map(copy_one, missing), strict=True))
    copied = [made for made, problem in said if problem is None]
    return Copied(
        len(copied),
        sum(sum(made.payload.values()) + sum(made.side.values()) for made in copied),
        len(whole) - len(missing),
        [Problem(made.stage, made.key, problem) for made, problem in said if problem is not None],
    )
