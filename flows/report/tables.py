"""Shows a table: aligned for people, or as csv, json or parquet for programs. Where tables come from is elsewhere."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from artifacts.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

PAPERS = {"markdown": "github", "latex": "latex_booktabs"}
"""Formats of tables for documents, and what tabulate calls them; LaTeX wants the package booktabs."""

FORMATS = ("table", "csv", "json", "parquet", *PAPERS)

SUFFIXES = {".txt": "table", ".csv": "csv", ".json": "json", ".parquet": "parquet", ".md": "markdown", ".tex": "latex"}
"""What a file is written as that is called so."""

HEADINGS = {
    "weak_acc": "weak acc",
    "transfer_acc": "transfer",
    "ceiling_acc": "ceiling",
    "pgr": "PGR",
    "pgr_low": "PGR from",
    "pgr_high": "PGR to",
    "interval_of": "95 % of",
    "near_chance": "near chance",
    "median_pgr": "median PGR",
    "median_pgr_low": "median from",
    "median_pgr_high": "median to",
    "mean_pgr": "mean PGR",
    "mean_pgr_low": "mean from",
    "mean_pgr_high": "mean to",
    "n_items": "items",
    "n_seeds": "seeds",
    "n_datasets": "datasets",
    "n_pairs": "pairs",
    "n_flagged": "flagged",
    "rows_in": "rows in",
    "class_1": "class 1",
    "difference_low": "from",
    "difference_high": "to",
    "median_difference": "median",
    "median_difference_low": "median from",
    "median_difference_high": "median to",
    "n_better": "better",
    "n_worse": "worse",
    "wilcoxon_p": "Wilcoxon p",
    "sign_p": "sign p",
    "wilcoxon_holm": "Wilcoxon, Holm",
    "sign_holm": "sign, Holm",
    "n_fail": "fails",
    "n_warn": "warnings",
}
"""What people read above a column; other columns keep their names."""

FRACTIONS = (
    "accuracy",
    "auroc",
    "brier",
    "ece",
    "gap",
    "gap_se",
    "class_1",
    "agreement_right",
    "agreement_wrong",
    "agreement",
    "difference",
    "median_difference",
)
"""Columns with three decimals, as all that end in ``_acc`` and their ends; PGRs have two, other numbers six digits."""

P_VALUES = ("_p", "_holm")
"""Ends of the names of columns with three digits."""

MISSING = "–"

FOLDED = 8
"""The narrowest column that a name is folded into; a terminal without room for that wraps whole lines instead."""

UNFOLDED = 1_000_000
"""A width that no row needs."""


def show(
    table: pa.Table,
    format: str | None = None,
    title: str | None = None,
    output: Path | None = None,
    usual: str = "table",
) -> None:
    """Print ``table``, or write it to ``output``.

    Nothing is ever cut: a narrow terminal folds names, and what is piped or written has lines as long as they need.

    Args:
        table: what to show.
        format: one of ``FORMATS``; None for what ``output`` is called by its suffix.
        title: above a table for people.
        output: a file; None for the terminal.
        usual: the format where nothing else says.

    Raises:
        UsageError: an unknown format, parquet for a terminal, a value that the format has not, or a place that cannot
            be written; nothing is half written.
    """
    if format is None:
        format = usual if output is None else SUFFIXES.get(output.suffix.lower(), usual)
    if format not in FORMATS:
        raise UsageError(f"format is {format!r}; it is one of {', '.join(FORMATS)}")
    if output is None and format == "parquet" and sys.stdout.isatty():
        raise UsageError("parquet is not for a terminal: give a file with --output")
    whole = io.BytesIO()
    try:
        if output is None and format == "table":
            _print(table, title, sys.stdout)
            return
        _write(table, format, title, whole)
    except (ArithmeticError, NotImplementedError, ValueError) as error:  # of pyarrow, too: a value or type too many
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"cannot show this as {format} ({reason}); CAST the column to VARCHAR") from None
    if output is None:
        sys.stdout.buffer.write(whole.getbuffer())
        sys.stdout.buffer.flush()
        return
    try:
        output.write_bytes(whole.getbuffer())
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror or error}") from error


def _write(table: pa.Table, format: str, title: str | None, stream: IO[bytes]) -> None:
    if format == "table":
        text = io.StringIO()
        _print(table, title, text)
        stream.write(text.getvalue().encode())
        return
    if format in PAPERS:
        stream.write(_for_paper(table, PAPERS[format]).encode())
        return
    from artifacts.results.query import write

    write(table, format, stream)


def _for_paper(table: pa.Table, form: str) -> str:
    """With the headings and numbers that people read in a terminal; markup in values is escaped where it would act."""
    from tabulate import tabulate

    escape = (lambda text: text.replace("|", "\\|").replace("\n", " ")) if form == "github" else str
    columns = zip(table.column_names, table.columns, strict=True)
    cells = [[escape(cell(name, value)) for value in column.to_pylist()] for name, column in columns]
    align = ["right" if _is_number(column.type) else "left" for column in table.columns]
    headings = [HEADINGS.get(name, name) for name in table.column_names]
    rows = list(zip(*cells, strict=True))
    return f"{tabulate(rows, headings, tablefmt=form, disable_numparse=True, colalign=align if rows else None)}\n"


def _print(table: pa.Table, title: str | None, stream: IO[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Text, or rich would take brackets for markup.
    shown = Table(
        title=Text(title) if title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    columns, least = [], 0
    for name, column in zip(table.column_names, table.columns, strict=True):
        heading = HEADINGS.get(name, name)
        columns.append([cell(name, value) for value in column.to_pylist()])
        is_number = _is_number(column.type)
        shown.add_column(Text(heading), justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
        # A number is never broken; a name is, down to a few letters.
        width = max(map(len, [heading, *columns[-1]]))
        least += 2 + (width if is_number else min(width, FOLDED))
    for row in zip(*columns, strict=True):
        shown.add_row(*map(Text, row))
    console = Console(file=stream, highlight=False)
    if stream.isatty() and console.width >= least:
        console.print(shown)
    else:
        unfolded = Console(file=io.StringIO(), highlight=False, width=UNFOLDED)
        with unfolded.capture() as capture:
            unfolded.print(shown)
        stream.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def unsure_labels(pairs: pa.Table) -> list[str]:
    """A line for each dataset and supervisor of a table of pairs some of whose students saw labels that say little."""
    rows = [row for row in pairs.to_pylist() if "labels" in (row["near_chance"] or "")]
    return [
        f"the labels of {weak} on {dataset} say little: they are near one half, where a student hardly moves; "
        "try the methods harden and calibrate"
        for dataset, weak in dict.fromkeys((row["dataset"], row["weak"]) for row in rows)
    ]


def cell(name: str, value: Any) -> str:
    """What people read of one value of the column ``name``."""
    if value is None:
        return MISSING
    if not isinstance(value, float):
        return str(value)
    if "pgr" in name.lower():
        return f"{value:.2f}"
    if name.removesuffix("_low").removesuffix("_high") in FRACTIONS or name.endswith("_acc"):
        return f"{value:.3f}"
    if name.endswith(P_VALUES):
        return f"{value:.3g}"
    return f"{value:.6g}"
