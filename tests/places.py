"""Where things are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""Of the project."""

GOLDEN = ROOT / "tests" / "golden"

REAL = ROOT.parent / "shared" / "data"
"""Rows of the real datasets, where somebody has put them: ``<dataset>/{train,test}.parquet``."""
