"""Where a project keeps what it makes: ``W2S_HOME``, by default ``.w2s`` below the current folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one project."""

    root: Path

    @classmethod
    def from_environment(cls) -> Home:
        """``W2S_HOME``, or ``./.w2s``."""
        return cls(Path(os.environ.get("W2S_HOME") or ".w2s").absolute())

    @property
    def store(self) -> Path:
        """The artifacts."""
        return self.root / "store"

    @property
    def results(self) -> Path:
        """The DuckDB file."""
        return self.root / "results.duckdb"

    @property
    def digests(self) -> Path:
        """The cache of digests of external files."""
        return self.root / "cache" / "digests.json"

    @property
    def logs(self) -> Path:
        """Logs of the server, the workers and of nodes that failed."""
        return self.root / "logs"
