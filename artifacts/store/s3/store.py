"""A store below a prefix of an S3 bucket, for several machines at once.

What every store promises is in ``artifacts.store.contract``, how an artifact lies here in ``reading``. Nothing is
renamed and nothing locked: a payload goes under its attempt's own prefix, and one conditional write of the manifest
decides which attempt stands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from pathlib import Path

from artifacts import files
from artifacts.errors import CorruptArtifact, ForeignStore, MissingArtifact
from artifacts.identity.keys import JSON
from artifacts.store.claims import Claim
from artifacts.store.contract import (
    FORMAT,
    MANIFEST,
    MARKER,
    SWEEPING,
    VERSION,
    Keep,
    Problem,
    Removed,
    digest_problems,
)
from artifacts.store.manifest import Codes, Manifest
from artifacts.store.s3.claims import S3Claims
from artifacts.store.s3.listing import CLAIMS, Listing, Stage, list_stage, stages
from artifacts.store.s3.objects import Objects
from artifacts.store.s3.reading import ATTEMPTS, Cache, Reading, Stored, parse
from artifacts.store.s3.records import S3Records
from artifacts.waiting import STOP

log = logging.getLogger("w2s.store")


class S3Store(Reading):
    """A store at ``s3://bucket/prefix``, on any service with S3's conditional writes.

    Args:
        url: where it is.
        cache: a local folder for what is read, and for drafts.
        is_patient: whether opening waits out an outage, as everything after it does.

    Raises:
        ForeignStore: there is a store of another version.
        StoreUnavailable: it cannot be reached, or not with these credentials.
    """

    def __init__(self, url: str, cache: Path, *, is_patient: bool = False) -> None:
        self._objects = Objects(url)
        super().__init__(Cache(self._objects, cache), set())
        self._codes = Codes()
        self._claims = S3Claims(self._objects, CLAIMS)
        self.records = S3Records(self._objects, self.create)
        self._is_created = self._check_marker(self._objects if is_patient else self._objects.impatient())

    @property
    def url(self) -> str:
        """See ``store.Store``."""
        return self._objects.url

    # Reading

    def listing(self) -> Listing:
        """See ``store.Store``; a few requests per stage, instead of two per artifact."""
        return Listing(self._objects, self._cache, self._codes, self._warned, self._load)

    def stamps(self) -> dict[tuple[str, str], str]:
        """See ``store.Reader``."""
        return self.listing().stamps()

    def has_files(self, stage: str, key: str, paths: Mapping[str, int]) -> bool:
        """See ``store.Reader``."""
        return self.listing().has_files(stage, key, paths)

    def manifests(self, besides: Collection[tuple[str, str]] = ()) -> Iterator[Manifest]:
        """See ``store.Reader``."""
        return self.listing().manifests(besides)

    def running(self) -> list[Claim]:
        """See ``store.Store``."""
        claims = []
        for name, entry in self._claims.live().items():
            stage, _, key = name.rpartition("-")
            about = {"pid": 0, "host": "", "since": "", "label": "", **self._claims.about(entry)}
            claims.append(Claim(stage, key, about["pid"], about["host"], about["since"], about["label"]))
        return claims

    def verify(self) -> Iterator[Problem]:
        """See ``store.Store``; reads every byte from the service, whatever the cache has."""
        listing = self.listing()
        for stage, key in listing.artifacts():
            problem, found = listing.problem(stage, key), listing.get(stage, key)
            if problem is not None:
                yield Problem(stage, key, problem)
            if found is not None:
                with self._cache.draft(stage, key) as folder:
                    self.copy_files(found, folder)
                    for what in digest_problems(folder, found.outputs):
                        yield Problem(stage, key, what)

    def copy_files(self, wanted: Manifest, folder: Path) -> None:
        """See ``store.Store``."""
        stored = self._whole(wanted.stage, wanted.key)
        if stored is None:
            raise MissingArtifact(f"{wanted.stage} {wanted.key[:12]} is no more in {self.url}")
        self._cache.download(stored, {**wanted.payload, **wanted.side}, folder)

    # Writing

    @contextlib.contextmanager
    def claim(self, stage: str, key: str, *, label: str = "", stop: threading.Event = STOP) -> Iterator[None]:
        """See ``store.Store``; who waits sees a dead holder's silence for a minute, then takes over."""
        self.create()
        hold = self._claims.take(_claim_name(stage, key), _about(label or f"{stage} {key[:12]}"), stop)
        try:
            yield
        finally:
            hold.release()

    @contextlib.contextmanager
    def draft(self, stage: str, key: str) -> Iterator[Path]:
        """See ``store.Store``."""
        self.create()
        with self._cache.draft(stage, key) as draft:
            yield draft

    def publish(self, draft: Path, made: Manifest) -> Manifest:
        """See ``store.Store``."""
        problem = made.problem(lambda path: files.size_bytes(f"{draft}/{path}"))
        if problem is not None:
            raise ValueError(f"{made.stage} did not make what its manifest says: {problem}")
        attempt = uuid.uuid4().hex[:12]
        uploaded: dict[str, None] = {}
        stands: Stored | None = None
        # Once, unless others write this manifest at the same time.
        while stands is None:
            there, etag = self._read(made.stage, made.key)
            new = _merged(there, made, attempt)
            if new is None:
                assert isinstance(there, Stored)
                stands = there
                break
            for path in [path for path in [*made.payload, *made.side] if new.attempts[_top(path)] == attempt]:
                if path not in uploaded:
                    uploaded[path] = None
                    self._objects.upload(draft / path, f"{made.stage}/{made.key}/{ATTEMPTS}/{attempt}/{path}")
            if self._objects.write(_manifest_path(made.stage, made.key), new.content(), over=etag) is not None:
                if isinstance(there, str):
                    log.warning("%s %s was broken (%s); made anew", made.stage, made.key[:12], there)
                stands = new
        self._drop_unnamed(stands, attempt, uploaded)
        self._keep_copies(stands, attempt, draft)
        return stands.manifest

    def evict(self, stage: str, key: str, output: str) -> None:
        """See ``store.Store``."""
        while True:
            found, etag = self._read(stage, key)
            if not isinstance(found, Stored):
                raise MissingArtifact(f"{stage} {key[:12]} is not in {self.url}: nothing to evict")
            old = found.manifest.outputs[output]
            if old.evicted:
                return
            outputs = {**found.manifest.outputs, output: dataclasses.replace(old, evicted=True)}
            without = Stored(dataclasses.replace(found.manifest, outputs=outputs), found.attempts)
            # The manifest first: a crash then leaves files for ``gc``, never a broken artifact.
            if self._objects.write(_manifest_path(stage, key), without.content(), over=etag) is not None:
                self._objects.remove(f"{stage}/{key}/{found.place(path)}" for path in old.files)
                self._cache.drop(found, output)
                return

    def gc(self, keep: Keep, *, dry_run: bool) -> list[Removed]:
        """See ``store.Store``; also of the local cache."""
        if not self._exists():
            return []
        copies, drafts = self._cache.copies(), self._cache.drafts()
        listed = {stage: list_stage(self._objects, stage) for stage in stages(self._objects)}
        dead = [*self._claims.dead(), *self.records.runs.dead()]
        live = self._claims.live()
        keep()  # an error in it comes before anything is removed
        removed = [Removed(entry.path, entry.size_bytes) for entry in dead]
        if not dry_run:
            self._objects.remove(entry.path for entry in dead)
        for stage, found in listed.items():
            for key in dict.fromkeys([*found.contents, *found.sizes]):
                folders = copies.pop((stage, key), [])
                if self._waste(stage, key, found, keep()) and _claim_name(stage, key) not in live:
                    removed += self._sweep(stage, key, found, folders, keep, dry_run)
        # Copies of what is in the store no more, and drafts that nobody works in.
        lost = [f for place, folders in copies.items() if place not in keep() for f in folders]
        return removed + self._remove_copies([*lost, *(d for d in drafts if not files.is_locked(d))], dry_run)

    def create(self) -> None:
        """Mark the prefix as a store, where it is not one yet.

        Raises:
            ForeignStore: it holds something else.
        """
        if self._is_created:
            return
        alien = next(self._objects.entries(""), None)
        # Looked at last: another process may just have made it a store, and used it.
        if not self._exists():
            if alien is not None:
                raise ForeignStore(
                    f"{self.url} is no store: it has no {MARKER}, but {alien.path!r}; choose an empty or new prefix"
                )
            marker = {"format": FORMAT, "version": VERSION}
            self._objects.write(MARKER, (json.dumps(marker) + "\n").encode(), over=None)
        self._is_created = True

    # Inside

    def _exists(self) -> bool:
        self._is_created = self._is_created or self._check_marker(self._objects)
        return self._is_created

    def _check_marker(self, objects: Objects) -> bool:
        """Whether the prefix is a store; False where there is no marker."""
        read = objects.read(MARKER)
        if read is None:
            return False
        try:
            marker = json.loads(read.content)
            is_ours = (marker["format"], marker["version"]) == (FORMAT, VERSION)
        except (ValueError, TypeError, KeyError):
            is_ours = False
        if not is_ours:
            found = read.content.decode(errors="replace").strip()[:80]
            raise ForeignStore(
                f"{self.url}/{MARKER} says {found}, but this w2s reads {FORMAT} version {VERSION}; "
                "use the w2s that made it, or another prefix"
            )
        return True

    def _load(self, stage: str, key: str) -> Stored | str | None:
        return self._read(stage, key)[0]

    def _read(self, stage: str, key: str) -> tuple[Stored | str | None, str | None]:
        """An artifact as ``_load`` says, with the ETag of its manifest if it has one."""
        before: str | None = None
        while True:
            read = self._objects.read(_manifest_path(stage, key))
            if read is None:
                return None, None
            try:
                found = parse(stage, key, read.content, self._codes)
            except CorruptArtifact as error:
                return str(error), read.etag
            root = f"{stage}/{key}/"
            sizes = {entry.path.removeprefix(root): entry.size_bytes for entry in self._objects.entries(root)}
            problem = found.problem(sizes)
            if problem is None:
                return found, read.etag
            # Files may have come or gone with a new manifest since it was read: look again.
            if read.etag == before:
                return problem, read.etag
            before = read.etag

    def _drop_unnamed(self, stands: Stored, attempt: str, uploaded: Iterable[str]) -> None:
        """Remove what this attempt uploaded and what stands does not name."""
        root = f"{stands.manifest.stage}/{stands.manifest.key}/{ATTEMPTS}/{attempt}"
        unnamed = [path for path in uploaded if stands.attempts.get(_top(path)) != attempt]
        self._objects.remove(f"{root}/{path}" for path in unnamed)

    def _keep_copies(self, stands: Stored, attempt: str, draft: Path) -> None:
        """Put in the cache what was made here and stands: what comes next is likely to read it."""
        for name, output in stands.manifest.outputs.items():
            if not output.evicted and stands.attempts[output.path] == attempt:
                self._cache.put(stands, name, draft)

    def _waste(self, stage: str, key: str, listed: Stage, keep: Set[tuple[str, str]]) -> dict[str, int]:
        """Path to size of what can go of one artifact: all of it, or what evictions and lost attempts left behind."""
        sizes = listed.sizes.get(key, {})
        if key not in listed.contents:
            return sizes
        everything = {MANIFEST: len(listed.contents[key]), **sizes}
        if (stage, key) not in keep:
            return everything
        try:
            found = parse(stage, key, listed.contents[key], self._codes)
        except CorruptArtifact:
            return everything
        if found.problem(sizes) is not None:
            return everything
        named = {found.place(path) for path in [*found.manifest.payload, *found.manifest.side]}
        return {path: size_bytes for path, size_bytes in sizes.items() if path not in named}

    def _sweep(
        self, stage: str, key: str, listed: Stage, copies: list[Path], keep: Keep, dry_run: bool
    ) -> list[Removed]:
        """Remove one artifact and its copies, or what it does not need, unless somebody is making it, or has since."""
        waste = self._waste(stage, key, listed, keep())
        removed = []
        if not dry_run:
            hold = self._claims.take_free(_claim_name(stage, key), _about(SWEEPING))
            if hold is None:
                return []
            try:
                now = self._list_one(stage, key)
                if now.contents.get(key) != listed.contents.get(key):
                    return []
                waste = self._waste(stage, key, now, keep())
                if MANIFEST in waste:
                    self._objects.remove([_manifest_path(stage, key)])
                self._objects.remove(f"{stage}/{key}/{path}" for path in waste)
                removed = self._remove_copies(copies if MANIFEST in waste else [], dry_run)
            finally:
                hold.release()
        elif MANIFEST in waste:
            removed = self._remove_copies(copies, dry_run)
        if MANIFEST in waste:
            return [Removed(f"{stage}/{key}", sum(waste.values())), *removed]
        return [Removed(f"{stage}/{key}/{path}", size_bytes) for path, size_bytes in waste.items()]

    def _list_one(self, stage: str, key: str) -> Stage:
        """What there is of one artifact, as ``list_stage`` has it."""
        found = Stage()
        read = self._objects.read(_manifest_path(stage, key))
        if read is not None:
            found.contents[key] = read.content
        root = f"{stage}/{key}/"
        sizes = {entry.path.removeprefix(root): entry.size_bytes for entry in self._objects.entries(root)}
        found.sizes[key] = {path: size_bytes for path, size_bytes in sizes.items() if path != MANIFEST}
        return found

    def _remove_copies(self, folders: list[Path], dry_run: bool) -> list[Removed]:
        """Remove folders of the local cache, and those above that are left empty."""
        removed = [Removed(f"cache/{path.parent.name}/{path.name}", files.tree_bytes(path)) for path in folders]
        for path in [] if dry_run else folders:
            files.remove(path)
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        return removed


def _merged(there: Stored | str | None, made: Manifest, attempt: str) -> Stored | None:
    """What is to stand after ``made``; None where what is there stands."""
    if not isinstance(there, Stored):
        return Stored(made, {_top(path): attempt for path in [*made.payload, *made.side]})
    evicted = [name for name, output in there.manifest.outputs.items() if output.evicted]
    if not evicted:
        return None
    outputs = dict(there.manifest.outputs)
    attempts = {**there.attempts, **{_top(path): attempt for path in made.side}}
    for name in evicted:
        outputs[name] = made.outputs[name].after(there.manifest.outputs[name])
        attempts[outputs[name].path] = attempt
    return Stored(dataclasses.replace(made, outputs=outputs), attempts)


def _about(label: str) -> dict[str, JSON]:
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "label": label}


def _claim_name(stage: str, key: str) -> str:
    return f"{stage}-{key}"


def _manifest_path(stage: str, key: str) -> str:
    return f"{stage}/{key}/{MANIFEST}"


def _top(path: str) -> str:
    return path.partition("/")[0]
