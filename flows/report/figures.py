"""Figures of one grid, as SVG and PNG: accuracy by student and supervisor, and performance gap recovered by pair.

What is plotted comes from ``artifacts.results.query``, and is computed apart from how it is drawn. No Prefect here.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median
from typing import Any

from artifacts.errors import UsageError
from artifacts.results.query import pgr_table
from flows.report.drawing import Panel, Strip, draw_accuracy, draw_pgr

Rows = list[dict[str, Any]]
"""Rows of ``pgr_table`` by pair."""

DPI = 110
N_COLORS = 64
"""Of a PNG, which is then a third as large; the UI of Prefect carries it in base64."""


def write_figures(results: Path, grid: str, folder: Path) -> list[Path]:
    """Draw ``accuracy`` and ``pgr`` of a grid into ``folder``, which is made, and return the files.

    Raises:
        UsageError: no such grid, none of its pairs is done, or a file cannot be written.
    """
    import matplotlib
    from PIL import Image

    rows = pgr_table(results, grid, "pair").to_pylist()
    if not rows:
        raise UsageError(f"grid {grid} has no pair with all of its scores yet; `w2s status` says how far it is")
    figures = {"accuracy": draw_accuracy(panels(rows), ladder(rows)), "pgr": draw_pgr(strips(rows))}
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            vectors, pixels = folder / f"{name}.svg", folder / f"{name}.png"
            # Text stays text, and the same values give the same file.
            with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": grid}):
                figure.savefig(vectors, metadata={"Date": None})
            image = io.BytesIO()
            figure.savefig(image, format="png", dpi=DPI)
            Image.open(image).convert("RGB").quantize(N_COLORS).save(pixels, optimize=True)
            written += [vectors, pixels]
    except OSError as error:
        raise UsageError(f"cannot write figures to {folder}: {error.strerror or error}") from error
    return written


def ladder(rows: Rows) -> list[str]:
    """The models, weaker ones first."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for row in rows:
        order.add(row["strong"], row["weak"])
    return list(order.static_order())


def panels(rows: Rows) -> list[Panel]:
    """One panel per method, in the order of the grid."""
    return [_panel(method, [row for row in rows if row["method"] == method]) for method in _distinct(rows, "method")]


def _panel(method: str, rows: Rows) -> Panel:
    pairs = set(map(_pair, rows))
    done: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        done.setdefault(row["dataset"], set()).add(_pair(row))
    datasets = [dataset for dataset, those in done.items() if those == pairs]
    counted = [row for row in rows if row["dataset"] in datasets]
    students: dict[str, dict[str, float]] = {}
    for weak, strong in dict.fromkeys(map(_pair, counted)):
        same = [row["transfer_acc"] for row in counted if _pair(row) == (weak, strong)]
        students.setdefault(weak, {})[strong] = median(same)
    return Panel(
        method,
        len(datasets),
        _medians(counted, "weak", "weak_acc"),
        students,
        _medians(counted, "strong", "ceiling_acc"),
    )


def _medians(rows: Rows, model: str, accuracy: str) -> dict[str, float]:
    """Median over datasets of a model's accuracy, which all of its pairs share."""
    found = {}
    for name in _distinct(rows, model):
        by_dataset = {row["dataset"]: row[accuracy] for row in rows if row[model] == name}
        found[name] = median(by_dataset.values())
    return found


def strips(rows: Rows) -> list[Strip]:
    """One strip per pair and method, in the order of the grid."""
    found = []
    for weak, strong, method in dict.fromkeys((row["weak"], row["strong"], row["method"]) for row in rows):
        same = [row for row in rows if (row["weak"], row["strong"], row["method"]) == (weak, strong, method)]
        sound = [row["pgr"] for row in same if row["flag"] is None]
        unstable = [row["pgr"] for row in same if row["flag"] == "unstable"]
        found.append(Strip(weak, strong, method, sound, unstable, len(same) - len(sound) - len(unstable)))
    return found


def _pair(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["weak"], row["strong"]


def _distinct(rows: Rows, column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))
