"""What a store is: immutable artifacts ``<stage>/<key>/``, complete as soon as their manifest is there.

Where the bytes lie is in ``local_store`` and ``s3.store``; ``open_store`` alone chooses. What a manifest says is in
``manifest``, what a run is about in ``grids``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from artifacts.errors import CorruptArtifact
from artifacts.store.claims import Claim
from artifacts.store.manifest import Manifest, Output
from artifacts.store.records import Records
from artifacts.waiting import STOP

FORMAT = "w2s-store"
VERSION = 1
MARKER = "store.json"
MANIFEST = "manifest.json"

ABSENT_LINE = "%s %s is broken and counts as absent: %s"
"""What the log says of each broken artifact that somebody looks for."""

SWEEPING = "gc"
"""Label of the claims of those who remove: ``gc``, and the retention of weights."""

Keep = Callable[[], Set[tuple[str, str]]]
"""(stage, key) of every artifact to keep, as it is at the moment of the call; see ``grids.Grids.reach``."""


class Problem(NamedTuple):
    """What is wrong with one artifact."""

    stage: str
    key: str
    what: str


class Removed(NamedTuple):
    """Something that ``gc`` removed, or would remove."""

    what: str
    size_bytes: int


class Reader(Protocol):
    """What is in a store."""

    def get(self, stage: str, key: str) -> Manifest | None:
        """The manifest of an artifact that is there and whole, or evicted.

        A broken one counts as absent, and a warning in the log says so.
        """

    def seen(self, stage: str, key: str) -> object:
        """Which manifest an artifact has: equal for as long as it is the same; made anew, or rewritten, it is another.

        None where there is none. Cheaper than ``get``, which alone knows whether the artifact is whole.
        """

    def problem(self, stage: str, key: str) -> str | None:
        """Why an artifact counts as absent: ``"test.parquet: 120 of 4096 bytes"``; else None."""

    def output_path(self, stage: str, key: str, output: str) -> Path:
        """The file or folder of one output, on this machine.

        Raises:
            MissingArtifact: the artifact is not there, or this output was evicted.
        """

    def side_path(self, stage: str, key: str, path: str) -> Path:
        """A side file that the manifest names, on this machine; unlike an output it may be gone or damaged.

        Raises:
            MissingArtifact: the artifact is not there.
        """

    def stamps(self) -> dict[tuple[str, str], str]:
        """(stage, key) of everything that has a manifest, to a text that is another when the manifest is another.

        Cheaper than to read them, and may be kept from one process to the next.
        """

    def has_files(self, stage: str, key: str, paths: Mapping[str, int]) -> bool:
        """Whether these files of an artifact, by their paths in its manifest, are there with these sizes in bytes."""

    def manifests(self, besides: Collection[tuple[str, str]] = ()) -> Iterator[Manifest]:
        """Every manifest that can be read, whatever became of its files.

        Args:
            besides: (stage, key) of artifacts that are passed over.
        """


class Store(Reader, Protocol):
    """A store. The first write creates it; until then it reads as empty."""

    @property
    def url(self) -> str:
        """What ``open_store`` opens it by."""

    @property
    def records(self) -> Records:
        """Its grid files."""

    def listing(self) -> Reader:
        """The store as it is now, for many lookups at one moment."""

    def running(self) -> list[Claim]:
        """Who is making what at this moment."""

    def verify(self) -> Iterator[Problem]:
        """Read every output of every artifact, and yield what is not as its manifest says."""

    def copy_files(self, wanted: Manifest, folder: Path) -> None:
        """Copy all files of an artifact, less evicted ones, into an empty folder."""

    def claim(
        self, stage: str, key: str, *, label: str = "", stop: threading.Event = STOP
    ) -> AbstractContextManager[None]:
        """Hold the claim on an artifact while making it, after whoever holds it now.

        Args:
            stage: stage of the artifact.
            key: key of the artifact.
            label: what to show to others.
            stop: give up waiting when this is set.

        Raises:
            Stopped: ``stop`` was set before the claim was had.
        """

    def draft(self, stage: str, key: str) -> AbstractContextManager[Path]:
        """An empty folder on this machine to make an artifact in; it goes away unless it is published.

        Raises:
            StorageFull: the block failed because the device is full.
        """

    def publish(self, draft: Path, made: Manifest) -> Manifest:
        """Put what was made in ``draft`` in its place, unless a whole artifact is there already.

        Evicted outputs of an artifact that is there come back; where they differ from what they
        were, the earlier digest is kept as superseded.

        Returns:
            The manifest that now stands.

        Raises:
            ValueError: the manifest names a file that the draft does not have.
        """

    def evict(self, stage: str, key: str, output: str) -> None:
        """Remove the files of one output; the artifact still counts as done.

        Raises:
            MissingArtifact: no such artifact.
        """

    def gc(self, keep: Keep, *, dry_run: bool) -> list[Removed]:
        """Remove what is neither kept nor being made, and what crashes left behind.

        The store is listed first: what is published or replaced after that stays, whatever it is. Then ``keep`` is
        asked, and again for each artifact when its claim is held. Who begins to rely on an artifact makes it one to
        keep, calls ``outlast_gc``, and looks whether it is still there.

        Args:
            keep: what to keep.
            dry_run: only say what would go.
        """


def outlast_gc(store: Store, artifacts: Collection[tuple[str, str]]) -> None:
    """Wait until nobody removes any of these artifacts who has looked at what to keep before the call.

    Args:
        store: their store.
        artifacts: (stage, key) of what is to stay, if it is there.
    """
    for claim in store.running():
        if claim.label == SWEEPING and (claim.stage, claim.key) in artifacts:
            with store.claim(claim.stage, claim.key, label="to see whether it is there"):
                pass


def digest_problems(folder: Path, expected: Mapping[str, Output]) -> Iterator[str]:
    """What is wrong with the values of outputs whose files lie in ``folder``; evicted ones are passed over."""
    from artifacts.identity.digests import digest_output  # needs pyarrow, which a plan does not load

    for name, output in expected.items():
        if output.evicted:
            continue
        try:
            digest = digest_output(folder / output.path)
        except CorruptArtifact as error:
            yield f"{name}: {error}"
            continue
        if digest != output.digest:
            yield f"{name}: digest {digest[:12]}, expected {output.digest[:12]}"
