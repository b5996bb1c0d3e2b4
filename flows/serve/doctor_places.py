"""For ``w2s doctor``: the home, the store, the results and the database of the home's server, each really tried."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from artifacts import files
from artifacts.errors import StoreUnavailable
from artifacts.store.contract import Store
from artifacts.store.grids import Grids
from artifacts.store.opening import S3
from flows.home import Home
from flows.serve.findings import OK, PROBLEM, WARNING, Finding
from tasks.workers.checkpoints import sweep

GIB = 2**30
LITTLE, TOO_LITTLE = 10 * GIB, GIB
"""Free space below which a grid of large models, or any grid, may run out of it."""

ELSEWHERE = ("nfs", "cifs", "smb", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "fuse.sshfs", "fuse.s3fs")
"""Starts of the names of file systems on other machines."""

COUNT_S = 4.0
"""Seconds to look for broken artifacts."""

SMALL_DATABASE = 100_000_000
"""Bytes that are read through in less than a second."""


def check_home(home: Home) -> Iterator[Finding]:
    """Whether the home can be written, and has room."""
    yield folder_finding("home", home.root, "set W2S_HOME to another folder")
    yield room_finding("disk", nearest(home.root))


def check_store(home: Home) -> Iterator[Finding]:
    """Whether the store can be used by several runs at once; what in it is broken or of no use."""
    url = home.store_url
    if url.startswith(S3):
        yield try_s3(url)
    elif "://" not in url:
        folder = Path(url).absolute()
        tried = folder_finding("store", folder, "set W2S_STORE to another folder")
        if tried.verdict == OK and folder.is_dir() and not locks_work(folder):
            tried = Finding(
                "store",
                PROBLEM,
                f"{folder}: its file system knows no locks",
                "set W2S_STORE to a folder on a local disk",
            )
        yield tried
        if nearest(folder).stat().st_dev != nearest(home.root).stat().st_dev:
            yield room_finding("store disk", nearest(folder))
        if tried.verdict == PROBLEM:
            return
    store = home.open_store()  # says itself what is wrong
    yield from _contents(home, store)


def _contents(home: Home, store: Store) -> Iterator[Finding]:
    listing = store.listing()
    deadline = time.monotonic() + COUNT_S
    n_looked, broken, is_all = 0, [], True
    for stage, key in listing.artifacts():
        n_looked += 1
        if listing.problem(stage, key) is not None:
            broken.append(f"{stage} {key[:12]}")
        if time.monotonic() > deadline:
            is_all = False
            break
    looked = f"{n_looked} artifacts" if is_all else f"first {n_looked} artifacts"
    if broken:
        yield Finding(
            "artifacts",
            WARNING,
            f"{len(broken)} of {looked} are broken, such as {broken[0]}",
            "`w2s store verify` names all; `w2s run GRID` makes what a grid needs of them anew",
        )
    else:
        yield Finding("artifacts", OK, f"{looked}, files of the right size")
    running = {claim.key for claim in store.running()}
    stale = sweep(home.root, nodes=Grids(store).nodes(), running=lambda: running, dry_run=True)
    if stale:
        size = sum(item.size_bytes for item in stale)
        yield Finding(
            "checkpoints", WARNING, f"{len(stale)} of no use to any grid, {size:,} bytes", "`w2s store gc` removes them"
        )


def try_s3(url: str) -> Finding:
    """Write, read and remove a small object, and see whether conditions on writing are honoured.

    Raises:
        StoreUnavailable: no credentials, no answer, or a refusal.
        UsageError: boto3 is missing, or ``url`` names no bucket.
    """
    from artifacts.store.s3.objects import Objects

    objects = Objects(url, is_patient=False)
    path = f".doctor-{uuid.uuid4().hex}"
    try:
        first = objects.write(path, b"1", over=None)
        again = objects.write(path, b"2", over=None)
        found = objects.read(path)
        if again is not None or found is None or found.content != b"1":
            return _unconditional(url, "creates an object over one that is there")
        if objects.write(path, b"3", over='"0123456789abcdef0123456789abcdef"') is not None:
            return _unconditional(url, "replaces an object that is not the expected one")
        if objects.write(path, b"4", over=first) is None:
            return _unconditional(url, "does not replace an object that is the expected one")
    finally:
        with contextlib.suppress(StoreUnavailable):
            objects.remove([path])
    if objects.read(path) is not None:
        return Finding("store", PROBLEM, f"{url}: an object is still there when removed", "see its rules on retention")
    return Finding("store", OK, f"{url}: an object was written on conditions, read and removed")


def _unconditional(url: str, what: str) -> Finding:
    return Finding(
        "store",
        PROBLEM,
        f"{url}: this service {what}",
        "use a service, or a version of it, with conditional writes (If-None-Match and If-Match)",
    )


def check_results(home: Home) -> Iterator[Finding]:
    """Whether ``results.duckdb`` can be read.

    Raises:
        UsageError: it cannot.
    """
    from artifacts.results.query import obstacle, run_query

    if not home.results.exists():
        yield Finding("results", OK, "none yet; the first run of a grid makes them")
        return
    query = "SELECT (SELECT count(*) FROM grids) AS n_grids, (SELECT count(*) FROM pgr) AS n_rows"
    [row] = run_query(home.results, query).to_pylist()
    found = f"{home.results}: {row['n_grids']} grids, {row['n_rows']} PGRs"
    why = obstacle(home.results)
    if why is not None:
        advice = "open it with read_only=True, and end what holds it; then `w2s run GRID`, even with nothing to run"
        yield Finding("results", WARNING, f"{found}; w2s reads a copy, others cannot ({why})", advice)
        return
    yield Finding("results", OK, found)


def own_database(path: Path) -> Finding:
    """The history of the home's server."""
    if not path.exists():
        return Finding("database", OK, "none yet; the first server of this home makes it")
    size = path.stat().st_size
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=2)) as connection:
            [n_runs] = connection.execute("SELECT count(*) FROM flow_run").fetchone()
            verdict = "ok"
            if size < SMALL_DATABASE:
                [verdict] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        advice = "look again when no server is starting; if it stays, see whether you own the file"
        return Finding("database", WARNING, f"{path} cannot be read now ({error})", advice)
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        return Finding(
            "database",
            PROBLEM,
            f"{path} is damaged ({' '.join(verdict.split())})",
            f"stop w2s up and all runs, then: mv {path} {path}.damaged (only the history of runs is in it)",
        )
    return Finding("database", OK, f"{path}: {n_runs:,} flow runs, {size:,} bytes")


