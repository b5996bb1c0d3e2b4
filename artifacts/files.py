"""Every file operation of the store: atomic writes, renames, listings, removals and locks.

For local file systems. What the files mean is in ``store``, ``claims`` and ``grids``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from artifacts.errors import StorageFull

TEMPORARY = ".tmp-"
"""Prefix of a text that was being written; one is left behind only by a process that was killed."""

BLOCK_BYTES = 1 << 16

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def room(path: Path) -> Iterator[None]:
    """Turn a full device inside the block into one line.

    Raises:
        StorageFull: the block failed because nothing more can be written near ``path``.
    """
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise StorageFull(
                f"no space left at {path}; free some and run the same command again: finished stages are kept"
            ) from error
        raise


def is_full(error: Exception) -> bool:
    """Whether it says that a device is full."""
    # Writers in Rust or C++, such as that of safetensors, say it in the message only.
    has_number = isinstance(error, OSError) and error.errno in FULL
    return has_number or any(os.strerror(code) in str(error) for code in FULL)


def read_text(path: Path | str) -> str:
    """The whole text of a file."""
    descriptor = os.open(path, os.O_RDONLY)  # called a hundred thousand times by a plan
    try:
        content = os.read(descriptor, BLOCK_BYTES)
        while block := os.read(descriptor, BLOCK_BYTES):
            content += block
    finally:
        os.close(descriptor)
    return content.decode()


def write_text(path: Path, text: str) -> None:
    """Write a file so that readers, and a crash, find the old text or the new one, whole.

    Raises:
        StorageFull: no room left; the old text stands.
    """
    temporary = path.with_name(TEMPORARY + uuid.uuid4().hex)
    with room(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            try:
                left = memoryview(text.encode())
                while left:
                    left = left[os.write(descriptor, left) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync(path.parent)


def names(folder: Path) -> list[str]:
    """Sorted names of all that lies in a folder; none where there is no folder."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (of a hundred thousand names)
    except (FileNotFoundError, NotADirectoryError):
        return []


def size_bytes(path: Path | str) -> int | None:
    """Size of a file; None where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 (as in ``read_text``)
    except (FileNotFoundError, NotADirectoryError):
        return None


def tree_bytes(path: Path) -> int:
    """Size of a file, or of all files below a folder."""
    if not path.is_dir():
        return size_bytes(path) or 0
    return sum(size_bytes(file) or 0 for file in path.rglob("*") if file.is_file())


def make_folder(folder: Path) -> None:
    """Create a folder and its parents where they are missing, so that a crash does not lose it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with room(folder):
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def move(source: Path, target: Path) -> None:
    """Rename a file or folder inside the store; ``target`` is absent, or a file."""
    with room(target):
        source.rename(target)
        sync(target.parent)
        if source.parent != target.parent:
            sync(source.parent)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; neither need be there."""
    if path.is_dir() and not path.is_symlink():
        # What another process removes at the same time is as good as removed here.
        shutil.rmtree(path, onerror=_unless_missing)
    else:
        path.unlink(missing_ok=True)


def _unless_missing(
    function: object, path: str, info: tuple[type[BaseException], BaseException, TracebackType]
) -> None:
    if not isinstance(info[1], FileNotFoundError):
        raise info[1]


def sync(path: Path) -> None:
    """Bring a file, or the list of names of a folder, to the device."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Bring a folder and everything below it to the device.

    Raises:
        StorageFull: no room left for what was written.
    """
    with room(folder):
        for path in sorted(folder.rglob("*"), reverse=True):
            sync(path)
        sync(folder)


@dataclass(frozen=True, slots=True)
class Lock:
    """A held ``flock``; the kernel frees it when its process dies.

    It belongs to the descriptor: a child made by ``fork`` shares it, a spawned one does not.
    """

    path: Path
    descriptor: int

    def write(self, text: str) -> None:
        """Say in the lock file what it is held for."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)

    def release(self, *, remove: bool) -> None:
        """Let go; with ``remove`` the file goes too, which ``lock`` is prepared for."""
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def lock(path: Path) -> Lock | None:
    """Take the lock whose file is ``path``, in a folder that exists; None when somebody holds it.

    The file is created where it is missing. To wait for it is for ``waiting.take``.
    """
    while True:
        with room(path):
            descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder may have removed the file that this process had just opened; then the
            # next one to come would lock another file.
            if is_at(descriptor, path):
                return Lock(path, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open a lock file, which is never a link to something else."""
    flags = os.O_RDWR | os.O_NOFOLLOW
    try:
        # Where many users share a folder, the kernel refuses to "create" the file of another.
        return os.open(path, flags)
    except FileNotFoundError:
        return os.open(path, flags | os.O_CREAT, 0o666)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Show others, by ``is_locked``, that a folder which may go is being worked in."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file ``descriptor`` is what lies at ``path`` now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_locked(path: Path) -> bool:
    """Whether any process holds the lock whose file is ``path``."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
