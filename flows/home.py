"""Where a project keeps what it makes: ``W2S_HOME``, by default ``.w2s`` below the current folder.

Its artifacts may lie elsewhere, so that several machines share them: ``W2S_STORE``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from artifacts.store import Store, open_store


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
            is_patient: wait out an outage, as ``artifacts.store.open_store`` does.

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

    @property
    def digests(self) -> Path:
        """The cache of digests of external files."""
        return self.root / "cache" / "digests.json"

    @property
    def logs(self) -> Path:
        """Logs of the server, the workers and of nodes that failed."""
        return self.root / "logs"
