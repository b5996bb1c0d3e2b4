"""Lands a store and its grid files in ``results.duckdb``: the file, its versions, and who may write when.

What is in it is for ``landing`` and the SQL files beside this one. The file is derived: it can be deleted and built
again at any time. DuckDB lets one process write and then locks readers out, so a copy is brought up to date beside the
file that users read, and renamed over it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
import time
from pathlib import Path
from typing import BinaryIO

import duckdb

from artifacts import files
from artifacts.results.comments import comment
from artifacts.results.landing import Kinds, Landing, Outdated, by_name, sql
from artifacts.results.query import COPY
from artifacts.store.contract import Store
from artifacts.waiting import STOP, take

OLD_S = 24 * 3600
"""Age at which a reader's copy is nobody's any more."""

MEMORY = "512MB"
"""Of DuckDB; what does not fit goes to files beside the new version."""

N_THREADS = 4
"""Each has buffers of its own, and it is the stages of a run that need processors."""

SPARSE_BYTES = 1 << 26
"""From so many on, a file of which more than half is free is written anew."""


MOST_BYTES = 1 << 30
"""Copied by one call."""

VIEWS = ("intervals", "views", "costs", "analyses", "debates")
"""SQL files of what is read of the tables, in this order."""

PUBLISHED = Path(__file__).with_name("published.csv")


def build(store: Store, path: Path, kinds: Kinds, *, is_anew: bool = False, stop: threading.Event = STOP) -> None:
    """Bring ``path`` up to what ``store`` and its grid files know; readers meanwhile get the old version or the new.

    Only what differs is read and written. All is built anew where there is no file, or one that cannot be read, was
    written by another version of this program, or was changed by somebody else. Builders take turns, and each lists the
    store after its turn has come, so no version replaces a newer one.

    Args:
        store: what is read.
        path: the DuckDB file.
        kinds: what the outputs of a stage are; those of kinds in ``landing.TABLES`` are copied.
        is_anew: build all anew.
        stop: give up when this is set while others have their turn, or while much is still to do.

    Raises:
        CorruptArtifact: a grid file, or a table that a manifest vouches for, cannot be read.
        MissingArtifact: an artifact went away meanwhile.
        Stopped: ``stop`` was set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    turn = take(path.with_suffix(".lock"), what=f"another run that writes {path}", stop=stop)
    new = path.with_name(f"{path.name}.new")
    old = contextlib.ExitStack()
    try:
        _discard_copies(path.parent)
        at = int(time.time())
        with files.room(path):
            if is_anew or not _land_on_copy(store, path, new, kinds, stop, at, old):
                _discard(new)
                _land_anew(store, new, kinds, stop, at)
        os.utime(new, (at, at))  # as it says itself, so that whoever changes it is found out
        # A log beside the new file would be taken for its own, and make it unreadable. Whoever wrote it had the old
        # file, which is gone with it; he may go on, and begin another log in the very moment of the renaming.
        _discard_logs(path)
        new.replace(path)
        _discard_logs(path)
    finally:
        old.close()
        _discard(new)
        turn.release(remove=True)


def shows(path: Path, run: str) -> bool:
    """Whether the results at ``path`` have a run, by id; a store that is shared gets runs from other machines."""
    if not path.exists():
        return False
    try:
        with duckdb.connect(path, read_only=True) as connection:
            return connection.execute("SELECT run FROM grids WHERE run = ?", [run]).fetchone() is not None
    except duckdb.Error:
        return False  # damaged, of another version, held by a writer, or with a log that is not its own


