"""Claims on S3: numbered objects that are created only if absent and beat while their holder lives.

The highest number holds. A waiter that sees no beat for ``SILENT_S``, by its own clock, takes the next number. Then
two may hold, which costs a double computation and nothing else: what is published first stands, see ``s3.store``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping

from artifacts.errors import StoreUnavailable
from artifacts.identity.keys import JSON
from artifacts.store.s3.objects import Entry, Objects
from artifacts.waiting import STOP, Wait

BEAT_S = 15.0
SILENT_S = 60.0
"""Without a beat for so long, a holder counts as dead."""

LONGEST_WAIT_S = 2.0

log = logging.getLogger("w2s.store")


class S3Claims:
    """The claims in one folder.

    Args:
        objects: the store.
        folder: of the claims.
        clock: seconds on a clock that only goes forward.
        pause: waits a moment of at most so many seconds.
    """

    def __init__(
        self,
        objects: Objects,
        folder: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[Wait, float], None] = Wait.pause,
    ) -> None:
        self._objects = objects
        self._folder = folder
        self._clock = clock
        self._pause = pause

    def take(self, name: str, about: Mapping[str, JSON], stop: threading.Event = STOP) -> S3Hold:
        """Hold the claim, after whoever holds it now.

        Args:
            name: of the claim.
            about: what others may know of the holder.
            stop: give up waiting when this is set.

        Raises:
            Stopped: ``stop`` was set before the claim was had.
        """
        seen: Entry | None = None
        silent_s, looked = 0.0, self._clock()
        with Wait(lambda: self._told(name, seen), stop) as wait:
            while True:
                last = self._last(name)
                now = self._clock()
                if last is None:
                    hold = self._create(name, 1, about)
                elif seen is None or (last.path, last.etag) != (seen.path, seen.etag):
                    seen, silent_s, hold = last, 0.0, None
                else:
                    # While this waiter could not look, a beat would not have been seen.
                    silent_s += min(now - looked, BEAT_S)
                    hold = self._succeed(name, last, about) if silent_s >= SILENT_S else None
                if hold is not None:
                    return hold
                looked = now
                self._pause(wait, LONGEST_WAIT_S)

    def _told(self, name: str, seen: Entry | None) -> str:
        """In words, what is waited for, and who has it."""
        held = self.about(seen) if seen is not None else {}
        by = f"process {held['pid']} on {held['host']} since {held['since']}" if "pid" in held else "another process"
        return f"{held.get('label') or name}, held by {by}; a holder that is dead is followed after {SILENT_S:.0f} s"

    def take_free(self, name: str, about: Mapping[str, JSON]) -> S3Hold | None:
        """Hold the claim, unless somebody alive holds it."""
        last = self._last(name)
        if last is None:
            return self._create(name, 1, about)
        return None if _is_live(last) else self._succeed(name, last, about)

    def live(self) -> dict[str, Entry]:
        """The claims whose holder lives, by name; by the service's clock, since this does not wait."""
        return _live(self._objects.entries(f"{self._folder}/"))

    def dead(self) -> list[Entry]:
        """What dead holders left."""
        entries = list(self._objects.entries(f"{self._folder}/"))
        live = _live(entries)
        return [entry for entry in entries if _name(entry) not in live]

    def about(self, entry: Entry) -> dict[str, JSON]:
        """What the holder of a claim says of itself; empty if it was released meanwhile."""
        found = self._objects.read(entry.path)
        return {} if found is None else dict(json.loads(found.content))

    def _last(self, name: str) -> Entry | None:
        """The claim with the highest number."""
        return max(self._objects.entries(f"{self._folder}/{name}/"), default=None)

    def _succeed(self, name: str, last: Entry, about: Mapping[str, JSON]) -> S3Hold | None:
        """Take the number after a claim, unless that is no longer as it was seen."""
        hold = self._create(name, int(last.path.rpartition("/")[2]) + 1, about)
        if hold is None:
            return None
        others = [entry for entry in self._objects.entries(f"{self._folder}/{name}/") if entry.path != hold.path]
        if (last.path, last.etag) not in {(entry.path, entry.etag) for entry in others}:
            hold.release()
            return None
        self._objects.remove(entry.path for entry in others)
        log.warning("%s: its holder is silent; taken over", about.get("label") or name)
        return hold

    def _create(self, name: str, number: int, about: Mapping[str, JSON]) -> S3Hold | None:
        hold = S3Hold(self._objects, f"{self._folder}/{name}", number, about)
        return hold if hold.create() else None


class S3Hold:
    """A claim that is held; beats until it is released."""

    def __init__(self, objects: Objects, folder: str, number: int, about: Mapping[str, JSON]) -> None:
        self.path = f"{folder}/{number:06d}"
        self._objects = objects
        self._content = {**about, "id": uuid.uuid4().hex}
        self._n_beats = 0
        self._etag: str | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="claim", daemon=True)

    def create(self) -> bool:
        """Create the object, and begin to beat; False if the number is taken."""
        self._write(self._objects)
        if self._etag is not None:
            self._thread.start()
        return self._etag is not None

    def beat(self) -> bool:
        """Say once that the holder lives; False if somebody took over."""
        self._n_beats += 1
        # One that comes late is as good as none, and the next one is due soon.
        self._write(self._objects.impatient())
        return self._etag is not None

    def release(self) -> None:
        """Let go; if the service cannot be reached, others take over in a minute."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(StoreUnavailable):
            # What is there under this number may be another's, if this process slept.
            if self._etag is not None and self.beat():
                self._objects.impatient().remove([self.path])

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT_S):
            with contextlib.suppress(StoreUnavailable):
                if not self.beat():
                    log.warning("%s was taken over by another run", self._content.get("label") or self.path)
                    return

    def _write(self, objects: Objects) -> None:
        content = json.dumps({**self._content, "beats": self._n_beats}).encode()
        etag = objects.write(self.path, content, over=self._etag)
        if etag is None:
            found = objects.read(self.path)
            # It is this claim's own if the answer to a first attempt was lost.
            is_own = found is not None and json.loads(found.content)["id"] == self._content["id"]
            etag = found.etag if found is not None and is_own else None
        self._etag = etag


def _name(entry: Entry) -> str:
    return entry.path.split("/")[1]


def _live(entries: Iterable[Entry]) -> dict[str, Entry]:
    last = {_name(entry): entry for entry in entries}
    return {name: entry for name, entry in last.items() if _is_live(entry)}


def _is_live(entry: Entry) -> bool:
    return entry.age_s < SILENT_S
