"""A store in a local folder: artifacts are folders that are renamed into their place.

What every store promises is in ``store``, who is making what in ``claims``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from artifacts import files
from artifacts.errors import CorruptArtifact, ForeignStore, MissingArtifact, Stopped
from artifacts.store import claims, manifest
from artifacts.store.claims import Claim
from artifacts.store.contract import (
    ABSENT_LINE,
    FORMAT,
    MANIFEST,
    MARKER,
    SWEEPING,
    VERSION,
    Keep,
    Problem,
    Reader,
    Removed,
    digest_problems,
)
from artifacts.store.manifest import Codes, Manifest
from artifacts.store.records import LocalRecords
from artifacts.waiting import NOW, STOP, take

LOCK = ".lock"
CLAIMS = "claims"
BROKEN = "broken"
GRIDS = "grids"
MOMENT_S = 0.05
"""How long it may take until a lock that is held for moments only is noticed to be free."""

Seen = tuple[int, int] | None
ABSENT: Seen = None

log = logging.getLogger("w2s.store")


class LocalStore:
    """A store in a local folder. The first write creates it; until then it reads as empty.

    Args:
        root: its folder.

    Raises:
        ForeignStore: the folder holds something else, or a store of another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._place = str(root)
        self._codes = Codes()
        self._warned: set[tuple[str, str]] = set()
        self._is_created = False
        self._exists()
        self.records = LocalRecords(root / GRIDS, self.lock)

    @property
    def url(self) -> str:
        """See ``store.Store``."""
        return str(self.root)

    # Reading

    def listing(self) -> Reader:
        """See ``store.Store``; looking is cheap here."""
        return self

    def get(self, stage: str, key: str) -> Manifest | None:
        """The manifest of an artifact that is there and whole, or evicted.

        A broken one counts as absent, and a warning in the log says so.
        """
        found = self._load(stage, key)
        if isinstance(found, str):
            if (stage, key) not in self._warned:
                self._warned.add((stage, key))
                log.warning(ABSENT_LINE, stage, key[:12], found)
            return None
        return found

    def seen(self, stage: str, key: str) -> Seen:
        """See ``store.Reader``."""
        try:
            told = os.stat(f"{self._place}/{stage}/{key}/{MANIFEST}")  # noqa: PTH116 (as in ``files.size_bytes``)
        except OSError:
            return ABSENT
        return told.st_ino, told.st_mtime_ns

    def problem(self, stage: str, key: str) -> str | None:
        """Why an artifact counts as absent: ``"test.parquet: 120 of 4096 bytes"``; else None."""
        found = self._load(stage, key)
        return found if isinstance(found, str) else None

    def output_path(self, stage: str, key: str, output: str) -> Path:
        """The file or folder of one output.

        Raises:
            MissingArtifact: the artifact is not there, or this output was evicted.
        """
        found = self.get(stage, key)
        if found is None or found.outputs[output].evicted:
            state = "absent" if found is None else "evicted"
            raise MissingArtifact(f"{stage} {key[:12]}: {output} is {state}; run the grid again, which makes it anew")
        return self.folder(stage, key) / found.outputs[output].path

    def side_path(self, stage: str, key: str, path: str) -> Path:
        """See ``store.Reader``."""
        return self.folder(stage, key) / path

    def folder(self, stage: str, key: str) -> Path:
        """Where an artifact lies, if it is there; files of its manifest are relative to this."""
        return self.root / stage / key

    def artifacts(self) -> Iterator[tuple[str, str]]:
        """(stage, key) of everything that has the place of an artifact, broken ones included."""
        for stage in self._stages():
            for key in files.names(self.root / stage):
                if not key.startswith("."):
                    yield stage, key

    def stamps(self) -> dict[tuple[str, str], str]:
        """See ``store.Reader``."""
        seen = {(stage, key): self.seen(stage, key) for stage, key in self.artifacts()}
        return {place: f"{told[0]}:{told[1]}" for place, told in seen.items() if told is not None}

    def has_files(self, stage: str, key: str, paths: Mapping[str, int]) -> bool:
        """See ``store.Reader``."""
        folder = f"{self._place}/{stage}/{key}"
        return all(files.size_bytes(f"{folder}/{path}") == size_bytes for path, size_bytes in paths.items())

    def manifests(self, besides: Collection[tuple[str, str]] = ()) -> Iterator[Manifest]:
        """See ``store.Reader``."""
        for stage, key in self.artifacts():
            if (stage, key) in besides:
                continue
            try:
                found = self._read(stage, key)
            except CorruptArtifact:
                continue  # ``get`` and ``verify`` say so.
            if found is not None:
                yield found

    def running(self) -> list[Claim]:
        """Who is making what at this moment."""
        return claims.running(self.root / CLAIMS)

    def verify(self) -> Iterator[Problem]:
        """Read every output of every artifact, and yield what is not as its manifest says."""
        for stage, key in self.artifacts():
            found = self._load(stage, key)
            if isinstance(found, str):
                yield Problem(stage, key, found)
            elif found is not None:
                for what in digest_problems(self.folder(stage, key), found.outputs):
                    yield Problem(stage, key, what)

    def copy_files(self, wanted: Manifest, folder: Path) -> None:
        """See ``store.Store``."""
        for path in [*wanted.payload, *wanted.side]:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder(wanted.stage, wanted.key) / path, folder / path)

    # Writing

    def claim(
        self, stage: str, key: str, *, label: str = "", stop: threading.Event = STOP
    ) -> AbstractContextManager[None]:
        """Hold the claim on an artifact while making it; see ``claims.claim``."""
        self.create()
        files.make_folder(self.root / CLAIMS)
        return claims.claim(self.root / CLAIMS, stage, key, label, stop)

    @contextmanager
    def draft(self, stage: str, key: str) -> Iterator[Path]:
        """An empty folder to make an artifact in; it goes away unless it is published.

        Raises:
            StorageFull: the block failed because the device is full.
        """
        self.create()
        draft = self.root / stage / f".{key}.{uuid.uuid4().hex[:8]}"
        files.make_folder(draft)
        try:
            with files.room(self.root):
                yield draft
        finally:
            files.remove(draft)

    def publish(self, draft: Path, made: Manifest) -> Manifest:
        """Put what was made in ``draft`` in its place, unless a whole artifact is there already.

        Evicted outputs of an artifact that is there come back; where they differ from what they
        were, the earlier digest is kept as superseded.

        Returns:
            The manifest that now stands.

        Raises:
            ValueError: the manifest names a file that the draft does not have.
        """
        problem = _payload_problem(draft, made)
        if problem is not None:
            raise ValueError(f"{made.stage} did not make what its manifest says: {problem}")
        files.write_text(draft / MANIFEST, manifest.dump(made))
        files.sync_tree(draft)
        place = self.folder(made.stage, made.key)
        with self.lock():
            there = self._load(made.stage, made.key)
            if isinstance(there, Manifest):
                return self._restore(draft, there, made)
            if there is not None:
                log.warning("%s %s was broken (%s); made anew", made.stage, made.key[:12], there)
                self._set_aside(place)
            files.move(draft, place)
        return made

    def evict(self, stage: str, key: str, output: str) -> None:
        """Remove the files of one output; the artifact still counts as done.

        Raises:
            MissingArtifact: no such artifact.
        """
        with self.lock():
            found = self.get(stage, key)
            if found is None:
                raise MissingArtifact(f"{stage} {key[:12]} is not in {self.root}: nothing to evict")
            if found.outputs[output].evicted:
                return
            gone = dataclasses.replace(found.outputs[output], evicted=True)
            # The manifest first: a crash then leaves files for ``gc``, never a broken artifact.
            self._rewrite(dataclasses.replace(found, outputs={**found.outputs, output: gone}))
            files.remove(self.folder(stage, key) / gone.path)

    def gc(self, keep: Keep, *, dry_run: bool) -> list[Removed]:
        """See ``store.Store``."""
        if not self._exists():
            return []
        files.make_folder(self.root / CLAIMS)
        aside = files.names(self.root / BROKEN)
        drafts = self._drafts()
        listed = {(stage, key): self.seen(stage, key) for stage, key in self.artifacts()}
        keep()  # an error in it comes before anything is removed
        removed = []
        for name in aside:
            removed.append(Removed(f"{BROKEN}/{name}", files.tree_bytes(self.root / BROKEN / name)))
            if not dry_run:
                files.remove(self.root / BROKEN / name)
        with self.lock():
            for path in self._left_behind():
                held = files.lock(path)
                if held is not None:
                    removed.append(Removed(str(path.relative_to(self.root)), files.tree_bytes(path)))
                    held.release(remove=not dry_run)
        for stage, key in dict.fromkeys([*listed, *drafts]):
            seen = listed.get((stage, key), ABSENT)
            removed += self._sweep(stage, key, drafts.get((stage, key), []), seen, keep, dry_run)
        return removed

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Alone among all processes while names in the store change; held for moments only."""
        self.create()
        held = take(self.root / LOCK, what=f"the store {self.root}", longest_s=MOMENT_S)
        try:
            yield
        finally:
            held.release(remove=False)

    def create(self) -> None:
        """Make the folder a store, where it is not one yet."""
        if not self._exists():
            files.make_folder(self.root)
            marker = {"format": FORMAT, "version": VERSION}
            files.write_text(self.root / MARKER, json.dumps(marker) + "\n")

    # Inside

    def _exists(self) -> bool:
        self._is_created = self._is_created or self._check_marker()
        return self._is_created

    def _check_marker(self) -> bool:
        """Whether the folder is a store; False where there is nothing yet."""
        try:
            text = files.read_text(self.root / MARKER)
        except FileNotFoundError:
            found = files.names(self.root)
            if MARKER in found:  # another process has just made it
                return self._check_marker()
            alien = [name for name in found if not name.startswith(files.TEMPORARY)]
            if alien:
                raise ForeignStore(
                    f"{self.root} is no store: it has no {MARKER}, but {alien[0]!r}; "
                    "choose an empty or new folder, or another W2S_HOME"
                ) from None
            return False
        except NotADirectoryError:
            raise ForeignStore(f"{self.root} is a file, not a folder; choose another W2S_HOME") from None
        try:
            marker = json.loads(text)
            is_ours = (marker["format"], marker["version"]) == (FORMAT, VERSION)
        except (ValueError, TypeError, KeyError):
            is_ours = False
        if not is_ours:
            raise ForeignStore(
                f"{self.root / MARKER} says {text.strip()[:80]}, but this w2s reads {FORMAT} "
                f"version {VERSION}; use the w2s that made it, or another W2S_HOME"
            )
        return True

    def _stages(self) -> list[str]:
        names = files.names(self.root)
        return [n for n in names if n not in (CLAIMS, BROKEN, GRIDS) and not n.startswith(".")]

    def _load(self, stage: str, key: str) -> Manifest | str | None:
        """A manifest, or what is wrong with a broken artifact, or None where there is nothing."""
        before: Manifest | str | None = None
        while True:
            try:
                found = self._read(stage, key)
            except CorruptArtifact as error:
                return str(error)
            if found is None:
                return f"{MANIFEST} is missing" if self.folder(stage, key).exists() else None
            problem = _payload_problem(f"{self._place}/{stage}/{key}", found)
            if problem is None:
                return found
            # Files may have come or gone with a new manifest since it was read: look again.
            if found == before:
                return problem
            before = found

    def _read(self, stage: str, key: str) -> Manifest | None:
        """The manifest as it is written; None where there is none."""
        try:
            text = files.read_text(f"{self._place}/{stage}/{key}/{MANIFEST}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError as error:
            raise CorruptArtifact(f"{MANIFEST} is no text: {error}") from None
        found = manifest.parse(text, self._codes)
        if (found.stage, found.key) != (stage, key):
            raise CorruptArtifact(f"{MANIFEST} is that of {found.stage} {found.key[:12]}")
        return found

    def _restore(self, draft: Path, there: Manifest, made: Manifest) -> Manifest:
        """Bring evicted outputs back; they count when the manifest is rewritten at the end."""
        evicted = [name for name, output in there.outputs.items() if output.evicted]
        if not evicted:
            return there
        place = self.folder(there.stage, there.key)
        outputs = dict(there.outputs)
        for name in evicted:
            old, new = there.outputs[name], made.outputs[name]
            files.remove(place / old.path)
            files.move(draft / new.path, place / new.path)
            outputs[name] = new.after(old)
        for top in {path.partition("/")[0] for path in made.side}:
            files.remove(place / top)
            files.move(draft / top, place / top)
        stands = dataclasses.replace(made, outputs=outputs)
        self._rewrite(stands)
        return stands

    def _rewrite(self, changed: Manifest) -> None:
        path = self.folder(changed.stage, changed.key) / MANIFEST
        files.write_text(path, manifest.dump(changed))

    def _left_behind(self) -> Iterator[Path]:
        """Files of locks that nobody holds, and texts that were never finished."""
        hidden = [GRIDS + "/" + name for name in files.names(self.root / GRIDS) if name[0] == "."]
        for name in [*hidden, *(f"{CLAIMS}/{name}" for name in files.names(self.root / CLAIMS))]:
            if not files.is_locked(self.root / name):
                yield self.root / name

    def _drafts(self) -> dict[tuple[str, str], list[Path]]:
        """Drafts by the artifact that they were to become."""
        drafts: dict[tuple[str, str], list[Path]] = {}
        for stage in self._stages():
            for name in files.names(self.root / stage):
                if name.startswith("."):
                    key = name[1:].rpartition(".")[0]
                    drafts.setdefault((stage, key), []).append(self.root / stage / name)
        return drafts

    def _sweep(self, stage: str, key: str, drafts: list[Path], seen: Seen, keep: Keep, dry_run: bool) -> list[Removed]:
        """Remove one artifact, or what it does not need, unless somebody is making it, or has since it was ``seen``."""

        def waste() -> list[Path]:
            found = [draft for draft in drafts if draft.exists()]
            is_same = self.seen(stage, key) == seen
            return found + (self._waste(stage, key, keep()) if is_same else [])

        found = waste()
        if not found or files.is_locked(claims.claim_path(self.root / CLAIMS, stage, key)):
            return []
        if dry_run:
            return [Removed(str(p.relative_to(self.root)), files.tree_bytes(p)) for p in found]
        with ExitStack() as claimed:
            try:
                claimed.enter_context(claims.claim(self.root / CLAIMS, stage, key, SWEEPING, NOW))
            except Stopped:
                return []
            # Grid files change under this lock, too.
            with self.lock():
                aside = {str(p.relative_to(self.root)): self._set_aside(p) for p in waste()}
        removed = [Removed(what, files.tree_bytes(p)) for what, p in aside.items()]
        for p in aside.values():
            files.remove(p)
        return removed

    def _waste(self, stage: str, key: str, keep: Set[tuple[str, str]]) -> list[Path]:
        """What can go of one artifact: all of it, or what evictions and rewrites left behind."""
        place = self.folder(stage, key)
        found = self._load(stage, key)
        if found is None:
            return []
        if isinstance(found, str) or (stage, key) not in keep:
            return [place]
        evicted = [place / output.path for output in found.outputs.values() if output.evicted]
        texts = [place / name for name in files.names(place) if name.startswith(files.TEMPORARY)]
        return [path for path in evicted if path.exists()] + texts

    def _set_aside(self, place: Path) -> Path:
        """Take something out of its place in one step; ``gc`` removes it."""
        files.make_folder(self.root / BROKEN)
        aside = self.root / BROKEN / f"{place.parent.name}-{place.name}.{uuid.uuid4().hex[:8]}"
        files.move(place, aside)
        return aside


def _payload_problem(folder: Path | str, expected: Manifest) -> str | None:
    """The first file that is not there with its size."""
    return expected.problem(lambda path: files.size_bytes(f"{folder}/{path}"))
