"""The charts of a grid, as Altair makes them: the same for the page, and for figures as SVG and PNG.

A chart has no data of its own: it takes the rows of ``data.py``, or those that the page chooses of them, under the name
``rows``. What is counted and what medians are of is worked out in the chart, so that page and figure say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8f7a00")
"""Told apart by the colour-blind (Okabe and Ito 2008); the last one darker, for white paper."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
"""As many as have no divisor in common with the colours: 42 methods differ in one of the two."""

INK = "currentColor"
"""That of the page's text, which is light in the dark; black in a file of its own."""

PALE = "rgba(128, 128, 128, 0.16)"

LEAST, MOST = -0.5, 1.5
"""Where an axis of PGR ends; what is beyond stands at its end as a triangle."""

WIDTH = 1080
"""Pixels of a chart, less its axes."""

CONFIG: Mapping[str, Any] = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK, "titleColor": INK, "tickColor": INK, "domainColor": INK, "gridColor": INK,
        "gridOpacity": 0.12, "domainOpacity": 0.4, "tickOpacity": 0.4, "titleFontWeight": "normal", "labelLimit": 220,
    },
    "legend": {"labelColor": INK, "titleColor": INK, "labelLimit": 220, "symbolStrokeWidth": 2},
    "header": {"labelColor": INK, "titleColor": INK, "labelFontWeight": "bold", "labelLimit": 300},
    "title": {"color": INK, "subtitleColor": INK, "anchor": "start", "fontSize": 15, "subtitleFontSize": 11,
              "offset": 12, "subtitlePadding": 4},
    "text": {"color": INK},
    "rule": {"color": INK},
}  # fmt: skip

PAIR = "datum.weak + ' → ' + datum.strong"
SOUND = "datum.flag == null"
CLAMPED = f"datum.pgr == null ? {LEAST} : clamp(datum.pgr, {LEAST}, {MOST})"
STANDS = (
    f"datum.flag != null ? 'flagged' : datum.pgr > {MOST} ? 'beyond, right' : datum.pgr < {LEAST} ? 'beyond, left'"
    " : 'sound'"
)

CHANCE = 0.5
"""Of two classes."""


class Shape(NamedTuple):
    """What a grid compares, in its order: so that colours and places stay when some of it is switched off."""

    datasets: Sequence[str]
    pairs: Sequence[str]
    """As ``weak → strong``."""
    weaks: Sequence[str]
    methods: Sequence[str]


def shape_of(pairs: Sequence[Mapping[str, Any]]) -> Shape:
    """The shape of the grid whose ``pairs`` these are."""

    def distinct(*names: str) -> list[str]:
        return list(dict.fromkeys(" → ".join(row[name] for name in names) for row in pairs))

    weaks = {row["weak"]: row["weak_place"] for row in pairs}
    return Shape(
        distinct("dataset"), distinct("weak", "strong"), sorted(weaks, key=lambda w: weaks[w]), distinct("method")
    )


def specs(shape: Shape) -> dict[str, dict[str, Any]]:
    """All charts by name, as Vega-Lite."""
    return {name: _spec(chart(shape)) for name, chart in CHARTS.items()}


def spec(name: str, shape: Shape, rows: Sequence[Mapping[str, Any]], subtitle: str) -> dict[str, Any]:
    """One chart with its data, to be drawn as it is."""
    found = _spec(CHARTS[name](shape))
    found["data"] = {"values": list(rows)}
    found["title"]["subtitle"] = subtitle
    return found


def _spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    found: dict[str, Any] = chart.to_dict()
    return {**found, "config": dict(CONFIG)}


def _line(**at: Any) -> alt.Chart:
    """One line across a panel, ``x`` or ``y``; of the rows of the chart there would be one for each."""
    places = {axis: alt.datum(value) for axis, value in at.items()}
    return alt.Chart(alt.InlineData(values=[{}])).mark_rule(strokeWidth=1, opacity=0.5).encode(**places)


def _rows() -> alt.NamedData:
    return alt.NamedData(name="rows")


