"""Where a project keeps what it makes: ``W2S_HOME``, by default ``.w2s`` below the current folder.

Its artifacts may lie elsewhere, so that several machines share them: ``W2S_STORE``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import W2sError
from artifacts.store.contract import Store
from artifacts.store.opening import open_store
from w2s_core.stages import STAGES, Kind


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one project."""

    root: Path

    @classmethod
    def from_environment(cls) -> Home:
        """``W2S_HOME``, or ``./.w2s``."""
        return cls(Path(os.environ.get("W2S_HOME") or ".w2s").absolute())

    @property
    def store_url(self) -> str:
        """Where the artifacts are: ``W2S_STORE``, a folder or a URL, or ``store`` in here."""
        return os.environ.get("W2S_STORE") or str(self.root / "store")

    @property
    def store_cache(self) -> Path:
        """What was read from a store elsewhere; may be removed at any time when nothing runs."""
        return self.root / "cache" / "store"

    def open_store(self, *, is_patient: bool = False) -> Store:
        """The artifacts.

        Args:
            is_patient: wait out an outage, as ``artifacts.store.opening.open_store`` does.

        Raises:
            W2sError: what is there is no store of this version, or cannot be reached.
        """
        return open_store(self.store_url, self.store_cache, is_patient=is_patient)

    @property
    def results(self) -> Path:
        """The DuckDB file."""
        return self.root / "results.duckdb"

    def figures(self, grid: str) -> Path:
        """Folder of a grid's figures."""
        return self.root / "figures" / grid

    def report(self, grid: str | None = None) -> Path:
        """The page of a grid's results; None for that of all grids."""
        return self.root / "report.html" if grid is None else self.root / "reports" / f"{grid}.html"

    @property
    def asked(self) -> Path:
        """What was typed in the SQL shell, for its next start."""
        return self.root / "cache" / "sql-history"

    @property
    def digests(self) -> Path:
        """The cache of digests of external files."""
        return self.root / "cache" / "digests.json"

    @property
    def logs(self) -> Path:
        """Logs of the server, the workers and of nodes that failed."""
        return self.root / "logs"


def output_kinds(stage: str, params: Mapping[str, Any]) -> dict[str, Kind]:
    """The kind of each output of a stage with these parameters, by which they land in the results.

    None of a stage that is no longer there.
    """
    outputs = STAGES[stage].outputs(params) if stage in STAGES else {}
    return {name: output.kind for name, output in outputs.items()}


class Places:
    """The folders without which a run cannot go on: its home, and its store if that is a folder."""

    def __init__(self, home: Home) -> None:
        self._home = home
        # Open, so that no folder that is made later can pass for it.
        self._known: dict[Path, int] = {}

    def check(self) -> None:
        """Raise where a folder that was there the last time is not, or cannot be written to.

        Raises:
            W2sError: the first such folder.
        """
        for place in (self._home.root, Path(self._home.store_url)):
            is_there = place.is_dir()
            if place in self._known and not (is_there and os.path.samestat(os.fstat(self._known[place]), place.stat())):
                raise W2sError(f"{place} has been removed while the run went on")
            if is_there and not os.access(place, os.W_OK | os.X_OK):
                raise W2sError(f"{place} cannot be written to any more; finished stages stay")
            if is_there and place not in self._known:
                self._known[place] = os.open(place, os.O_RDONLY)
