"""A grid whose artifacts lie on S3: two machines, that is two homes, share one store."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.results.query import pgr_table
from flows.home import Home
from flows.plan.load import parse_grid
from flows.run.session import Session
from tests.harness import N_NODES, ROOT, TINY, run_grid


@pytest.mark.slow
def test_grid_run_on_one_machine_is_fresh_and_has_its_results_on_another(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("W2S_STORE", s3_url)
    ran = run_grid(ROOT, tmp_path / "one", TINY, execute=True, while_running=None)
    assert not ran["failed"]
    assert len(ran["executed"]) == sum(N_NODES.values())

    other = Home(tmp_path / "other")
    session = Session.open(parse_grid(TINY, "test"), other)
    assert not session.plan.pending
    session.record_fresh()
    assert pgr_table(other.results, "tiny", "pair") == pgr_table(tmp_path / "one" / "results.duckdb", "tiny", "pair")
    assert not (other.root / "store").exists()