def _land_on_copy(
    store: Store, path: Path, new: Path, kinds: Kinds, stop: threading.Event, at: int, old: contextlib.ExitStack
) -> bool:
    """Bring a copy of the file up to date; False where there is none that can be.

    A copy is to DuckDB the same database: a log that a writer of the old version leaves would be taken for that of the
    new one. So nobody may write to it until it is replaced, and one to which somebody does is not copied.

    DuckDB's readers open a file twice, for its header and for its blocks, and may find the old version's header and the
    new one's blocks. So the new version keeps all blocks of the old one: a checkpoint overwrites none that the last one
    used, and there is only one, at the end; what it cuts off is put back, beyond what the new header counts.

    Args:
        old: keeps writers away until it is closed.
    """
    _discard(new)  # what a killed builder left; it held the turn, so nobody is at it now
    try:
        source = old.enter_context(path.open("rb"))
        fcntl.lockf(source, fcntl.LOCK_SH | fcntl.LOCK_NB)  # as DuckDB's readers do
        told = os.fstat(source.fileno())
        _copy(source, new)
    except OSError as error:
        if files.is_full(error):
            raise
        return False  # not there, or held, or on a file system without locks
    try:
        with _writing(new) as connection:
            if not _is_ours(connection, told.st_mtime_ns) or _is_sparse(connection, told.st_size):
                return False
            connection.execute("SET checkpoint_threshold = '1TB'")
            _land(connection, store, kinds, stop, at)
        _copy(source, new, begin=new.stat().st_size)
    except (duckdb.Error, Outdated) as error:
        if files.is_full(error):
            raise
        return False  # damaged, or of another version of DuckDB
    return True


def _land_anew(store: Store, new: Path, kinds: Kinds, stop: threading.Event, at: int) -> None:
    with _writing(new) as connection:
        texts = [sql("schema"), by_name(sql("landing"))["tables"], *map(sql, VIEWS)]
        connection.execute("BEGIN")  # each comment would be a transaction of its own
        for text in texts:
            connection.execute(text)
        comment(connection, texts)
        connection.execute("COMMIT")
        connection.execute("INSERT INTO published FROM read_csv(?, nullstr = '')", [str(PUBLISHED)])
        _land(connection, store, kinds, stop, at)


def _writing(new: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(new, config={"memory_limit": MEMORY, "threads": min(N_THREADS, os.cpu_count() or 1)})


def _land(connection: duckdb.DuckDBPyConnection, store: Store, kinds: Kinds, stop: threading.Event, at: int) -> None:
    """Land, and write down by which version of the program, and when."""
    Landing(connection, store, kinds, stop).run()
    connection.execute("TRUNCATE landing.written")
    connection.execute("INSERT INTO landing.written VALUES (?, ?)", [_version(), at])


def _is_ours(connection: duckdb.DuckDBPyConnection, written_ns: int) -> bool:
    """Whether this version of the program wrote the file, and nobody else has since."""
    written = connection.execute("SELECT version, second FROM landing.written").fetchone()
    return written is not None and (written[0], written[1] * 10**9) == (_version(), written_ns)


def _is_sparse(connection: duckdb.DuckDBPyConnection, size_bytes: int) -> bool:
    """Whether more than half of a large file is free; it never gets smaller, see ``_land_on_copy``."""
    sizes = connection.execute("SELECT used_blocks, block_size FROM pragma_database_size()").fetchone()
    return sizes is not None and size_bytes >= SPARSE_BYTES and size_bytes > 2 * sizes[0] * sizes[1]


def _version() -> str:
    """Digest of all that decides what is in the file besides the store."""
    digest = hashlib.sha256(duckdb.__version__.encode())
    for file in sorted(Path(__file__).parent.iterdir()):
        if file.suffix in (".py", ".sql", ".csv", ".toml"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _copy(source: BinaryIO, new: Path, begin: int = 0) -> None:
    """Copy the file from an offset on, by sharing its blocks where the file system can."""
    with new.open("r+b" if begin else "wb") as target:
        source.seek(begin)
        target.seek(begin)
        try:
            while os.copy_file_range(source.fileno(), target.fileno(), MOST_BYTES):
                pass
        except (OSError, AttributeError):  # there are file systems, and systems, that cannot
            source.seek(begin)
            target.seek(begin)
            shutil.copyfileobj(source, target)


def _discard(new: Path) -> None:
    """Remove an unfinished version, with what DuckDB keeps beside it."""
    for suffix in ("", ".tmp"):
        files.remove(new.with_name(f"{new.name}{suffix}"))
    _discard_logs(new)


def _discard_copies(folder: Path) -> None:
    """Remove what readers left that were killed."""
    for name in files.names(folder):
        if name.startswith(COPY) and time.time() - (folder / name).stat().st_mtime > OLD_S:
            files.remove(folder / name)


def _discard_logs(path: Path) -> None:
    for suffix in (".wal", ".wal.checkpoint", ".wal.recovery"):
        files.remove(path.with_name(f"{path.name}{suffix}"))
