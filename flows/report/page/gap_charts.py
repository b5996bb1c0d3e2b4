"""The charts of the page that show performance gap recovered, and what methods differ by."""

from __future__ import annotations

from typing import Any

import altair as alt

from flows.report.page.marks import (
    INK,
    PAIR,
    PALE,
    PALETTE,
    SOUND,
    WIDTH,
    Shape,
    given_rows,
    line_at,
    method_marks,
    n_columns,
    titled,
)

LEAST, MOST = -0.5, 1.5
"""Where an axis of PGR ends; what is beyond stands at its end as a triangle."""

CLAMPED = f"datum.pgr == null ? {LEAST} : clamp(datum.pgr, {LEAST}, {MOST})"

STANDS = (
    f"datum.flag != null ? 'flagged' : datum.pgr > {MOST} ? 'beyond, right' : datum.pgr < {LEAST} ? 'beyond, left'"
    " : 'sound'"
)


def _short(value: str) -> str:
    """A number in words that fit a cell."""
    return f"({value} < -9.99 ? '< −10' : {value} > 9.99 ? '> 10' : format({value}, '.2f'))"


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

    one = alt.layer(cells, text("words", 12, -5), text("range", 8, 8), data=given_rows()).properties(
        width=alt.Step(cell_width), height=alt.Step(cell_height)
    )
    columns = n_columns(len(lists[across]), WIDTH // (cell_width * max(len(shape.pairs), 1)))
    return (
        one.facet(facet=alt.Facet(f"{across}:N", sort=lists[across], title=None), columns=columns)
        .resolve_axis(x="independent")
        .resolve_scale(x="shared", y="shared")
        .properties(title=titled("Performance gap recovered, by dataset, pair and method"))
    )


def _pgr_axis(title: str = "PGR") -> alt.X:
    return alt.X(
        "at:Q", title=title, scale=alt.Scale(domain=[LEAST, MOST]), axis=alt.Axis(values=[-0.5, 0, 0.5, 1, 1.5])
    )


def _pgr_levels() -> alt.LayerChart:
    """Lines at the supervisor and at the ceiling."""
    return alt.layer(line_at(x=0), line_at(x=1))


def _standing(**more: Any) -> alt.Shape:
    return alt.Shape(
        "stands:N",
        title=None,
        **more,
        scale=alt.Scale(
            domain=["sound", "flagged", "beyond, left", "beyond, right"],
            range=["circle", "M-.5,-.5L.5,.5M.5,-.5L-.5,.5", "triangle-left", "triangle-right"],
        ),
    )


def pgr_by_pair(shape: Shape) -> alt.TopLevelMixin:
    """A dot per dataset, and the median of the sound ones with its interval; flagged ones are crosses."""
    base = alt.Chart().transform_calculate(pair=PAIR, at=CLAMPED, stands=STANDS)
    color, _ = method_marks(shape, legend=None)
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
            median="median(sound)", n_sound="sum(is_sound)", n="count()", median_low="max(median_low)",
            median_high="max(median_high)", groupby=["pair", "method"],
        )
        .transform_filter("datum.n_sound > 0")
        .transform_calculate(
            at=f"clamp(datum.median, {LEAST}, {MOST})",
            low=f"isValid(datum.median_low) ? clamp(datum.median_low, {LEAST}, {MOST}) : null",
            high=f"isValid(datum.median_high) ? clamp(datum.median_high, {LEAST}, {MOST}) : null",
            range="isValid(datum.median_low) ? "
            f"{_short('datum.median_low')} + ' … ' + {_short('datum.median_high')} : 'none'",
            words="format(datum.median, '.2f') + (isValid(datum.median_low) ? ' (' + datum.range + ')' : '')"
            " + ', ' + datum.n_sound + ' of ' + datum.n",
        )
    )  # fmt: skip
    interval = medians.transform_filter("datum.low != null").mark_rule(strokeWidth=4, opacity=0.45).encode(
        alt.X("low:Q", title="PGR"), y, x2="high:Q"
    )  # fmt: skip
    bar = medians.mark_tick(thickness=3, size=14, color=INK).encode(
        _pgr_axis(), y,
        tooltip=[
            alt.Tooltip("pair:N"), alt.Tooltip("method:N"), alt.Tooltip("median:Q", format=".3f"),
            alt.Tooltip("range:N", title="95 % interval"), alt.Tooltip("n_sound:Q", title="sound"),
            alt.Tooltip("n:Q", title="datasets"),
        ],
    )  # fmt: skip
    words = medians.mark_text(align="left", fontSize=9, dx=4).encode(x=alt.value(202), y=y, text=alt.Text("words:N"))
    one = alt.layer(_pgr_levels(), dots, interval, bar, words, data=given_rows()).properties(
        width=198, height=alt.Step(20)
    )
    return (
        one.facet(
            facet=alt.Facet("pair:N", sort=list(shape.pairs), title=None),
            columns=n_columns(len(shape.pairs), 3),
            spacing={"row": 24, "column": 24},
        )
        .transform_calculate(pair=PAIR)
        .properties(title=titled("PGR by pair and method: a dot per dataset, and the median of the sound ones"))
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
    color, _ = method_marks(shape, **({"legend": None} if many else {}))
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
    title = titled("PGR by dataset and pair, with 95 % intervals")
    layers = alt.layer(_pgr_levels(), bars, dots, data=given_rows())
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
        facet=alt.Facet("dataset:N", sort=list(shape.datasets), title=None), columns=n_columns(len(shape.datasets), 3)
    ).properties(title=title)