def folder_finding(check: str, folder: Path, instead: str) -> Finding:
    """Whether something can be written to a folder, or where it would be made."""
    there = nearest(folder)
    if not there.is_dir():
        return Finding(check, PROBLEM, f"{there} is a file, not a folder", f"move it away, or {instead}")
    if there != folder:
        if os.access(there, os.W_OK | os.X_OK):
            return Finding(check, OK, f"{folder}: not there yet; the first run makes it")
        return Finding(check, PROBLEM, f"{folder} cannot be made in {there}", f"make that writable, or {instead}")
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=files.TEMPORARY):
            pass
    except OSError as error:
        reason = error.strerror or error
        return Finding(check, PROBLEM, f"{folder} cannot be written to ({reason})", f"make it writable, or {instead}")
    kind = file_system(folder)
    if kind.startswith(ELSEWHERE):
        return Finding(
            check,
            WARNING,
            f"{folder} is on {kind}; locks and databases need a local disk",
            f"{instead}, on a local disk; a store that machines share is s3://BUCKET/PREFIX",
        )
    return Finding(check, OK, str(folder))


def room_finding(check: str, folder: Path) -> Finding:
    """How much room there is."""
    usage = shutil.disk_usage(folder)
    return judge_room(check, folder, usage.free, usage.total)


def judge_room(check: str, folder: Path, free: int, total: int) -> Finding:
    """What to think of so many bytes."""
    found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free at {folder}"
    if free >= LITTLE:
        return Finding(check, OK, found)
    advice = "`w2s store gc --dry-run` says what no grid needs; or move W2S_HOME or W2S_STORE to a larger disk"
    return Finding(check, PROBLEM if free < TOO_LITTLE else WARNING, found, advice)


def nearest(path: Path) -> Path:
    """The path, or the nearest place above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def file_system(path: Path) -> str:
    """The kind of file system that a path lies on, as Linux calls it; empty where that is not known."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    kinds = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        place = before.split()[4].replace("\\040", " ")
        kinds[Path(place)] = after.split()[0]
    real = path.resolve()
    return next((kinds[place] for place in (real, *real.parents) if place in kinds), "")


def locks_work(folder: Path) -> bool:
    """Whether a lock that is held keeps others out."""
    path = folder / f"{files.TEMPORARY}{uuid.uuid4().hex}"
    first = files.lock(path)
    if first is None:
        return False
    try:
        second = files.lock(path)
        if second is not None:
            second.release(remove=False)
        return second is None
    finally:
        first.release(remove=True)
