"""Runs operations of a store in processes that are killed at their n-th change of the file system.

A program, started by ``test_publish``: it reads ``[operation, root, n]`` as JSON, one per line, runs
the operation in a forked child that gets SIGKILL instead of its n-th change, and answers whether the
child came to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artifacts.store.grids import Grids
from artifacts.store.local import LocalStore
from tests.toy_artifacts import KEY, STAGE, manifest, run_of, write_draft

CHANGES = ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync", "write", "ftruncate", "pwrite")


def publish(store: LocalStore, weights: str = "weights") -> None:
    """All that a run does for one node."""
    stop = threading.Event()
    stop.set()  # A claim that is not free at once is a failure here.
    with store.claim(STAGE, KEY, label="node", stop=stop), store.draft(STAGE, KEY) as draft:
        write_draft(draft, weights)
        store.publish(draft, manifest(weights=weights))


def publish_other_bytes(store: LocalStore) -> None:
    """The same node, by a machine that rounds otherwise."""
    publish(store, "otherwise")


def evict(store: LocalStore) -> None:
    """Remove the weights."""
    store.evict(STAGE, KEY, "model")


def gc(store: LocalStore) -> None:
    """Remove everything."""
    store.gc(set, dry_run=False)


def run_grid(store: LocalStore) -> None:
    """Write down a run from beginning to end."""
    Grids(store).start(run_of()).finish(run_of(key=KEY), "complete")


OPERATIONS: dict[str, Callable[[LocalStore], None]] = {
    operation.__name__: operation for operation in (publish, publish_other_bytes, evict, gc, run_grid)
}


def die_at(n: int) -> None:
    """Let this process be killed instead of its ``n``-th change, counting from 0."""
    n_done = 0

    def mortal(name: str, change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal n_done
            if n_done == n:
                if name == "write":
                    change(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            n_done += 1
            # What was written survives the death of a process without it, and tests have no time.
            return None if name == "fsync" else change(*args, **kwargs)

        return call

    for name in CHANGES:
        setattr(os, name, mortal(name, getattr(os, name)))


def main() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        operation, root, n = json.loads(line)
        child = os.fork()
        if child == 0:
            die_at(n)
            OPERATIONS[operation](LocalStore(Path(root)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not is_killed and status != 0:
            raise SystemExit(f"{operation} failed when it was to die at {n}")
        print("killed" if is_killed else "done", flush=True)


if __name__ == "__main__":
    main()