def _title(text: str) -> alt.TitleParams:
    return alt.TitleParams(text, subtitle="")


def _short(value: str) -> str:
    """A number in words that fit a cell."""
    return f"({value} < -9.99 ? '< −10' : {value} > 9.99 ? '> 10' : format({value}, '.2f'))"


def _columns(n: int, most: int) -> int:
    return max(1, min(n, most))


def _cycle(values: Sequence[str], n: int) -> list[str]:
    return [values[index % len(values)] for index in range(n)]


def _method(shape: Shape, **more: Any) -> tuple[alt.Color, alt.Shape]:
    """Colour and form of a method; one legend says both."""
    names = list(shape.methods)
    legend = more.get("legend", alt.Legend(title="method"))
    return (
        alt.Color("method:N", scale=alt.Scale(domain=names, range=_cycle(PALETTE, len(names))), legend=legend),
        alt.Shape("method:N", scale=alt.Scale(domain=names, range=_cycle(SHAPES, len(names))), legend=legend),
    )


def _by_method(shape: Shape) -> alt.Facet:
    return alt.Facet("method:N", sort=list(shape.methods), title=None)


def _model_axis(title: str) -> alt.X:
    return alt.X(
        "model:N",
        sort=alt.EncodingSortField("place", op="min", order="ascending"),
        title=title,
        axis=alt.Axis(labelAngle=-30),
        scale=alt.Scale(padding=0.3),
    )


