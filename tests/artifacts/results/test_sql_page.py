"""``docs/sql.md`` is true: each statement gives the output below it. ``make golden`` rewrites the outputs."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from artifacts.results.query import run_query
from flows.report.tables import show
from tests.places import ROOT
from tests.toy_results import made_results

PAGE = ROOT / "docs" / "sql.md"
STATEMENT = re.compile(r"```sql\n(?P<sql>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL)


def written() -> list[re.Match[str]]:
    return list(STATEMENT.finditer(PAGE.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_results(tmp_path_factory.mktemp("made"))


def answer(results: Path, sql: str, folder: Path) -> str:
    """What ``w2s sql`` writes."""
    output = folder / "answer.txt"
    show(run_query(results, sql), output=output)
    return output.read_text(encoding="utf-8")


@pytest.mark.parametrize("found", written(), ids=lambda found: " ".join(found["sql"].split())[:50])
def test_statement_gives_what_the_page_says(made: Path, tmp_path: Path, found: re.Match[str]) -> None:
    told = answer(made, found["sql"], tmp_path)

    assert told == found["output"]
    assert len(told.splitlines()) > 2  # a heading, a line, and something to see


def test_page_answers_many_questions() -> None:
    assert len(written()) >= 15


def test_lines_for_a_notebook_run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".w2s").mkdir()
    shutil.copy(made, ".w2s/results.duckdb")
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}

    for line in block.splitlines():
        code, _, library = line.partition("  # ")
        if not library or importlib.util.find_spec(library):
            exec(code, names)

    assert "results" in names


def write_golden() -> None:
    """Put the outputs below the statements."""
    with tempfile.TemporaryDirectory() as folder:
        results = made_results(Path(folder))
        text = STATEMENT.sub(
            lambda found: f"```sql\n{found['sql']}```\n\n```text\n{answer(results, found['sql'], Path(folder))}```\n",
            PAGE.read_text(encoding="utf-8"),
        )
    PAGE.write_text(text, encoding="utf-8")
