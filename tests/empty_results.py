"""Results of an empty store, to be brought up to date: a copy takes a hundredth of the time that building anew does."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from artifacts.results.build import build
from artifacts.store.local import LocalStore
from flows.home import output_kinds


def place(results: Path) -> None:
    """Lay them at ``results``, unless some are there."""
    if not results.exists():
        results.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(_made(), results)


@cache
def _made() -> Path:
    """Made once per process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    results = folder / "results.duckdb"
    build(LocalStore(folder / "store"), results, output_kinds)
    return results