def heatmap(shape: Shape) -> alt.TopLevelMixin:
    """PGR of every cell, with its interval or its flag; whichever there is more of, datasets or methods, goes down."""
    by_method = len(shape.datasets) > len(shape.methods)
    down, across = ("dataset", "method") if by_method else ("method", "dataset")
    lists = {"dataset": list(shape.datasets), "method": list(shape.methods)}
    cell_width, cell_height = 66, 32
    base = alt.Chart().transform_calculate(
        pair=PAIR,
        words="datum.flag == 'undefined' ? '–' : datum.flag != null ? '(' + format(datum.pgr, '.2f') + ')' : "
        "format(datum.pgr, '.2f') + (datum.pgr > 1 ? ' ▲' : datum.pgr < -1 ? ' ▼' : '')",
        range="datum.flag != null ? datum.flag : datum.pgr_low == null ? 'no interval' : "
        f"{_short('datum.pgr_low')} + ' … ' + {_short('datum.pgr_high')}",
        is_dark=f"{SOUND} && (datum.pgr > 0.6 || datum.pgr < -0.6)",
    )
    x = alt.X("pair:N", sort=list(shape.pairs), title=None, axis=alt.Axis(labelAngle=-35, domain=False, ticks=False))
    y = alt.Y(f"{down}:N", sort=lists[down], title=None, axis=alt.Axis(domain=False, ticks=False))
    color = alt.Color(
        "pgr:Q",
        title=["PGR", "ends at −1 and 1"],
        scale=alt.Scale(domain=[-1, 0, 1], range=["#b35806", "#f7f3ea", "#08519c"], clamp=True, interpolate="lab"),
        legend=alt.Legend(gradientLength=120),
    )
    tooltip = [
        alt.Tooltip("dataset:N"), alt.Tooltip("pair:N"), alt.Tooltip("method:N"),
        alt.Tooltip("pgr:Q", title="PGR", format=".3f"), alt.Tooltip("range:N", title="95 % interval, or flag"),
        alt.Tooltip("interval_of:N", title="interval covers"),
        alt.Tooltip("weak_acc:Q", title="weak accuracy", format=".3f"),
        alt.Tooltip("transfer_acc:Q", title="student accuracy", format=".3f"),
        alt.Tooltip("ceiling_acc:Q", title="ceiling accuracy", format=".3f"), alt.Tooltip("n_seeds:Q", title="seeds"),
    ]  # fmt: skip
    cells = base.mark_rect(cursor="pointer", stroke=INK, strokeOpacity=0.25, strokeWidth=0.5).encode(
        x, y, color=alt.condition(SOUND, color, alt.value(PALE)), tooltip=tooltip
    )

    ink = (
        alt.when("datum.is_dark").then(alt.value("#ffffff")).when(SOUND).then(alt.value("#111111"))
        .otherwise(alt.value(INK))
    )  # fmt: skip

    def text(field: str, size: int, dy: int) -> alt.Chart:
        return base.mark_text(fontSize=size, dy=dy, cursor="pointer").encode(
            x, y, text=alt.Text(f"{field}:N"), color=ink, tooltip=tooltip
        )

    one = alt.layer(cells, text("words", 12, -5), text("range", 8, 8), data=_rows()).properties(
        width=alt.Step(cell_width), height=alt.Step(cell_height)
    )
    columns = _columns(len(lists[across]), WIDTH // (cell_width * max(len(shape.pairs), 1)))
    return (
        one.facet(facet=alt.Facet(f"{across}:N", sort=lists[across], title=None), columns=columns)
        .resolve_axis(x="independent")
        .resolve_scale(x="shared", y="shared")
        .properties(title=_title("Performance gap recovered, by dataset, pair and method"))
    )


def accuracy(shape: Shape) -> alt.TopLevelMixin:
    """Over the strong model, a line of students per supervisor, from its own accuracy on, and the ceilings."""
    names = [*shape.weaks, "ceiling"]
    range = [*_cycle(PALETTE, len(shape.weaks)), INK]
    base = (
        alt.Chart()
        .transform_calculate(pair=PAIR)
        # Others would move one point of a line and not the next.
        .transform_joinaggregate(here="distinct(pair)", groupby=["method", "dataset"])
        .transform_joinaggregate(most="max(here)", groupby=["method"])
        .transform_filter("datum.here == datum.most")
        .transform_fold(["weak_acc", "transfer_acc", "ceiling_acc"], as_=["role", "acc"])
        .transform_calculate(
            model="datum.role == 'weak_acc' ? datum.weak : datum.strong",
            place="datum.role == 'weak_acc' ? datum.weak_place : datum.strong_place",
            series="datum.role == 'ceiling_acc' ? 'ceiling' : datum.weak",
            error="datum.n_items ? 1.96 * sqrt(datum.acc * (1 - datum.acc) / datum.n_items) : 0",
        )
        .transform_aggregate(
            acc="mean(acc)", error="mean(error)", groupby=["method", "dataset", "series", "model", "place", "role"]
        )
        .transform_aggregate(
            acc="median(acc)", error="mean(error)", q1="q1(acc)", q3="q3(acc)", n_datasets="count()",
            groupby=["method", "series", "model", "place", "role"],
        )
        .transform_calculate(
            low="datum.n_datasets > 1 ? datum.q1 : datum.acc - datum.error",
            high="datum.n_datasets > 1 ? datum.q3 : datum.acc + datum.error",
        )
    )  # fmt: skip
    x = _model_axis("model, weakest first")
    y = alt.Y("acc:Q", title="accuracy on test (fraction)", scale=alt.Scale(zero=False))
    legend = alt.Legend(title="supervisor", symbolType="stroke", symbolOpacity=1)
    color = alt.Color("series:N", scale=alt.Scale(domain=names, range=range), legend=legend)
    dash = alt.condition("datum.series == 'ceiling'", alt.value([5, 3]), alt.value([1, 0]))
    tooltip = [
        alt.Tooltip("method:N"), alt.Tooltip("series:N", title="supervisor"), alt.Tooltip("model:N"),
        alt.Tooltip("acc:Q", title="accuracy", format=".3f"), alt.Tooltip("low:Q", title="from", format=".3f"),
        alt.Tooltip("high:Q", title="to", format=".3f"), alt.Tooltip("n_datasets:Q", title="median of datasets"),
    ]  # fmt: skip
    band = base.mark_area(opacity=0.12).encode(
        x, alt.Y("low:Q", title="accuracy on test (fraction)"), alt.Y2("high:Q"), color
    )
    line = base.mark_line().encode(x, y, color, strokeDash=dash)
    dots = base.mark_point(size=45, strokeWidth=2).encode(
        x, y, color, fill=alt.condition("datum.role == 'weak_acc'", alt.value("transparent"), color), tooltip=tooltip
    )
    one = alt.layer(_chance(), band, line, dots, data=_rows()).properties(width=250, height=210)
    return one.facet(facet=_by_method(shape), columns=_columns(len(shape.methods), 4)).properties(
        title=_title("Accuracy by student, supervisor and method: median over datasets, band of the middle half")
    )


def _chance() -> alt.Chart:
    """A line where a coin would be."""
    return _line(y=CHANCE).mark_rule(strokeDash=[2, 3], opacity=0.6)


def _pgr_axis(title: str = "PGR") -> alt.X:
    return alt.X("at:Q", title=title, scale=alt.Scale(domain=[LEAST, MOST]), axis=alt.Axis(values=[-0.5, 0, 0.5, 1, 1.5]))


def _pgr_levels() -> alt.LayerChart:
    """Lines at the supervisor and at the ceiling."""
    return alt.layer(_line(x=0), _line(x=1))


def _standing() -> alt.Shape:
    return alt.Shape(
        "stands:N",
        title=None,
        scale=alt.Scale(
            domain=["sound", "flagged", "beyond, left", "beyond, right"],
            range=["circle", "M-.5,-.5L.5,.5M.5,-.5L-.5,.5", "triangle-left", "triangle-right"],
        ),
    )


def pgr_by_pair(shape: Shape) -> alt.TopLevelMixin:
    """A dot per dataset and a bar at the median of the sound ones; flagged ones are crosses."""
    base = alt.Chart().transform_calculate(pair=PAIR, at=CLAMPED, stands=STANDS)
    color, _ = _method(shape, legend=None)
    y = alt.Y("method:N", sort=list(shape.methods), title=None)
    dots = base.mark_point(size=34, opacity=0.75, strokeWidth=1.6).encode(
        _pgr_axis(), y, color, _standing(),
        fill=alt.condition(f"{SOUND}", color, alt.value("transparent")),
        tooltip=[
            alt.Tooltip("dataset:N"), alt.Tooltip("pair:N"), alt.Tooltip("method:N"),
            alt.Tooltip("pgr:Q", title="PGR", format=".3f"), alt.Tooltip("flag:N"),
        ],
    )  # fmt: skip
    medians = (
        base.transform_calculate(sound="datum.flag == null ? datum.pgr : null", is_sound="datum.flag == null ? 1 : 0")
        .transform_aggregate(
            median="median(sound)", n_sound="sum(is_sound)", n="count()", groupby=["pair", "method"]
        )
        .transform_filter("datum.n_sound > 0")
        .transform_calculate(
            at=f"clamp(datum.median, {LEAST}, {MOST})",
            words="format(datum.median, '.2f') + ', of ' + datum.n_sound + ' of ' + datum.n",
        )
    )
    bar = medians.mark_tick(thickness=3, size=14, color=INK).encode(
        _pgr_axis(), y,
        tooltip=[alt.Tooltip("pair:N"), alt.Tooltip("method:N"), alt.Tooltip("words:N", title="median")],
    )  # fmt: skip
    words = medians.mark_text(align="left", fontSize=9, dx=4).encode(
        x=alt.value(226), y=y, text=alt.Text("words:N")
    )
    one = alt.layer(_pgr_levels(), dots, bar, words, data=_rows()).properties(width=222, height=alt.Step(20))
    return (
        one.facet(
            facet=alt.Facet("pair:N", sort=list(shape.pairs), title=None), columns=_columns(len(shape.pairs), 3),
            spacing={"row": 24, "column": 92},
        )
        .transform_calculate(pair=PAIR)
        .properties(title=_title("PGR by pair and method: a dot per dataset, a bar at the median of the sound ones"))
    )


def pgr_by_dataset(shape: Shape) -> alt.TopLevelMixin:
    """Every PGR with its interval, a panel per dataset."""
    base = alt.Chart().transform_calculate(
        pair=PAIR,
        at=CLAMPED,
        stands=STANDS,
        low=f"datum.pgr_low == null ? null : clamp(datum.pgr_low, {LEAST}, {MOST})",
        high=f"datum.pgr_high == null ? null : clamp(datum.pgr_high, {LEAST}, {MOST})",
        words="datum.pgr_low == null ? 'none' : format(datum.pgr_low, '.2f') + ' … ' + format(datum.pgr_high, '.2f')",
    )
    many = len(shape.methods) > len(PALETTE)  # which colours alone cannot tell
    color, _ = _method(shape, **({"legend": None} if many else {}))
    y = alt.Y("method:N" if many else "pair:N", sort=list(shape.methods if many else shape.pairs), title=None)
    offset = alt.Undefined if many else alt.YOffset("method:N", sort=list(shape.methods))
    bars = base.transform_filter("datum.low != null").mark_rule(strokeWidth=2, opacity=0.7).encode(
        alt.X("low:Q", title="PGR"), y, color, x2="high:Q", yOffset=offset
    )  # fmt: skip
    dots = base.mark_point(size=26, strokeWidth=1.5).encode(
        _pgr_axis(), y, color, _standing(), yOffset=offset,
        fill=alt.condition(SOUND, color, alt.value("transparent")),
        tooltip=[
            alt.Tooltip("dataset:N"), alt.Tooltip("pair:N"), alt.Tooltip("method:N"),
            alt.Tooltip("pgr:Q", title="PGR", format=".3f"), alt.Tooltip("words:N", title="95 % interval"),
            alt.Tooltip("interval_of:N", title="interval covers"), alt.Tooltip("flag:N"),
            alt.Tooltip("n_seeds:Q", title="seeds"), alt.Tooltip("n_items:Q", title="test items"),
        ],
    )  # fmt: skip
    title = _title("PGR by dataset and pair, with 95 % intervals")
    layers = alt.layer(_pgr_levels(), bars, dots, data=_rows())
    if many:
        width = max(110, min(240, WIDTH // len(shape.pairs) - 12))
        return (
            layers.properties(width=width, height=alt.Step(15))
            .facet(
                row=alt.Row("dataset:N", sort=list(shape.datasets), title=None),
                column=alt.Column("pair:N", sort=list(shape.pairs), title=None),
            )
            .transform_calculate(pair=PAIR)
            .properties(title=title)
        )
    one = layers.properties(width=240, height=alt.Step(max(18, 8 * len(shape.methods)), **{"for": "position"}))
    return one.facet(
        facet=alt.Facet("dataset:N", sort=list(shape.datasets), title=None), columns=_columns(len(shape.datasets), 3)
    ).properties(title=title)


def comparison(shape: Shape) -> alt.TopLevelMixin:
    """Differences from one method, on the same pairs and datasets; the page pairs them (``kind``: one, mean)."""
    color, _ = _method(shape, legend=None)
    y = alt.Y("method:N", sort=list(shape.methods), title=None)
    base = alt.Chart()

    def side(field: str, title: str, ends: tuple[float, float]) -> alt.LayerChart:
        held = base.transform_filter(f"isValid(datum.{field})").transform_calculate(
            at=f"clamp(datum.{field}, {ends[0]}, {ends[1]})",
            low=f"isValid(datum.{field}_low) ? clamp(datum.{field}_low, {ends[0]}, {ends[1]}) : null",
            high=f"isValid(datum.{field}_high) ? clamp(datum.{field}_high, {ends[0]}, {ends[1]}) : null",
            stands=f"datum.{field} > {ends[1]} ? 'beyond, right' : datum.{field} < {ends[0]} ? 'beyond, left' : 'sound'",
        )
        x = alt.X("at:Q", title=title)
        tooltip = [
            alt.Tooltip("method:N"), alt.Tooltip("dataset:N"), alt.Tooltip("pair:N"),
            alt.Tooltip(f"{field}:Q", title="difference", format="+.3f"),
        ]  # fmt: skip
        means = held.transform_filter("datum.kind == 'mean'")
        return alt.layer(
            _line(x=0),
            held.transform_filter("datum.kind == 'one'")
            .mark_point(size=22, opacity=0.45)
            .encode(x, y, color, _standing(), tooltip=tooltip),
            means.transform_filter("datum.low != null").mark_rule(strokeWidth=2.5).encode(
                alt.X("low:Q", title=title), y, x2="high:Q"
            ),
            means.mark_point(size=55, filled=True, color=INK, opacity=1).encode(
                x, y, tooltip=[*tooltip[:1], tooltip[-1], alt.Tooltip("words:N", title="95 % interval")]
            ),
        ).properties(width=360, height=alt.Step(24))  # fmt: skip

    return alt.hconcat(
        side("accuracy", "difference in student accuracy (fraction)", (-0.3, 0.3)),
        side("pgr", "difference in PGR", (-1.5, 1.5)),
        data=_rows(),
        spacing=40,
    ).properties(title=_title("Methods compared"))


def agreement(shape: Shape) -> alt.TopLevelMixin:
    """How often the student answers as its supervisor, where that is right and where it is wrong."""
    base = (
        alt.Chart()
        .transform_fold(["agreement_right", "agreement_wrong"], as_=["part", "share"])
        .transform_filter("isValid(datum.share)")
        .transform_calculate(
            part="datum.part == 'agreement_right' ? 'right' : 'wrong'", model="datum.strong", place="datum.strong_place"
        )
        .transform_aggregate(
            share="median(share)", n_datasets="count()", groupby=["method", "weak", "model", "place", "part"]
        )
    )
    x = _model_axis("student, smallest first")
    y = alt.Y("share:Q", title="agreement with the supervisor (fraction)", scale=alt.Scale(domain=[0, 1]))
    color = alt.Color(
        "weak:N", title="supervisor", scale=alt.Scale(domain=list(shape.weaks), range=_cycle(PALETTE, len(shape.weaks)))
    )
    part = alt.StrokeDash(
        "part:N", title="where it is", scale=alt.Scale(domain=["right", "wrong"], range=[[1, 0], [5, 3]])
    )
    tooltip = [
        alt.Tooltip("method:N"), alt.Tooltip("weak:N", title="supervisor"), alt.Tooltip("model:N", title="student"),
        alt.Tooltip("part:N", title="where it is"), alt.Tooltip("share:Q", title="agreement", format=".3f"),
        alt.Tooltip("n_datasets:Q", title="median of datasets"),
    ]  # fmt: skip
    one = alt.layer(
        base.mark_line().encode(x, y, color, part),
        base.mark_point(size=40, filled=True).encode(x, y, color, tooltip=tooltip),
        data=_rows(),
    ).properties(width=220, height=200)
    return one.facet(facet=_by_method(shape), columns=_columns(len(shape.methods), 4)).properties(
        title=_title("Agreement where the supervisor is right and where it is wrong: median over datasets")
    )


def within(shape: Shape) -> alt.TopLevelMixin:
    """Students' accuracy on validation as they train, against truth and against the labels that they learn from."""
    base = (
        alt.Chart()
        .transform_aggregate(accuracy="median(accuracy)", n="count()", groupby=["method", "fraction", "against"])
    )  # fmt: skip
    x = alt.X("fraction:Q", title="share of the training done", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("accuracy:Q", title="accuracy on validation (fraction)", scale=alt.Scale(zero=False))
    color = alt.Color(
        "against:N", title="against", scale=alt.Scale(domain=["truth", "labels"], range=[PALETTE[0], PALETTE[1]])
    )
    highest = base.transform_joinaggregate(
        highest="max(accuracy)", groupby=["method", "against"]
    ).transform_filter("datum.accuracy == datum.highest")
    one = alt.layer(
        _chance(),
        base.mark_line().encode(x, y, color),
        highest.mark_point(size=150, shape="cross", filled=False, strokeWidth=1.5).encode(x, y, color),
        base.mark_point(size=36, filled=True).encode(
            x, y, color,
            tooltip=[
                alt.Tooltip("method:N"), alt.Tooltip("against:N"), alt.Tooltip("fraction:Q", format=".2f"),
                alt.Tooltip("accuracy:Q", format=".3f"), alt.Tooltip("n:Q", title="median of trainings"),
            ],
        ),
        data=_rows(),
    ).properties(width=220, height=180)  # fmt: skip
    return one.facet(facet=_by_method(shape), columns=_columns(len(shape.methods), 4)).properties(
        title=_title("Students within their training: accuracy against truth and against labels, median of trainings")
    )


def calibration(shape: Shape) -> alt.TopLevelMixin:
    """How often class 1 is the truth where a model says that it is so likely."""
    base = (
        alt.Chart()
        .transform_calculate(p="datum.n * datum.mean_prob", s="datum.n * datum.share")
        .transform_aggregate(n="sum(n)", p="sum(p)", s="sum(s)", groupby=["method", "role", "prob_from"])
        .transform_calculate(mean_prob="datum.p / datum.n", share="datum.s / datum.n")
    )
    unit = alt.Scale(domain=[0, 1])
    x = alt.X("mean_prob:Q", title="probability of class 1", scale=unit)
    y = alt.Y("share:Q", title="share that is of class 1", scale=unit)
    roles = alt.Scale(domain=["supervisor", "student", "ceiling"], range=[PALETTE[1], PALETTE[0], PALETTE[2]])
    one = alt.layer(
        alt.Chart(alt.InlineData(values=[{"a": 0}, {"a": 1}]))
        .mark_line(strokeDash=[2, 3], opacity=0.6, color=INK)
        .encode(x="a:Q", y="a:Q"),
        base.mark_line().encode(x, y, alt.Color("role:N", title="labels or answers of", scale=roles)),
        base.mark_point(filled=True, opacity=0.8).encode(
            x, y, alt.Color("role:N", scale=roles),
            size=alt.Size("n:Q", title="rows", scale=alt.Scale(range=[8, 90]), legend=None),
            tooltip=[
                alt.Tooltip("method:N"), alt.Tooltip("role:N"), alt.Tooltip("mean_prob:Q", format=".3f"),
                alt.Tooltip("share:Q", format=".3f"), alt.Tooltip("n:Q", title="rows"),
            ],
        ),
        data=_rows(),
    ).properties(width=200, height=200)  # fmt: skip
    return one.facet(facet=_by_method(shape), columns=_columns(len(shape.methods), 4)).properties(
        title=_title("Calibration on test: all chosen datasets, pairs and seeds together, fifteen bins")
    )


def labels(shape: Shape) -> alt.TopLevelMixin:
    """What better labels gave over those of the plain supervisor, and what generalization gave over the labels."""
    better, general = "better labels: supervisor − weak", "generalization: student − supervisor"
    base = (
        alt.Chart()
        .transform_calculate(
            pair=PAIR,
            better="datum.supervisor_acc - datum.weak_acc",
            general="datum.transfer_acc - datum.supervisor_acc",
        )
        .transform_fold(["better", "general"], as_=["part", "gain"])
        .transform_filter("datum.supervisor_acc != null")
        .transform_aggregate(gain="mean(gain)", n_datasets="count()", groupby=["pair", "method", "part"])
        .transform_calculate(part=f"datum.part == 'better' ? '{better}' : '{general}'")
    )
    y = alt.Y("method:N", sort=list(shape.methods), title=None)
    bars = base.mark_bar(height={"band": 0.7}).encode(
        alt.X("gain:Q", title="gain in accuracy (fraction)"), y,
        alt.Color("part:N", title="gain from",
                  scale=alt.Scale(domain=[better, general], range=[PALETTE[5], PALETTE[0]]),
                  legend=alt.Legend(orient="bottom", labelLimit=320)),
        tooltip=[
            alt.Tooltip("pair:N"), alt.Tooltip("method:N"), alt.Tooltip("part:N"),
            alt.Tooltip("gain:Q", format="+.3f"), alt.Tooltip("n_datasets:Q", title="mean over datasets"),
        ],
    )  # fmt: skip
    one = alt.layer(bars, _line(x=0), data=_rows()).properties(width=230, height=alt.Step(18))
    return (
        one.facet(facet=alt.Facet("pair:N", sort=list(shape.pairs), title=None), columns=_columns(len(shape.pairs), 3))
        .transform_calculate(pair=PAIR)
        .properties(title=_title("What the student gained over the weak supervisor, and from what: mean over datasets"))
    )


def history(shape: Shape) -> alt.TopLevelMixin:
    """Accuracies that were computed more than once, with other code or other bytes."""
    base = alt.Chart()
    encoded = base.encode(
        alt.X("version:O", title="version", axis=alt.Axis(labelAngle=0)),
        alt.Y("accuracy:Q", title="accuracy on test (fraction)", scale=alt.Scale(zero=False)),
        alt.Color("kind:N", title="learned from", scale=alt.Scale(domain=["gt", "w2s"], range=[PALETTE[2], PALETTE[0]])),
        detail="node:N",
        tooltip=[
            alt.Tooltip("dataset:N"), alt.Tooltip("model:N"), alt.Tooltip("supervisor:N"), alt.Tooltip("method:N"),
            alt.Tooltip("seed:Q"), alt.Tooltip("accuracy:Q", format=".4f"), alt.Tooltip("started:N", title="UTC"),
            alt.Tooltip("key:N"),
        ],
    )  # fmt: skip
    one = alt.layer(encoded.mark_line(opacity=0.5), encoded.mark_point(filled=True), data=_rows())
    return one.properties(width=240, height=170).facet(
        facet=alt.Facet("dataset:N", sort=list(shape.datasets), title=None), columns=_columns(len(shape.datasets), 4)
    ).properties(title=_title("What each number was, over versions of code and data"))  # fmt: skip


def pair_curves(shape: Shape) -> alt.TopLevelMixin:
    """The three trainings of one pair: loss, and accuracy on validation."""
    del shape
    roles = alt.Scale(domain=["supervisor", "student", "ceiling"], range=[PALETTE[1], PALETTE[0], PALETTE[2]])
    color = alt.Color("role:N", title="training", scale=roles)
    x = alt.X("fraction:Q", title="share of the training done", scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart()
    loss = base.transform_filter("isValid(datum.loss)").mark_line(strokeWidth=1.5).encode(
        x, alt.Y("loss:Q", title="loss of training (nats)"), color, detail="seed:N",
        tooltip=[alt.Tooltip("role:N"), alt.Tooltip("seed:N"), alt.Tooltip("loss:Q", format=".3f")],
    )  # fmt: skip
    seen = base.transform_filter("isValid(datum.accuracy)").encode(
        x, alt.Y("accuracy:Q", title="accuracy on validation (fraction)", scale=alt.Scale(zero=False)), color,
        strokeDash=alt.StrokeDash("against:N", scale=alt.Scale(domain=["truth", "labels"], range=[[1, 0], [4, 3]])),
        shape=alt.Shape("against:N", scale=alt.Scale(domain=["truth", "labels"], range=["circle", "diamond"])),
        detail="seed:N",
        tooltip=[
            alt.Tooltip("role:N"), alt.Tooltip("against:N"), alt.Tooltip("seed:N"),
            alt.Tooltip("fraction:Q", format=".2f"), alt.Tooltip("accuracy:Q", format=".3f"),
        ],
    )  # fmt: skip
    return alt.hconcat(
        loss.properties(width=380, height=220),
        alt.layer(_chance(), seen.mark_line(strokeWidth=1.5), seen.mark_point(size=30)).properties(
            width=380, height=220
        ),
        data=_rows(),
    ).properties(title=_title("Its three trainings, a line per seed"))


CHARTS: Mapping[str, Callable[[Shape], alt.TopLevelMixin]] = {
    "heatmap": heatmap,
    "pair_curves": pair_curves,
    "accuracy": accuracy,
    "pgr_by_pair": pgr_by_pair,
    "pgr_by_dataset": pgr_by_dataset,
    "comparison": comparison,
    "agreement": agreement,
    "within": within,
    "calibration": calibration,
    "labels": labels,
    "history": history,
}
"""In the order of the page."""
