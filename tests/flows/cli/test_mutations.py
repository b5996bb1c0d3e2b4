"""Grids, command lines and data files with seeded damage end in one line each: a small sample."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from artifacts.errors import UsageError
from flows.plan.forms import GridForm
from flows.plan.load import overridden_grid, parse_value
from flows.report.tables import show
from tests.homes import tiny_grid
from tests.mutations import command, command_lines, grids, half_written, of_command_lines, of_files, write
from w2s_core.data.sources import SOURCES
from w2s_core.errors import DataError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a mutated command writes is not written here."""
    monkeypatch.chdir(tmp_path)


def test_mutated_grids_are_planned_or_get_a_line(tmp_path: Path) -> None:
    for text in grids(seed=1, n=40):
        (tmp_path / "grid.toml").write_bytes(text)
        ended = command("plan", "grid.toml")
        assert not ended.traceback, (text, ended.traceback)
        assert ended.code in (0, 2), (text, ended.printed)


@pytest.mark.parametrize(("seed", "n"), [(1, 25), pytest.param(2, 100, marks=pytest.mark.slow)])
def test_mutated_command_lines_are_carried_out_or_get_a_line(seed: int, n: int, tmp_path: Path) -> None:
    for words, ended in of_command_lines(tmp_path, command_lines(seed, n)):
        assert not ended.fault, (words, ended.fault)


def test_commands_that_write_do_and_what_is_half_written_is_seen(tmp_path: Path) -> None:
    lines = [["init", "new.toml"], ["pgr", "--output", "p.csv"], ["grids", "--drop", "toy"], ["store", "gc"]]
    done = [ended for _, ended in of_command_lines(tmp_path, lines)]
    assert [ended.code for ended in done] == [0, 0, 0, 0]
    draft = tmp_path / "home" / "store" / "score" / ".draft"
    draft.mkdir()
    manifest = next((tmp_path / "home" / "store" / "score").glob("*/manifest.json"))
    manifest.unlink()
    assert half_written(tmp_path / "home") == ["score/.draft", f"score/{manifest.parent.name}"]


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (40, ("show", "sst2", "--n", "1")),
        (2, ("audit", "sst2")),
        pytest.param(10, ("audit", "sst2"), marks=pytest.mark.slow),
    ],
)
def test_damaged_files_are_read_or_named_in_a_line(n: int, words: tuple[str, ...], tmp_path: Path) -> None:
    for ended in of_files(tmp_path, n, *words, seed=1):
        assert not ended.fault
        assert ended.code != 1 or len(ended.printed.splitlines()) == 1, ended.printed


@pytest.mark.slow
def test_runs_on_damaged_files_end_in_a_line_and_nothing_is_half_written(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(tiny_grid(audit=True))
    for ended in of_files(tmp_path, 4, "run", "tiny.toml", seed=2):
        assert not ended.fault


@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "1" + "0" * 400, "0x" + "f" * 5_000])
def test_number_that_is_not_finite_or_not_bounded_names_its_field(value: str) -> None:
    for field in ("training.max_grad_norm", "training.epochs", "world.zipf", "seeds"):
        given = [parse_value(value)] if field == "seeds" else parse_value(value)
        with pytest.raises(UsageError, match=re.escape(field)) as refused:
            overridden_grid({"datasets": ["sst2"]}, {field: given}, "options")
        assert len(str(refused.value)) < 400


def test_form_takes_no_number_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        GridForm.model_validate({"training": {"max_grad_norm": float("inf")}})


def test_argument_that_is_not_utf_8_is_named() -> None:
    ended = command("plan", "caf\udce9.toml")
    assert ended.code == 2
    assert "argument 2 is not UTF-8: 'caf\\udce9.toml'" in ended.printed


@pytest.mark.parametrize("line", ['{"sentence": ' + "[" * 100_000, '{"sentence": "a", "label": ' + "9" * 5_000 + "}"])
def test_line_that_no_parser_takes_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}, line 1: not valid JSON"):
        list(SOURCES.get("folder")({"source": {}}, {"train": path}, {"sentence": str, "label": int})["train"])


def test_column_that_a_format_has_not_is_said_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot show this as parquet"):
        show(
            pa.table({"age": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}),
            "parquet",
            output=tmp_path / "out.parquet",
        )
    assert not (tmp_path / "out.parquet").exists()


def test_one_question_left_is_too_little_to_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / "sst2" / f"{split}.jsonl", [{"sentence": f"{split} {i}", "label": i} for i in (0, 1)])
    ended = command("show", "sst2", "--source", str(tmp_path))
    assert "2 usable train rows are left; weak_train, transfer_train, validation need at least 2 each" in ended.printed
