"""An artifact on S3 as its manifest has it, and the local cache of what was read.

``<stage>/<key>/manifest.json`` is an ordinary manifest that says besides which attempt each output came from; the files
of an attempt lie under ``<stage>/<key>/attempts/<attempt>/`` and are never written again, so no cached copy goes stale.
"""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from artifacts import files
from artifacts.errors import CorruptArtifact, MissingArtifact
from artifacts.store import manifest
from artifacts.store.contract import ABSENT_LINE, MANIFEST, digest_problems
from artifacts.store.manifest import Codes, Manifest
from artifacts.store.s3.objects import Objects

ATTEMPTS = "attempts"
DRAFTS = ".drafts"

log = logging.getLogger("w2s.store")


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest, and where the files that it names lie."""

    manifest: Manifest
    attempts: Mapping[str, str]
    """First part of a file's path to the attempt that made it."""

    def place(self, path: str) -> str:
        """Where a file of the artifact lies, relative to the artifact."""
        return f"{ATTEMPTS}/{self.attempts[path.partition('/')[0]]}/{path}"

    def problem(self, sizes: Mapping[str, int]) -> str | None:
        """The first file that is not there with its size, by the sizes of all files of the artifact."""
        return self.manifest.problem(lambda path: sizes.get(self.place(path)))

    def content(self) -> bytes:
        """The content of ``manifest.json``."""
        data = json.loads(manifest.dump(self.manifest))
        return (json.dumps({**data, ATTEMPTS: dict(self.attempts)}, ensure_ascii=False) + "\n").encode()


def parse(stage: str, key: str, content: bytes, codes: Codes) -> Stored:
    """What a ``manifest.json`` says.

    Args:
        stage: whose it should be.
        key: whose it should be.
        content: of the file.
        codes: see ``manifest.parse``.

    Raises:
        CorruptArtifact: it is no manifest, or that of another artifact.
    """
    try:
        data = manifest.load(content.decode())
    except UnicodeDecodeError as error:
        raise CorruptArtifact(f"{MANIFEST} is no text: {error}") from None
    found = manifest.from_json(data, codes)
    if (found.stage, found.key) != (stage, key):
        raise CorruptArtifact(f"{MANIFEST} is that of {found.stage} {found.key[:12]}")
    attempts = data.get(ATTEMPTS)
    if not isinstance(attempts, dict):
        raise CorruptArtifact(f"{MANIFEST}: {ATTEMPTS} is no dict")
    for top in {path.partition("/")[0] for path in [*found.payload, *found.side]}:
        # These become paths, as those of files do.
        if not isinstance(attempts.get(top), str) or not attempts[top].isalnum():
            raise CorruptArtifact(f"{MANIFEST}: {ATTEMPTS}.{top} is {attempts.get(top)!r}")
    return Stored(found, attempts)


