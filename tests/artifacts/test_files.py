"""Tests of ``artifacts.files``."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from artifacts import files
from artifacts.errors import StorageFull


def full(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_written_text_is_read_back(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "ψ\n")
    assert files.read_text(tmp_path / "a") == "ψ\n"


def test_failed_write_leaves_the_old_text_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_text(tmp_path / "a", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull):
        files.write_text(tmp_path / "a", "new")
    assert files.names(tmp_path) == ["a"]
    assert files.read_text(tmp_path / "a") == "old"


def test_full_device_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageFull) as caught, files.room(tmp_path):
        full()
    assert str(caught.value) == (
        f"no space left at {tmp_path}; free some and run the same command again: finished stages are kept"
    )


def test_full_device_is_recognised_from_a_message_alone(tmp_path: Path) -> None:
    with pytest.raises(StorageFull), files.room(tmp_path):
        raise RuntimeError("I/O error: No space left on device (os error 28)")


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.room(tmp_path):
        raise ZeroDivisionError


def test_absent_folder_has_no_names(tmp_path: Path) -> None:
    assert files.names(tmp_path / "absent") == []


def test_size_of_an_absent_file_is_none(tmp_path: Path) -> None:
    assert files.size_bytes(tmp_path / "absent") is None


def test_removing_what_is_absent_is_fine(tmp_path: Path) -> None:
    files.remove(tmp_path / "absent")


def test_removing_a_link_keeps_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.remove(tmp_path / "link")
    assert files.names(tmp_path) == ["real"]


def test_lock_is_had_once(tmp_path: Path) -> None:
    held = files.lock(tmp_path / "lock")
    assert held is not None
    assert files.lock(tmp_path / "lock") is None
    assert files.is_locked(tmp_path / "lock")
    held.release(remove=True)
    assert not files.is_locked(tmp_path / "lock")


def test_lock_of_a_removed_file_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    first = files.lock(path)
    assert first is not None
    real_flock = files.fcntl.flock

    def flock_after_release(descriptor: int, flags: int) -> None:
        # The holder lets go between this process's open and its flock.
        monkeypatch.setattr(files.fcntl, "flock", real_flock)
        first.release(remove=True)
        real_flock(descriptor, flags)

    monkeypatch.setattr(files.fcntl, "flock", flock_after_release)
    second = files.lock(path)
    assert second is not None
    assert files.is_locked(path)
    second.release(remove=True)
