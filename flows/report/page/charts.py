"""The charts of a grid, as Altair makes them: the same for the page, and for figures as SVG and PNG.

A chart has no data of its own: it takes the rows of ``data.py``, or those that the page chooses of them, under the name
``rows``. What is counted and what medians are of is worked out in the chart, so that page and figure say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt

from flows.report.page import gap_charts, model_charts
from flows.report.page.marks import INK, Shape

CONFIG: Mapping[str, Any] = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK, "titleColor": INK, "tickColor": INK, "domainColor": INK, "gridColor": INK,
        "gridOpacity": 0.12, "domainOpacity": 0.4, "tickOpacity": 0.4, "titleFontWeight": "normal", "labelLimit": 220,
    },
    "legend": {"labelColor": INK, "titleColor": INK, "labelLimit": 220, "symbolStrokeWidth": 2,
               "symbolBaseStrokeColor": INK},
    "header": {"labelColor": INK, "titleColor": INK, "labelFontWeight": "bold", "labelLimit": 300},
    "title": {"color": INK, "subtitleColor": INK, "anchor": "start", "fontSize": 15, "subtitleFontSize": 11,
              "offset": 12, "subtitlePadding": 4},
    "text": {"color": INK},
    "rule": {"color": INK},
}  # fmt: skip


def shape_of(pairs: Sequence[Mapping[str, Any]]) -> Shape:
    """The shape of the grid whose ``pairs`` these are."""

    def distinct(*names: str) -> list[str]:
        return list(dict.fromkeys(" → ".join(row[name] for name in names) for row in pairs))

    weaks = {row["weak"]: row["weak_place"] for row in pairs}
    return Shape(
        distinct("dataset"), distinct("weak", "strong"), sorted(weaks, key=lambda w: weaks[w]), distinct("method")
    )


def counted(pairs: Sequence[Mapping[str, Any]]) -> str:
    """What a chart of these rows is of, in the words of the page."""

    def of(what: str, *names: str) -> str:
        n = len({tuple(row[name] for name in names) for row in pairs})
        return f"{n} {what}{'' if n == 1 else 's'}"

    words = [of("dataset", "dataset"), of("pair", "weak", "strong"), of("method", "method")]
    n_seeds, n_items = ({row[name] for row in pairs if row[name] is not None} for name in ("n_seeds", "n_items"))
    for found, what in ((n_seeds, "seed"), (n_items, "test item")):
        if found:
            ends = " to ".join(str(n) for n in sorted({min(found), max(found)}))
            words.append(f"{ends} {what}{'' if ends == '1' else 's'}")
    n_sound = sum(row["flag"] is None for row in pairs)
    return " · ".join([*words, f"{n_sound} of {len(pairs)} sound"])


def specs(shape: Shape) -> dict[str, dict[str, Any]]:
    """All charts by name, as Vega-Lite."""
    return {name: _spec(chart(shape)) for name, chart in CHARTS.items()}


def spec(name: str, shape: Shape, rows: Sequence[Mapping[str, Any]], subtitle: str) -> dict[str, Any]:
    """One chart with its data, to be drawn as it is."""
    found = _spec(CHARTS[name](shape))
    found["data"] = {"values": list(rows)}
    found["title"]["subtitle"] = subtitle
    found["config"]["background"] = "white"
    return found


def _spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    found: dict[str, Any] = chart.to_dict()
    return {**found, "config": dict(CONFIG)}


CHARTS: Mapping[str, Callable[[Shape], alt.TopLevelMixin]] = {
    "heatmap": gap_charts.heatmap,
    "pair_curves": model_charts.pair_curves,
    "accuracy": model_charts.accuracy,
    "pgr_by_pair": gap_charts.pgr_by_pair,
    "pgr_by_dataset": gap_charts.pgr_by_dataset,
    "comparison": gap_charts.comparison,
    "published": gap_charts.published,
    "agreement": model_charts.agreement,
    "within": model_charts.within,
    "calibration": model_charts.calibration,
    "labels": model_charts.labels,
    "history": model_charts.history,
}
"""In the order of the page."""
