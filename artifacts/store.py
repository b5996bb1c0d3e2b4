"""What a store is: immutable artifacts ``<stage>/<key>/``, complete as soon as their manifest is there.

Where the bytes lie is in ``local_store`` and ``s3.store``; ``open_store`` alone chooses. What a manifest says is in
``manifest``, what a run is about in ``grids``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from artifacts.claims import Claim
from artifacts.errors import CorruptArtifact, UsageError
from artifacts.manifest import Manifest, Output
from artifacts.records import Records

FORMAT = "w2s-store"
VERSION = 1
MARKER = "store.json"
MANIFEST = "manifest.json"
S3 = "s3://"


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

    def manifests(self) -> Iterator[Manifest]:
        """Every manifest that can be read, whatever became of its files."""


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
        self, stage: str, key: str, *, label: str = "", stop: threading.Event | None = None
    ) -> AbstractContextManager[None]:
        """Hold the claim on an artifact while making it, after whoever holds it now.

        Args:
            stage: stage of the artifact.
            key: key of the artifact.
            label: what to show to others.
            stop: give up waiting when this is set.

        Raises:
            ArtifactError: ``stop`` was set before the claim was had.
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

    def gc(self, keep: set[tuple[str, str]], *, dry_run: bool) -> list[Removed]:
        """Remove what is neither kept nor being made, and what crashes left behind.

        Args:
            keep: (stage, key) of every artifact to keep, see ``grids.Grids.reachable``.
            dry_run: only say what would go.
        """


def open_store(url: str, cache: Path, *, is_patient: bool = False) -> Store:
    """The store at ``url``: a local folder, or ``s3://bucket/prefix``.

    Args:
        url: where it is.
        cache: a local folder for what is read from a store elsewhere.
        is_patient: wait out an outage of minutes, as work under way does; who just started wants to know at once.

    Raises:
        UsageError: another kind of URL.
        ForeignStore: there is something else, or a store of another version.
        StoreUnavailable: it cannot be reached, or not with these credentials.
    """
    if url.startswith(S3):
        from artifacts.s3.store import S3Store  # needs boto3, which is optional

        return S3Store(url, cache, is_patient=is_patient)
    if "://" in url:
        raise UsageError(
            f"{url} is no store: a store is a local folder, or s3://BUCKET/PREFIX on any service with S3's API"
        )
    from artifacts.local_store import LocalStore

    return LocalStore(Path(url).absolute())


def digest_problems(folder: Path, expected: Mapping[str, Output]) -> Iterator[str]:
    """What is wrong with the values of outputs whose files lie in ``folder``; evicted ones are passed over."""
    from artifacts.digests import digest_output  # needs pyarrow, which a plan does not load

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
