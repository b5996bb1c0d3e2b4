"""How tables look to people, at a terminal and in a pipe, and where they may be written."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import UsageError
from flows.report.tables import cell, show, unsure_labels

WIDE = pa.table(
    {
        "dataset": ["twitter-sentiment", "boolq"],
        "weak": ["pythia-160m", "pythia-160m"],
        "strong": ["pythia-1.4b-deduped", "pythia-2.8b"],
        "method": ["logconf", "xent"],
        "weak_acc": [0.7123, 0.6],
        "transfer_acc": [0.8, 0.6],
        "ceiling_acc": [0.9, 0.6],
        "gap": [0.1877, 0.0],
        "pgr": [-0.4567, None],
        "flag": [None, "undefined"],
        "n_seeds": [3, 3],
    }
)


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, table: pa.Table, width: int) -> list[str]:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    show(table)
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()


def test_piped_table_has_one_whole_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    show(pa.table({"name": [long, "b"], "n": [1, 2]}))
    heading, rule, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["name", "n"]
    assert set(rule) == {"─"}
    assert [line.split() for line in lines] == [[long, "1"], ["b", "2"]]


def test_piped_table_has_no_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    show(WIDE, title="PGR")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line.rstrip() for line in lines]


def test_title_stands_above(capsys: pytest.CaptureFixture[str]) -> None:
    show(WIDE, title="PGR [by pair]")
    assert capsys.readouterr().out.splitlines()[0] == "PGR [by pair]"


def test_brackets_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show(pa.table({"a[b]": ["[bold]x[/bold]"]}))
    heading, _, line = capsys.readouterr().out.splitlines()
    assert (heading, line) == ("a[b]", "[bold]x[/bold]")


def test_headings_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    show(WIDE)
    heading = capsys.readouterr().out.splitlines()[0]
    assert heading.split("  ")[0] == "dataset"
    assert "weak acc  transfer  ceiling" in heading
    assert "PGR  flag" in heading


def test_table_of_100_columns_breaks_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(monkeypatch, WIDE, 100)
    assert max(map(len, lines)) <= 100
    assert any("0.712     0.800    0.900  0.188  -0.46  –" in line for line in lines)
    assert "…" not in "".join(lines)


def test_number_is_whole_where_a_name_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(monkeypatch, pa.table({"name": ["abcdefghijkl"], "n": [10**18]}), 32)
    assert len(lines) == 4
    assert lines[2].split()[1] == "1000000000000000000"


def test_folded_names_lose_no_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(monkeypatch, WIDE, 100)[2:]
    first = lines[0].split("  ")[0]
    pieces = [line[: len(first)].strip() for line in lines]
    assert "twitter-sentiment" in "".join(pieces)


def test_terminal_without_room_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(monkeypatch, WIDE, 50)
    assert len(lines) == 2 + len(WIDE)
    assert "twitter-sentiment" in lines[2]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("transfer_acc", 0.71249, "0.712"),
        ("agreement_wrong", 1.0, "1.000"),
        ("pgr", 0.4555, "0.46"),
        ("median_pgr", -1.0, "-1.00"),
        ("median_pgr_low", -1.0, "-1.00"),
        ("agreement_wrong_low", 0.5, "0.500"),
        ("difference_high", -0.01234, "-0.012"),
        ("wilcoxon_holm", 0.0123456, "0.0123"),
        ("seconds", 12.3456789, "12.3457"),
        ("lr", 1e-05, "1e-05"),
        ("n", 1200, "1200"),
        ("flag", None, "–"),
        ("evicted", True, "True"),
    ],
)
def test_cell(name: str, value: object, text: str) -> None:
    assert cell(name, value) == text


def test_table_of_no_rows_has_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    show(WIDE.slice(0, 0))
    assert capsys.readouterr().out.startswith("dataset")


@pytest.mark.parametrize("format", ["csv", "json"])
def test_programs_get_column_names_and_full_precision(capfdbinary: pytest.CaptureFixture[bytes], format: str) -> None:
    show(WIDE, format)
    out = capfdbinary.readouterr().out
    assert b"weak_acc" in out
    assert b"0.7123" in out
    assert b"0.4567" in out


def test_output_is_written_to_a_file(tmp_path: Path) -> None:
    show(WIDE, "json", output=tmp_path / "pgr.json")
    assert len(json.loads((tmp_path / "pgr.json").read_text())) == 2


def test_table_can_be_written_to_a_file(tmp_path: Path) -> None:
    show(WIDE, output=tmp_path / "pgr.txt")
    assert (tmp_path / "pgr.txt").read_text().startswith("dataset")


def test_parquet_is_written_to_a_file(tmp_path: Path) -> None:
    show(WIDE, "parquet", output=tmp_path / "pgr.parquet")
    assert pq.read_table(tmp_path / "pgr.parquet").equals(WIDE)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("pgr.csv", b"dataset,weak,"),
        ("pgr.JSON", b"[\n  {"),
        ("pgr.parquet", b"PAR1"),
        ("pgr.md", b"| dataset"),
        ("pgr.tex", b"\\begin{tabular}"),
        ("pgr.txt", b"dataset   "),
        ("pgr", b"dataset   "),
    ],
)
def test_file_without_a_format_is_written_as_its_suffix_says(tmp_path: Path, name: str, begins: bytes) -> None:
    show(WIDE, output=tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_format_that_is_given_counts_whatever_the_suffix(tmp_path: Path) -> None:
    show(WIDE, "csv", output=tmp_path / "pgr.parquet")
    assert (tmp_path / "pgr.parquet").read_bytes().startswith(b"dataset,weak,")


def test_suffix_counts_before_the_usual_format(tmp_path: Path) -> None:
    show(WIDE, output=tmp_path / "ids.parquet", usual="csv")
    show(WIDE, output=tmp_path / "ids", usual="csv")
    assert pq.read_table(tmp_path / "ids.parquet").equals(WIDE)
    assert (tmp_path / "ids").read_bytes().startswith(b"dataset,weak,")


def test_parquet_is_refused_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(UsageError, match="--output"):
        show(WIDE, "parquet")


def test_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'xml'.*table, csv, json, parquet"):
        show(WIDE, "xml")


def test_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        show(WIDE, "csv", output=tmp_path / "nowhere" / "pgr.csv")


def test_supervisors_whose_labels_say_little_are_named_once() -> None:
    pairs = pa.table(
        {
            "dataset": ["sst2", "sst2", "boolq", "sst2"],
            "weak": ["s", "s", "s", "m"],
            "near_chance": ["weak, labels", "labels", "transfer", None],
        }
    )

    [line] = unsure_labels(pairs)

    assert line.startswith("the labels of s on sst2 say little")


def test_markdown_has_a_row_per_line_and_escapes_bars(capsys: pytest.CaptureFixture[str]) -> None:
    show(pa.table({"method": ["a|b"], "pgr": [0.5]}), "markdown")
    heading, rule, row = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in heading.strip("|").split("|")] == ["method", "PGR"]
    assert set(rule) <= set("|-: ")
    assert row.replace(" ", "") == r"|a\|b|0.50|"


def test_latex_is_a_table_with_its_signs_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    show(pa.table({"weak_acc": [0.5], "name": ["a_b & c"]}), "latex")
    out = capsys.readouterr().out
    assert out.startswith("\\begin{tabular}")
    assert r"a\_b \& c" in out
