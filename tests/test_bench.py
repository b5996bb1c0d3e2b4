"""What ``make bench`` runs, at its smallest, from end to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_benchmark_ends_with_the_ratios_of_every_part(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "bench" / "all.py", "--quick", "--minutes", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-3_000:]
    last = done.stdout.splitlines()[-1]
    assert last.startswith("ratios of this engine: training quick ")
    for part in ("of the matrix rate", "prediction ", "start of a stage on quick", "plan of 300 nodes"):
        assert part in last, last