class Cache:
    """A local folder of outputs that were read; several processes may use it at once."""

    def __init__(self, objects: Objects, folder: Path) -> None:
        self._objects = objects
        self._folder = folder

    def output_path(self, stored: Stored, name: str) -> Path:
        """The local copy of an output, fetched where it is missing.

        Raises:
            CorruptArtifact: what was fetched does not have its digest.
        """
        place = self._place(stored, name)
        if not self._is_there(stored, name):
            with self.draft(stored.manifest.stage, stored.manifest.key) as folder:
                only = {name: stored.manifest.outputs[name]}
                self.download(stored, only[name].files, folder)
                for problem in digest_problems(folder, only):
                    about = f"{stored.manifest.stage}/{stored.manifest.key}"
                    raise CorruptArtifact(
                        f"{self._objects.url}/{about}: {problem}; "
                        f"delete {MANIFEST} there to have it made anew, and see `w2s store verify`"
                    )
                self.put(stored, name, folder)
        return place

    def side_path(self, stored: Stored, path: str) -> Path:
        """The local copy of a side file, fetched where it is missing or of another size."""
        attempt = stored.attempts[path.partition("/")[0]]
        place = self._folder / stored.manifest.stage / stored.manifest.key / attempt / path
        if files.size_bytes(str(place)) != stored.manifest.side[path]:
            with self.draft(stored.manifest.stage, stored.manifest.key) as folder:
                self.download(stored, {path: stored.manifest.side[path]}, folder)
                files.make_folder(place.parent)
                files.move(folder / path, place)
        return place

    def download(self, stored: Stored, paths: Mapping[str, int], folder: Path) -> None:
        """Fetch files of an artifact."""
        root = f"{stored.manifest.stage}/{stored.manifest.key}"
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with files.room(folder):
                self._objects.download(f"{root}/{stored.place(path)}", folder / path)

    def put(self, stored: Stored, name: str, folder: Path) -> None:
        """Move an output that is whole from a folder into the cache, unless another process was faster."""
        place = self._place(stored, name)
        files.make_folder(place.parent)
        if not self._is_there(stored, name):
            files.remove(place)
            try:
                files.move(folder / stored.manifest.outputs[name].path, place)
            except OSError:
                if not self._is_there(stored, name):
                    raise

    def drop(self, stored: Stored, name: str) -> None:
        """Remove the local copy of an output."""
        files.remove(self._place(stored, name))

    @contextlib.contextmanager
    def draft(self, stage: str, key: str) -> Iterator[Path]:
        """An empty folder that goes away.

        Raises:
            StorageFull: the block failed because the device is full.
        """
        draft = self._folder / DRAFTS / f"{stage}-{key}.{uuid.uuid4().hex[:8]}"
        files.make_folder(draft)
        try:
            with files.in_use(draft), files.room(self._folder):
                yield draft
        finally:
            files.remove(draft)

    def drafts(self) -> list[Path]:
        """All drafts; one that is worked in is locked, see ``files.in_use``."""
        return [self._folder / DRAFTS / name for name in files.names(self._folder / DRAFTS)]

    def copies(self) -> dict[tuple[str, str], list[Path]]:
        """(stage, key) of what is here, with the folder of each attempt."""
        stages = [self._folder / name for name in files.names(self._folder) if name != DRAFTS]
        artifacts = {(stage.name, key): stage / key for stage in stages for key in files.names(stage)}
        return {place: [folder / name for name in files.names(folder)] for place, folder in artifacts.items()}

    def _place(self, stored: Stored, name: str) -> Path:
        path = stored.manifest.outputs[name].path
        return self._folder / stored.manifest.stage / stored.manifest.key / stored.attempts[path] / path

    def _is_there(self, stored: Stored, name: str) -> bool:
        folder = self._place(stored, name).parent
        sizes = stored.manifest.outputs[name].files
        return all(files.size_bytes(f"{folder}/{path}") == size_bytes for path, size_bytes in sizes.items())


class Reading:
    """What ``store.Reader`` promises, by what ``_load`` finds."""

    def __init__(self, cache: Cache, warned: set[tuple[str, str]]) -> None:
        self._cache = cache
        self._warned = warned

    def _load(self, stage: str, key: str) -> Stored | str | None:
        """An artifact that is whole, or what is wrong with a broken one, or None where there is nothing."""
        raise NotImplementedError

    def get(self, stage: str, key: str) -> Manifest | None:
        """See ``store.Reader``."""
        found = self._whole(stage, key)
        return None if found is None else found.manifest

    def seen(self, stage: str, key: str) -> Stored | None:
        """See ``store.Reader``; no cheaper than ``get``, but for a listing, which remembers."""
        return self._whole(stage, key)

    def problem(self, stage: str, key: str) -> str | None:
        """See ``store.Reader``."""
        found = self._load(stage, key)
        return found if isinstance(found, str) else None

    def output_path(self, stage: str, key: str, output: str) -> Path:
        """See ``store.Reader``; it lies in the cache.

        Raises:
            MissingArtifact: the artifact is not there, or this output was evicted.
            CorruptArtifact: what was fetched does not have its digest.
        """
        found = self._whole(stage, key)
        if found is None or found.manifest.outputs[output].evicted:
            state = "absent" if found is None else "evicted"
            raise MissingArtifact(f"{stage} {key[:12]}: {output} is {state}; run the grid again, which makes it anew")
        return self._cache.output_path(found, output)

    def side_path(self, stage: str, key: str, path: str) -> Path:
        """See ``store.Reader``; it lies in the cache."""
        found = self._whole(stage, key)
        if found is None:
            raise MissingArtifact(f"{stage} {key[:12]} is absent")
        return self._cache.side_path(found, path)

    def _whole(self, stage: str, key: str) -> Stored | None:
        found = self._load(stage, key)
        if isinstance(found, str):
            if (stage, key) not in self._warned:
                self._warned.add((stage, key))
                log.warning(ABSENT_LINE, stage, key[:12], found)
            return None
        return found
