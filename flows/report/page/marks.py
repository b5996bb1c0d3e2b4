"""What the charts of the page have in common: colours, shapes, axes, and what a grid compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8f7a00")
"""Told apart by the colour-blind (Okabe and Ito 2008); the last one darker, for white paper."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
"""As many as have no divisor in common with the colours: 42 methods differ in one of the two."""

INK = "currentColor"
"""That of the page's text, which is light in the dark; black in a file of its own."""

PALE = "rgba(128, 128, 128, 0.16)"

WIDTH = 1080
"""Pixels of a chart, less its axes."""

PAIR = "datum.weak + ' → ' + datum.strong"

SOUND = "datum.flag == null"

CHANCE = 0.5
"""Of two classes."""


class Shape(NamedTuple):
    """What a grid compares, in its order: so that colours and places stay when some of it is switched off."""

    datasets: Sequence[str]
    pairs: Sequence[str]
    """As ``weak → strong``."""
    weaks: Sequence[str]
    methods: Sequence[str]


def line_at(**at: Any) -> alt.Chart:
    """One line across a panel, ``x`` or ``y``; of the rows of the chart there would be one for each."""
    places = {axis: alt.datum(value) for axis, value in at.items()}
    return alt.Chart(alt.InlineData(values=[{}])).mark_rule(strokeWidth=1, opacity=0.5).encode(**places)


def chance_line() -> alt.Chart:
    """A line where a coin would be."""
    return line_at(y=CHANCE).mark_rule(strokeDash=[2, 3], opacity=0.6)


def given_rows() -> alt.NamedData:
    return alt.NamedData(name="rows")


def titled(text: str) -> alt.TitleParams:
    return alt.TitleParams(text, subtitle="")


def n_columns(n: int, most: int) -> int:
    return max(1, min(n, most))


def cycled(values: Sequence[str], n: int) -> list[str]:
    return [values[index % len(values)] for index in range(n)]


def method_marks(shape: Shape, **more: Any) -> tuple[alt.Color, alt.Shape]:
    """Colour and form of a method; one legend says both."""
    names = list(shape.methods)
    legend = more.get("legend", alt.Legend(title="method"))
    return (
        alt.Color("method:N", scale=alt.Scale(domain=names, range=cycled(PALETTE, len(names))), legend=legend),
        alt.Shape("method:N", scale=alt.Scale(domain=names, range=cycled(SHAPES, len(names))), legend=legend),
    )


def panel_per_method(shape: Shape) -> alt.Facet:
    return alt.Facet("method:N", sort=list(shape.methods), title=None)


def model_axis(title: str) -> alt.X:
    return alt.X(
        "model:N",
        sort=alt.EncodingSortField("place", op="min", order="ascending"),
        title=title,
        axis=alt.Axis(labelAngle=-30),
        scale=alt.Scale(padding=0.3),
    )
