"""The command line, as scripts that run whole grids use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def w2s(home: Path, *arguments: str) -> None:
    """Run ``w2s`` in a home to its end; where it fails, so does the script, which it has said why."""
    environ = {**os.environ, "W2S_HOME": str(home)}
    done = subprocess.run([sys.executable, "-m", "flows.cli.main", *arguments], env=environ)
    if done.returncode != 0:
        raise SystemExit(done.returncode)
