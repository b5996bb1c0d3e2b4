"""Where grid files lie, and which runs live; what the files say is in ``grids``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from artifacts import files
from artifacts.waiting import take

SUFFIX = ".json"


class Hold(Protocol):
    """A run that lives: until it is released, or its process dies."""

    def release(self) -> None:
        """The run is over."""


class Records(Protocol):
    """Named texts that are changed atomically, and holds by which others see who lives."""

    def names(self) -> list[str]:
        """The names of all texts, sorted."""

    def read(self, name: str) -> bytes | None:
        """A text; None where there is none."""

    def change(self, name: str, change: Callable[[bytes | None], str]) -> None:
        """Replace a text by what ``change`` makes of it; no other change comes in between.

        Args:
            name: which text; it need not be there.
            change: from the text as it is, or None; may be called more than once.
        """

    def remove(self, name: str) -> None:
        """Forget a text; it need not be there."""

    def state(self) -> Hashable:
        """Something that is another whenever a text has changed, come or gone."""

    def place(self, name: str) -> str:
        """Where a text lies, for messages."""

    def hold(self, name: str, id: str) -> Hold:
        """Show others that the run ``id`` of ``name`` lives."""

    def held(self, name: str) -> set[str]:
        """Ids of the runs of ``name`` that live."""


@dataclass(frozen=True, slots=True)
class _LocalHold:
    lock: files.Lock

    def release(self) -> None:
        self.lock.release(remove=True)


@dataclass(frozen=True, slots=True)
class LocalRecords:
    """Texts in a local folder; a hold is an ``flock``."""

    folder: Path
    lock: Callable[[], AbstractContextManager[None]]
    """Alone among all processes while names in the store change; creates the store."""

    def names(self) -> list[str]:
        """See ``Records``."""
        return [n.removesuffix(SUFFIX) for n in files.names(self.folder) if n.endswith(SUFFIX) and n[0] != "."]

    def read(self, name: str) -> bytes | None:
        """See ``Records``."""
        try:
            return (self.folder / f"{name}{SUFFIX}").read_bytes()
        except FileNotFoundError:
            return None

    def change(self, name: str, change: Callable[[bytes | None], str]) -> None:
        """See ``Records``."""
        with self.lock():
            files.make_folder(self.folder)
            files.write_text(self.folder / f"{name}{SUFFIX}", change(self.read(name)))

    def remove(self, name: str) -> None:
        """See ``Records``."""
        with self.lock():
            files.remove(self.folder / f"{name}{SUFFIX}")

    def state(self) -> Hashable:
        """See ``Records``; a text that changes is a new file."""
        found = []
        for name in self.names():
            with contextlib.suppress(FileNotFoundError):
                told = (self.folder / f"{name}{SUFFIX}").stat()
                found.append((name, told.st_ino, told.st_mtime_ns, told.st_size))
        return tuple(found)

    def place(self, name: str) -> str:
        """See ``Records``."""
        return str(self.folder / f"{name}{SUFFIX}")

    def hold(self, name: str, id: str) -> Hold:
        """See ``Records``."""
        with self.lock():
            files.make_folder(self.folder)
        return _LocalHold(take(self.folder / self._hold_name(name, id), what=f"the run {id} of {name}"))

    def held(self, name: str) -> set[str]:
        """See ``Records``."""
        prefix = self._hold_name(name, "")
        locks = [lock for lock in files.names(self.folder) if lock.startswith(prefix)]
        return {lock.removeprefix(prefix) for lock in locks if files.is_locked(self.folder / lock)}

    @staticmethod
    def _hold_name(name: str, id: str) -> str:
        # A colon is in no name, so no grid's locks look like another's.
        return f".{name}:{id}"
