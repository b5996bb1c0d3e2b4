"""The report: one HTML file with the results of some grids, which needs nothing else and fetches nothing.

What is on it is in ``data.py`` and ``charts.py``; what it does with the mouse, in the scripts beside them.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import html
import importlib.metadata
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from artifacts import files
from artifacts.errors import UsageError
from flows.home import Home
from flows.report.page.data import grid_data, grid_names, unpacked

HERE = Path(__file__).parent

SCRIPTS = ("rows.js", "overall.js", "drawing.js", "tables.js", "page.js")
"""In this order, one after the other."""

VEGA_LITE = "6.4"
"""Of the versions that ``vl_convert`` has, the one that Altair 6 writes."""


def write_page(home: Home, grids: Sequence[str], path: Path) -> Path:
    """Write the page of ``grids``, of all of them where none is named, and return where it is.

    Raises:
        UsageError: no results, no such grid, none of its pairs is done, or the file cannot be written.
    """
    names = list(grids) or grid_names(home.results)
    if not names:
        raise UsageError(
            f"no grid in {home.results} has a pair with all of its scores yet; `w2s status` says how far it is"
        )
    text = page([_with_charts(grid_data(home, name)) for name in names], _vega(home), ", ".join(names))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
    except OSError as error:
        raise UsageError(f"cannot write the report to {path}: {error.strerror or error}") from error
    return path


def fresh_page(home: Home, grid: str) -> Path:
    """The page of a grid in the home, which is written if it is older than the results.

    Raises:
        UsageError: as ``write_page``.
    """
    path = home.report(grid)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_mtime_ns > home.results.stat().st_mtime_ns:
            return path
    return write_page(home, [grid], path)


def page(grids: Sequence[dict[str, Any]], vega: str, title: str) -> str:
    """The HTML of grids as ``grid_data`` gives them, with ``specs``, the charts by name."""
    # In a block, so that what they define is theirs alone.
    script = "\n".join(['"use strict"; {', *((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS), "}"])
    vega = vega.replace("</script", "<\\/script")
    parts = {
        "policy": _policy(vega, script),
        "title": html.escape(title),
        "style": (HERE / "style.css").read_text(encoding="utf-8"),
        "written": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": importlib.metadata.version("w2s"),
        "grids": "\n".join(map(_embedded, grids)),
        "vega": vega,
        "script": script,
    }
    template = (HERE / "template.html").read_text(encoding="utf-8")
    # In one pass, so that what is put in is not looked through again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _with_charts(grid: dict[str, Any]) -> dict[str, Any]:
    from flows.report.page.charts import shape_of, specs

    return {**grid, "specs": specs(shape_of(unpacked(grid["pairs"])))}


def _embedded(grid: dict[str, Any]) -> str:
    """As JSON that no text in it can leave, and that a browser never takes for code."""
    text = json.dumps(grid, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return f'<script type="application/json" class="grid" data-grid="{html.escape(grid["grid"])}">{text}</script>'


def _policy(*scripts: str) -> str:
    """What a browser may do with the page: run these two scripts, and fetch nothing."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _vega(home: Home) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, kept: to put them together takes seconds."""
    kept = home.root / "cache" / f"vega-{importlib.metadata.version('vl-convert-python')}-{VEGA_LITE}.js"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(kept, _bundle())
    return kept.read_text(encoding="utf-8")


@cache
def _bundle() -> str:
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return bundle
