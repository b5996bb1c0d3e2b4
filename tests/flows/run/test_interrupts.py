"""Interrupts of the main thread, which leave no lock behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts import files
from artifacts.errors import Stopped
from artifacts.waiting import STOP
from flows.run.interrupts import INTERRUPTS
from flows.serve import server


@pytest.fixture(autouse=True)
def goes_on() -> Iterator[None]:
    """The process of the tests is not to end."""
    with INTERRUPTS.heard():
        yield
        INTERRUPTS.have_ended()
    STOP.clear()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_turn_that_is_interrupted_as_it_is_taken_is_free_while_the_interrupt_is_handled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(*paths: Path, **more: Any) -> files.Lock:
        lock = files.lock(*paths)
        assert lock is not None
        interrupt()  # before anybody has it
        return lock

    monkeypatch.setattr(server, "take", take)

    with pytest.raises(KeyboardInterrupt) as kept, server._turn(tmp_path):
        pass

    assert kept.value.__traceback__ is not None
    lock = files.lock(tmp_path / "server.lock")
    assert lock is not None
    lock.release(remove=False)


def test_interrupt_does_not_come_again_after_an_error_that_it_led_to() -> None:
    def stop() -> None:
        with INTERRUPTS.put_off():
            interrupt()
            raise Stopped("stopped while waiting")

    with pytest.raises(Stopped):
        stop()

    with INTERRUPTS.put_off():
        pass


def test_interrupt_waits_for_the_outermost_of_blocks_that_put_it_off() -> None:
    done = []

    def work() -> None:
        with INTERRUPTS.put_off():
            with INTERRUPTS.put_off():
                interrupt()
            done.append("inner")

    with pytest.raises(KeyboardInterrupt):
        work()

    assert done == ["inner"]


def test_interrupt_at_a_prompt_takes_a_line_back_and_ends_nothing() -> None:
    with INTERRUPTS.at_a_prompt():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                interrupt()

    assert INTERRUPTS.exit_code is None
    assert not STOP.is_set()


def test_other_signals_at_a_prompt_end_the_process() -> None:
    with INTERRUPTS.at_a_prompt(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)

    assert INTERRUPTS.exit_code == 143
    assert STOP.wait(60)
