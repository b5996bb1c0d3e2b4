"""All artifacts of a stage at once: one listing, and one index object with the manifests that it knows.

The index is derived and need not be true: an entry counts only if its manifest has the ETag that the listing shows, and
what is missing is read one by one. So writers may overwrite each other's, and nobody has to keep it up.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from artifacts.errors import CorruptArtifact, StoreUnavailable
from artifacts.store.contract import MANIFEST
from artifacts.store.manifest import Codes, Manifest
from artifacts.store.s3.objects import Objects
from artifacts.store.s3.reading import Cache, Reading, Stored, parse
from artifacts.store.s3.records import GRIDS, RUNS

CLAIMS = "claims"
INDEX = "index"
SUFFIX = ".json.gz"
N_MISSING = 32
"""So many manifests that the index lacks are a reason to write it anew."""

N_READERS = 16


@dataclass(slots=True)
class Stage:
    """What there is of a stage at one moment."""

    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Key to path to size, of all files of each artifact; without manifests."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """Key to the content of its manifest, of all that have one."""


def list_stage(objects: Objects, stage: str) -> Stage:
    """List a stage; brings its index up to date where much is missing in it."""
    found = Stage()
    etags: dict[str, str] = {}
    for entry in objects.entries(f"{stage}/"):
        key, _, path = entry.path.removeprefix(f"{stage}/").partition("/")
        if path == MANIFEST:
            etags[key] = entry.etag
        else:
            found.sizes.setdefault(key, {})[path] = entry.size_bytes
    known = _read_index(objects, stage)
    missing = [key for key, etag in etags.items() if known.get(key, ("", ""))[0] != etag]
    entries = {key: known[key] for key in etags.keys() & known.keys()}
    with ThreadPoolExecutor(N_READERS) as readers:
        manifests = readers.map(lambda key: objects.read(f"{stage}/{key}/{MANIFEST}"), missing)
        for key, read in zip(missing, manifests, strict=True):
            entries.pop(key, None)
            if read is not None:
                entries[key] = (read.etag, read.content.decode(errors="surrogateescape"))
    if len(missing) >= N_MISSING:
        # Who may only read can do without.
        with contextlib.suppress(StoreUnavailable):
            content = json.dumps(entries).encode()
            objects.overwrite(f"{INDEX}/{stage}{SUFFIX}", gzip.compress(content, compresslevel=1))
    found.contents = {key: entries[key][1].encode(errors="surrogateescape") for key in sorted(entries)}
    return found


class Listing(Reading):
    """A store at one moment: each stage is listed when it is first asked for.

    Args:
        objects: the store.
        cache: of its outputs.
        codes: see ``manifest.parse``.
        warned: which broken artifacts the log has.
        load: looks again at one artifact that does not seem whole.
    """

    def __init__(
        self,
        objects: Objects,
        cache: Cache,
        codes: Codes,
        warned: set[tuple[str, str]],
        load: Callable[[str, str], Stored | str | None],
    ) -> None:
        super().__init__(cache, warned)
        self._objects = objects
        self._codes = codes
        self._load_one = load
        self._stages: dict[str, Stage] = {}
        self._loaded: dict[tuple[str, str], Stored | str | None] = {}

    def stamps(self) -> dict[tuple[str, str], str]:
        """See ``store.Reader``."""
        return {
            (stage, key): hashlib.blake2b(content, digest_size=16).hexdigest()
            for stage in stages(self._objects)
            for key, content in self._stage(stage).contents.items()
        }

    def has_files(self, stage: str, key: str, paths: Mapping[str, int]) -> bool:
        """See ``store.Reader``."""
        found, sizes = self._load(stage, key), self._stage(stage).sizes.get(key, {})
        return isinstance(found, Stored) and all(sizes.get(found.place(path)) == paths[path] for path in paths)

    def manifests(self, besides: Collection[tuple[str, str]] = ()) -> Iterator[Manifest]:
        """See ``store.Reader``."""
        for stage in stages(self._objects):
            for key, content in self._stage(stage).contents.items():
                if (stage, key) in besides:
                    continue
                try:
                    yield parse(stage, key, content, self._codes).manifest
                except CorruptArtifact:
                    continue  # ``get`` and ``verify`` say so.

    def artifacts(self) -> Iterator[tuple[str, str]]:
        """(stage, key) of everything that has a manifest, broken ones included."""
        for stage in stages(self._objects):
            yield from ((stage, key) for key in self._stage(stage).contents)

    def _load(self, stage: str, key: str) -> Stored | str | None:
        if (stage, key) not in self._loaded:
            self._loaded[stage, key] = self._look(stage, key)
        return self._loaded[stage, key]

    def _look(self, stage: str, key: str) -> Stored | str | None:
        listed = self._stage(stage)
        if key not in listed.contents:
            return None
        try:
            found = parse(stage, key, listed.contents[key], self._codes)
        except CorruptArtifact as error:
            return str(error)
        if found.problem(listed.sizes.get(key, {})) is None:
            return found
        # Its files may have come or gone, with a new manifest, while the stage was being listed.
        return self._load_one(stage, key)

    def _stage(self, stage: str) -> Stage:
        if stage not in self._stages:
            self._stages[stage] = list_stage(self._objects, stage)
        return self._stages[stage]


def stages(objects: Objects) -> list[str]:
    """The stages that have artifacts."""
    return [name for name in objects.folders() if name not in (CLAIMS, GRIDS, INDEX, RUNS)]


def _read_index(objects: Objects, stage: str) -> dict[str, tuple[str, str]]:
    """Key to ETag and manifest."""
    read = objects.read(f"{INDEX}/{stage}{SUFFIX}")
    try:
        entries = {} if read is None else json.loads(gzip.decompress(read.content))
        return {key: (etag, text) for key, (etag, text) in entries.items()}
    except (OSError, EOFError, ValueError, TypeError, AttributeError):
        return {}  # half an index is none
