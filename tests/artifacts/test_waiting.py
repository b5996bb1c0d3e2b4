"""Tests of ``artifacts.waiting``: what a wait says, to whom, and how it ends."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts import files, waiting
from artifacts.errors import Stopped
from artifacts.waiting import Wait, notices, show_in, take


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(waiting, "_board", None)
    monkeypatch.setattr(waiting, "NOTICE_S", 0.0)
    show_in(tmp_path)
    return tmp_path


def when_said(act: Callable[[], object]) -> logging.Handler:
    """A handler that acts when a wait has said what for."""

    class Act(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            act()

    return Act()


def test_wait_for_a_lock_says_once_who_has_it_and_for_what(
    board: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = take(board / "lock", what="a slot", label="boolq train_gt")
    seen = []

    def let_go() -> None:
        monkeypatch.setattr(waiting.Wait, "_say", lambda wait: pytest.fail("said twice"))
        # The notice is on the board a moment after the line is in the log.
        threading.Timer(0.2, lambda: (seen.extend(notices(board)), held.release(remove=True))).start()

    handler = when_said(let_go)
    waiting.log.addHandler(handler)
    try:
        take(board / "lock", what="a slot").release(remove=True)
    finally:
        waiting.log.removeHandler(handler)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("waiting for a slot, held by process ")
    assert "(boolq train_gt) since 20" in line
    assert [f"waiting for {notice.what}" for notice in seen] == [line]
    assert notices(board) == []


def test_what_is_free_is_had_without_a_word(board: Path, caplog: pytest.LogCaptureFixture) -> None:
    take(board / "lock", what="a slot").release(remove=True)
    assert caplog.records == []


def test_first_free_lock_of_several_is_taken(board: Path) -> None:
    first = take(board / "0", board / "1", what="a slot")
    second = take(board / "0", board / "1", what="a slot")
    assert [first.path.name, second.path.name] == ["0", "1"]
    for lock in (first, second):
        lock.release(remove=True)


def test_wait_ends_when_it_is_stopped(board: Path) -> None:
    stop = threading.Event()
    held = take(board / "lock", what="a slot")
    handler = when_said(stop.set)
    waiting.log.addHandler(handler)
    try:
        with pytest.raises(Stopped, match=r"^stopped while waiting for a slot, held by process"):
            take(board / "lock", what="a slot", stop=stop)
    finally:
        waiting.log.removeHandler(handler)
        held.release(remove=True)
    assert notices(board) == []


def test_notice_of_a_killed_process_is_gone(board: Path) -> None:
    waits = """
import sys
from pathlib import Path
from artifacts import waiting
waiting.NOTICE_S = 0
waiting.show_in(Path(sys.argv[1]))
waiting.log.addHandler(waiting.logging.NullHandler())
with waiting.Wait(lambda: "Godot") as wait:
    wait.pause()
    print(flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", waits, board], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert [(notice.what, notice.pid) for notice in notices(board)] == [("Godot", process.pid)]
    process.kill()
    process.communicate()
    assert notices(board) == []


def test_board_that_cannot_be_written_to_stops_no_work(board: Path) -> None:
    (board / "cache").write_text("no folder")
    with Wait(lambda: "anything") as wait:
        wait.pause()
    assert files.names(board / waiting.BOARD) == []
