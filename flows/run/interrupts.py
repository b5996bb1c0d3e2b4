"""The end of this process on Ctrl-C, SIGTERM or SIGHUP: the first asks for it, the second, or a little time, makes it.

The first sets ``waiting.STOP``, on which everything that waits gives up, and raises in the main thread. Ending at once
costs nothing but tidiness, as `kill -9` does: the store and locks of the kernel hold all that matters.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from artifacts.errors import UsageError
from artifacts.waiting import STOP

GRACE = "W2S_GRACE_S"
"""Environment variable: seconds that a process may take to end in order."""

GRACE_S = 8.0
"""Where that is not set."""

BY_SIGNAL = 128
"""Exit codes above this stand for signals, as in a shell."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Act = Callable[[], object]


def grace_s() -> float:
    """How long this process may take to end in order, in seconds.

    Raises:
        UsageError: ``W2S_GRACE_S`` is no such number.
    """
    text = os.environ.get(GRACE)
    if not text:
        return GRACE_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise UsageError(f"{GRACE}: {text!r} is no number of seconds above 0; leave it out for {GRACE_S:g}")
    return seconds


class Interrupts:
    """What this process has been told, and what it has to do at the very end."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first that came."""
        self._acts: list[Act] = []
        self._n_put_off = 0
        self._of_prompt: int | None = None
        """Where signals other than Ctrl-C are told of while somebody types."""
        self._is_due = False

    @property
    def exit_code(self) -> int | None:
        """What the process ends with, if it was told to end."""
        return None if self.signal is None else BY_SIGNAL + self.signal

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Hear signals in this block of the main thread; one that is ignored already stays ignored."""
        self.signal = None
        heard, told = os.pipe()
        os.set_blocking(told, False)
        # A thread, since a handler runs in the middle of anything, and may take no lock.
        watch = threading.Thread(target=self._watch, args=(heard,), name="interrupts", daemon=True)
        watch.start()
        before = {number: signal.getsignal(number) for number in SIGNALS}
        wakeup = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        try:
            yield
        finally:
            # A process that is to end is watched until it has: threads of libraries may hang in its last moments.
            if self.signal is None:
                for number, handler in before.items():
                    signal.signal(number, handler)
                signal.set_wakeup_fd(wakeup)
                os.close(told)
                watch.join()

    @contextlib.contextmanager
    def put_off(self) -> Iterator[None]:
        """Let the main thread finish this block before it is interrupted; what waits in it gives up by ``STOP``.

        For what must not be torn between two lines: a lock that was taken and is not yet in anybody's hand stays locked
        for as long as the traceback of the interrupt lives, and the process would wait for itself. Other threads are
        never interrupted.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._n_put_off += 1
        try:
            yield
        finally:
            self._n_put_off -= 1
            is_due = self._is_due and not self._n_put_off
            self._is_due = self._is_due and not is_due
        if is_due:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def at_a_prompt(self) -> Iterator[None]:
        """Let Ctrl-C raise ``KeyboardInterrupt`` in this block, and mean no more: who types takes a line back by it."""
        self._of_prompt = signal.set_wakeup_fd(-1)
        try:
            yield
        finally:
            signal.set_wakeup_fd(self._of_prompt)
            self._of_prompt = None

    @contextlib.contextmanager
    def at_the_end(self, act: Act) -> Iterator[None]:
        """Do ``act`` if the process has to end at once while the block lasts."""
        self._acts.append(act)
        try:
            yield
        finally:
            self._acts.remove(act)

    def have_ended(self) -> None:
        """What was asked for has come about, in order: for programs whose end is always asked for."""
        self.signal = None

    def end_soon(self, exit_code: int) -> None:
        """End the process with this code when the limit is over, if it has not ended by then."""
        STOP.set()
        timer = threading.Timer(grace_s(), self._end, [exit_code])
        timer.daemon = True
        timer.start()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._of_prompt is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            os.write(self._of_prompt, bytes([number]))
        if self.signal is None:
            self.signal = number
            self._is_due = self._n_put_off > 0
            if not self._is_due:
                raise KeyboardInterrupt

    def _watch(self, heard: int) -> None:
        first = os.read(heard, 1)
        if first:
            STOP.set()
            is_early = bool(select.select([heard], [], [], grace_s())[0])
            # The pipe's own end: what was asked for has come about.
            if not is_early or os.read(heard, 1):
                self._end(BY_SIGNAL + first[0])
        os.close(heard)

    def _end(self, exit_code: int) -> None:
        for act in reversed(self._acts):
            with contextlib.suppress(Exception):  # the others have to be done, whatever one meets
                act()
        os._exit(exit_code)


INTERRUPTS = Interrupts()
"""Those of this process."""
