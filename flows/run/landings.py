"""Lands results while a run goes on, beside it: what is made is seen soon, and the run is not slowed down.

What a landing does is for ``artifacts.results``; the last one of a run, after its end, is for ``flows.run.session``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from artifacts.errors import Stopped, W2sError

PAUSE_S = 30.0
"""Between a landing and the next."""

MOST_SHARE = 0.03
"""At most so much of the time is spent on landing, however long one takes."""

log = logging.getLogger("w2s.results")


class Landings:
    """Landings in a thread of their own; use as a context manager, which ends the one that goes on.

    Args:
        land: brings the results up to what is known; gives up, with ``Stopped``, when the event is set.
        pause_s: between one and the next, at least; also before the first.
    """

    def __init__(self, land: Callable[[threading.Event], None], pause_s: float = PAUSE_S) -> None:
        self._land = land
        self._pause_s = pause_s
        self._has_news = threading.Event()
        self._end = threading.Event()
        self._is_warned = False
        self._thread = threading.Thread(target=self._run, name="landings", daemon=True)

    def __enter__(self) -> Landings:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._has_news.set()
        self._thread.join()

    def tell(self) -> None:
        """There is something that has not landed."""
        self._has_news.set()

    def _run(self) -> None:
        pause_s = self._pause_s
        while not self._end.wait(pause_s):
            self._has_news.wait()
            self._has_news.clear()
            if self._end.is_set():
                return
            began = time.monotonic()
            try:
                self._land(self._end)
            except Stopped:
                return
            except (W2sError, OSError) as error:
                self._warn(error)
            pause_s = max(self._pause_s, (time.monotonic() - began) / MOST_SHARE)

    def _warn(self, error: Exception) -> None:
        """Say once what is wrong; at the end of the run it is an error, if it still is."""
        if not self._is_warned:
            self._is_warned = True
            log.warning("results cannot be shown while the run goes on: %s", error)
