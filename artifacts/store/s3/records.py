"""Grid files on S3, changed by conditional writes; runs show that they live by claims that beat."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from artifacts.store.records import SUFFIX, Hold
from artifacts.store.s3.claims import S3Claims
from artifacts.store.s3.objects import Objects

GRIDS = "grids"
RUNS = "runs"


class S3Records:
    """See ``records.Records``."""

    def __init__(self, objects: Objects, create: Callable[[], None]) -> None:
        self._objects = objects
        self._create = create
        self.runs = S3Claims(objects, RUNS)

    def names(self) -> list[str]:
        """See ``records.Records``."""
        paths = [entry.path.removeprefix(f"{GRIDS}/") for entry in self._objects.entries(f"{GRIDS}/")]
        return [path.removesuffix(SUFFIX) for path in paths if path.endswith(SUFFIX)]

    def read(self, name: str) -> bytes | None:
        """See ``records.Records``."""
        found = self._objects.read(self._path(name))
        return None if found is None else found.content

    def change(self, name: str, change: Callable[[bytes | None], str]) -> None:
        """See ``records.Records``."""
        self._create()
        path = self._path(name)
        is_written = False
        while not is_written:
            found = self._objects.read(path)
            content, etag = (None, None) if found is None else found
            is_written = self._objects.write(path, change(content).encode(), over=etag) is not None

    def remove(self, name: str) -> None:
        """See ``records.Records``."""
        self._objects.remove([self._path(name)])

    def state(self) -> Hashable:
        """See ``records.Records``."""
        return tuple((entry.path, entry.etag) for entry in self._objects.entries(f"{GRIDS}/"))

    def place(self, name: str) -> str:
        """See ``records.Records``."""
        return f"{self._objects.url}/{self._path(name)}"

    def hold(self, name: str, id: str) -> Hold:
        """See ``records.Records``."""
        self._create()
        return self.runs.take(f"{name}:{id}", {"label": name})

    def held(self, name: str) -> set[str]:
        """See ``records.Records``."""
        return {run.rpartition(":")[2] for run in self.runs.live() if run.rpartition(":")[0] == name}

    @staticmethod
    def _path(name: str) -> str:
        return f"{GRIDS}/{name}{SUFFIX}"
