"""Figures of one grid, as SVG and PNG: charts of its page (``flows.report.page``) in files of their own."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from artifacts.errors import UsageError
from artifacts.results.query import pgr_table
from flows.report.page.data import pairs_of

FIGURES: Mapping[str, str] = {"accuracy": "accuracy", "pgr": "pgr_by_pair", "heatmap": "heatmap"}
"""File to chart."""

SMALL = ("accuracy", "pgr")
"""Those that the UI of Prefect shows."""

SCALE = 1.5
"""Pixels of a PNG per pixel of the chart."""

N_COLORS = 64
"""Of a PNG, which is then a third as large; the UI of Prefect carries it in base64."""


def write_figures(results: Path, grid: str, folder: Path, names: Sequence[str] = tuple(FIGURES)) -> list[Path]:
    """Draw figures of a grid into ``folder``, which is made, and return the files.

    Args:
        results: the DuckDB file.
        grid: its name.
        folder: gets ``NAME.svg`` and ``NAME.png`` of each.
        names: of ``FIGURES``.

    Raises:
        UsageError: no such grid, none of its pairs is done, or a file cannot be written.
    """
    if not pgr_table(results, grid, "pair").num_rows:
        raise UsageError(f"grid {grid} has no pair with all of its scores yet; `w2s status` says how far it is")
    import vl_convert
    from PIL import Image

    from flows.report.page.charts import counted, shape_of, spec
    from flows.report.page.page import VEGA_LITE

    rows = pairs_of(results, grid)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            drawn = spec(FIGURES[name], shape_of(rows), rows, f"grid {grid}: {counted(rows)}")
            vectors, pixels = folder / f"{name}.svg", folder / f"{name}.png"
            svg = vl_convert.vegalite_to_svg(drawn, vl_version=VEGA_LITE)
            vectors.write_text(svg, encoding="utf-8")
            image = io.BytesIO(vl_convert.svg_to_png(svg, scale=SCALE))
            whole = Image.open(image).convert("RGB")
            # By coverage, so that the colour of few points is not lost.
            whole.quantize(N_COLORS, Image.Quantize.MAXCOVERAGE).save(pixels, optimize=True)
            written += [vectors, pixels]
    except OSError as error:
        raise UsageError(f"cannot write figures to {folder}: {error.strerror or error}") from error
    return written
