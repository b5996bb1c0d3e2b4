"""What `w2s plan` prints: few lines, however large the grid is and whatever is wrong with its store."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from flows.cli.main import MOST_BROKEN, _Lines
from flows.report.plan import print_plan
from flows.run.session import Session
from tests.toy_runs import drain, open_session


def printed(session: Session) -> list[str]:
    """The lines of a plan."""
    console = Console(file=io.StringIO(), width=200)
    print_plan(console, session.plan, grid="toy", why=False)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_nothing_but_counts_is_said_where_all_is_fresh(tmp_path: Path) -> None:
    drain(open_session(tmp_path))

    [line] = printed(open_session(tmp_path))

    assert line.startswith(f"{len(open_session(tmp_path).plan.planned)} stages: ")


def test_stages_are_counted_in_columns_and_datasets_in_a_line(tmp_path: Path) -> None:
    drain(open_session(tmp_path))

    lines = printed(open_session(tmp_path, datasets=["sst2", "cola"]))

    assert "fresh  stale" in lines[1]
    assert "  prepare          1      1" in lines
    assert [line for line in lines if line.startswith("where: cola ")]


def test_broken_artifacts_are_one_line_with_an_example(tmp_path: Path) -> None:
    drain(open_session(tmp_path))
    broken = sorted((tmp_path / "store" / "score").glob("*/predictions.parquet"))
    for n_bytes, file in enumerate(broken):
        file.write_bytes(b"t" * n_bytes)

    lines = printed(open_session(tmp_path))

    [line] = [line for line in lines if "an artifact is broken, such as " in line]
    assert f"{len(broken)}  " in line
    assert "predictions.parquet: " in line


def test_of_many_broken_artifacts_the_terminal_gets_the_first_and_a_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drain(open_session(tmp_path))
    broken = list((tmp_path / "store").glob("*/*/manifest.json"))
    for file in broken:
        file.write_text("{")
    lines = _Lines()
    logging.getLogger("w2s").addHandler(lines)
    try:
        open_session(tmp_path)
        for stage, key in [(file.parent.parent.name, file.parent.name) for file in broken]:
            open_session(tmp_path).store.get(stage, key)
        lines.finish()
    finally:
        logging.getLogger("w2s").removeHandler(lines)

    said = capsys.readouterr().err.splitlines()
    assert len(said) == MOST_BROKEN + 1
    assert said[-1].endswith("more artifacts are broken and count as absent")