def comparison(shape: Shape) -> alt.TopLevelMixin:
    """Differences from one method, on the same pairs and datasets; the page pairs them (``kind``: one, mean)."""
    color, _ = method_marks(shape, legend=None)
    y = alt.Y("method:N", sort=list(shape.methods), title=None)
    base = alt.Chart()

    def side(field: str, title: str, ends: tuple[float, float]) -> alt.LayerChart:
        held = base.transform_filter(f"isValid(datum.{field})").transform_calculate(
            at=f"clamp(datum.{field}, {ends[0]}, {ends[1]})",
            low=f"isValid(datum.{field}_low) ? clamp(datum.{field}_low, {ends[0]}, {ends[1]}) : null",
            high=f"isValid(datum.{field}_high) ? clamp(datum.{field}_high, {ends[0]}, {ends[1]}) : null",
            range=f"isValid(datum.{field}_low) ? format(datum.{field}_low, '+.3f') + ' … ' + "
            f"format(datum.{field}_high, '+.3f') : 'none'",
            stands=f"datum.{field} > {ends[1]} ? 'beyond, right' : "
            f"datum.{field} < {ends[0]} ? 'beyond, left' : 'sound'",
        )
        x = alt.X("at:Q", title=title)
        tooltip = [
            alt.Tooltip("method:N"), alt.Tooltip("dataset:N"), alt.Tooltip("pair:N"),
            alt.Tooltip(f"{field}:Q", title="difference", format="+.3f"),
            alt.Tooltip("range:N", title="95 % interval"),
        ]  # fmt: skip
        ones, means = (held.transform_filter(f"datum.kind == '{kind}'") for kind in ("one", "mean"))
        return alt.layer(
            line_at(x=0),
            ones.transform_filter("datum.low != null").mark_rule(strokeWidth=2).encode(
                alt.X("low:Q", title=title), y, color, x2="high:Q", opacity=alt.Opacity("opacity:Q", scale=None)
            ),
            ones.mark_point(size=22, opacity=0.45).encode(x, y, color, _standing(legend=None), tooltip=tooltip),
            means.transform_filter("datum.low != null").mark_rule(strokeWidth=2.5).encode(
                alt.X("low:Q", title=title), y, x2="high:Q"
            ),
            means.mark_point(size=55, filled=True, color=INK, opacity=1).encode(
                x, y, tooltip=[tooltip[0], *tooltip[3:]]
            ),
        ).properties(width=360, height=alt.Step(24))  # fmt: skip

    return alt.hconcat(
        side("accuracy", "difference in student accuracy (fraction)", (-0.3, 0.3)),
        side("pgr", "difference in PGR", (-1.5, 1.5)),
        data=given_rows(),
        spacing=40,
    ).properties(title=titled("Methods compared"))


def published(shape: Shape) -> alt.TopLevelMixin:
    """Published PGRs beside those of the same dataset and method here, which are medians over pairs."""
    sources = alt.Legend(title="published by", orient="bottom", columns=2, labelLimit=420)
    learner = "datum.method + (datum.supervisor ? ', ' + datum.supervisor : '')"
    base = alt.Chart().transform_calculate(learner=learner)
    x, y = _pgr_axis(), alt.Y("dataset:N", sort=list(shape.datasets), title=None)
    theirs = base.transform_calculate(
        at=f"clamp(datum.published, {LEAST}, {MOST})",
        stands=f"datum.published > {MOST} ? 'beyond, right' : datum.published < {LEAST} ? 'beyond, left' : 'sound'",
    ).mark_point(size=60, filled=True, opacity=0.9).encode(
        x, y, alt.Color("source:N", scale=alt.Scale(range=list(PALETTE)), legend=sources), _standing(legend=None),
        tooltip=[
            alt.Tooltip("dataset:N"), alt.Tooltip("learner:N", title="method"), alt.Tooltip("source:N"),
            alt.Tooltip("weak:N"), alt.Tooltip("strong:N"), alt.Tooltip("metric:N"),
            alt.Tooltip("published:Q", format=".3f"), alt.Tooltip("certainty:N"), alt.Tooltip("note:N"),
        ],
    )  # fmt: skip
    ours = base.transform_aggregate(
        ours="max(ours)", ours_low="max(ours_low)", ours_high="max(ours_high)", n="max(n)",
        groupby=["dataset", "learner"],
    ).transform_filter("isValid(datum.ours)").transform_calculate(
        at=f"clamp(datum.ours, {LEAST}, {MOST})",
        low=f"isValid(datum.ours_low) ? clamp(datum.ours_low, {LEAST}, {MOST}) : null",
        high=f"isValid(datum.ours_high) ? clamp(datum.ours_high, {LEAST}, {MOST}) : null",
        range=f"isValid(datum.ours_low) ? {_short('datum.ours_low')} + ' … ' + {_short('datum.ours_high')} : 'none'",
    )  # fmt: skip
    rule = ours.transform_filter("datum.low != null").mark_rule(strokeWidth=4, opacity=0.45).encode(
        alt.X("low:Q", title="PGR"), y, x2="high:Q"
    )  # fmt: skip
    tick = ours.mark_tick(thickness=3, size=14, color=INK).encode(
        x, y,
        tooltip=[
            alt.Tooltip("dataset:N"), alt.Tooltip("learner:N", title="method"),
            alt.Tooltip("ours:Q", title="here, median", format=".3f"), alt.Tooltip("range:N", title="95 % interval"),
            alt.Tooltip("n:Q", title="sound pairs"),
        ],
    )  # fmt: skip
    one = alt.layer(_pgr_levels(), rule, tick, theirs, data=given_rows()).properties(width=250, height=alt.Step(20))
    return (
        one.facet(facet=alt.Facet("learner:N", title=None), columns=3)
        .transform_calculate(learner=learner)
        .properties(title=titled("PGR as published, and here: a bar at the median over pairs, with its interval"))
    )
