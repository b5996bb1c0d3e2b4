"""The charts of the page that show what models do: accuracy, agreement, curves, calibration, and labels."""

from __future__ import annotations

import altair as alt

from flows.report.page.marks import (
    INK,
    PAIR,
    PALETTE,
    Shape,
    chance_line,
    cycled,
    given_rows,
    line_at,
    model_axis,
    n_columns,
    panel_per_method,
    titled,
)

DASHES = ([1, 0], [2, 2], [8, 2, 2, 2])


def accuracy(shape: Shape) -> alt.TopLevelMixin:
    """Over the strong model, a line of students per supervisor, from its own accuracy on, and the ceilings."""
    names = [*shape.weaks, "ceiling"]
    range = [*cycled(PALETTE, len(shape.weaks)), INK]
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
    x = model_axis("model, weakest first")
    y = alt.Y("acc:Q", title="accuracy on test (fraction)", scale=alt.Scale(zero=False))
    legend = alt.Legend(title="supervisor", symbolType="stroke", symbolOpacity=1)
    color = alt.Color("series:N", scale=alt.Scale(domain=names, range=range), legend=legend)
    # Of more supervisors than colours, those that share one differ in this.
    dashes = [DASHES[index // len(PALETTE) % len(DASHES)] for index, _ in enumerate(shape.weaks)]
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=[*dashes, [5, 3]]), legend=legend)
    tooltip = [
        alt.Tooltip("method:N"), alt.Tooltip("series:N", title="supervisor"), alt.Tooltip("model:N"),
        alt.Tooltip("acc:Q", title="accuracy", format=".3f"), alt.Tooltip("low:Q", title="from", format=".3f"),
        alt.Tooltip("high:Q", title="to", format=".3f"), alt.Tooltip("n_datasets:Q", title="median of datasets"),
    ]  # fmt: skip
    band = base.mark_area(opacity=0.12).encode(
        x, alt.Y("low:Q", title="accuracy on test (fraction)"), alt.Y2("high:Q"), color
    )
    line = base.mark_line().encode(x, y, color, dash)
    dots = base.mark_point(size=45, strokeWidth=2).encode(
        x, y, color, fill=alt.condition("datum.role == 'weak_acc'", alt.value("transparent"), color), tooltip=tooltip
    )
    one = alt.layer(chance_line(), band, line, dots, data=given_rows()).properties(width=250, height=210)
    return one.facet(facet=panel_per_method(shape), columns=n_columns(len(shape.methods), 4)).properties(
        title=titled("Accuracy by student, supervisor and method: median over datasets, band of the middle half")
    )


def agreement(shape: Shape) -> alt.TopLevelMixin:
    """How often the student answers as its supervisor, where that is right and where it is wrong."""
    base = (
        alt.Chart()
        .transform_fold(["agreement_right", "agreement_wrong"], as_=["part", "share"])
        .transform_filter("isValid(datum.share)")
        .transform_calculate(
            low="datum.part == 'agreement_right' ? datum.right_low : datum.wrong_low",
            high="datum.part == 'agreement_right' ? datum.right_high : datum.wrong_high",
            model="datum.strong",
            place="datum.strong_place",
        )
        .transform_calculate(part="datum.part == 'agreement_right' ? 'right' : 'wrong'")
        # Of one pair and method all datasets have the same interval, that of the median.
        .transform_aggregate(
            share="median(share)", low="max(low)", high="max(high)", n_datasets="count()",
            groupby=["method", "weak", "model", "place", "part"],
        )
        .transform_calculate(
            range="isValid(datum.low) ? format(datum.low, '.3f') + ' … ' + format(datum.high, '.3f') : 'none'"
        )
    )  # fmt: skip
    x = model_axis("student, smallest first")
    y = alt.Y("share:Q", title="agreement with the supervisor (fraction)", scale=alt.Scale(domain=[0, 1]))
    colors = alt.Scale(domain=list(shape.weaks), range=cycled(PALETTE, len(shape.weaks)))
    color = alt.Color("weak:N", scale=colors, legend=alt.Legend(title="supervisor", symbolOpacity=1))
    in_ink = alt.Legend(title="where it is", symbolFillColor=INK, symbolStrokeColor=INK)
    part = alt.StrokeDash("part:N", legend=in_ink, scale=alt.Scale(domain=["right", "wrong"], range=[[1, 0], [5, 3]]))
    form = alt.Shape("part:N", legend=in_ink, scale=alt.Scale(domain=["right", "wrong"], range=["circle", "diamond"]))
    tooltip = [
        alt.Tooltip("method:N"), alt.Tooltip("weak:N", title="supervisor"), alt.Tooltip("model:N", title="student"),
        alt.Tooltip("part:N", title="where it is"), alt.Tooltip("share:Q", title="agreement", format=".3f"),
        alt.Tooltip("range:N", title="95 % interval"),
        alt.Tooltip("n_datasets:Q", title="median of datasets"),
    ]  # fmt: skip
    one = alt.layer(
        base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2, opacity=0.35).encode(
            x, alt.Y("low:Q", title="agreement with the supervisor (fraction)"), alt.Y2("high:Q"), color
        ),
        base.mark_line().encode(x, y, color, part),
        base.mark_point(size=40, filled=True, opacity=1).encode(x, y, color, form, tooltip=tooltip),
        data=given_rows(),
    ).properties(width=220, height=200)  # fmt: skip
    return one.facet(facet=panel_per_method(shape), columns=n_columns(len(shape.methods), 4)).properties(
        title=titled(
            "Agreement where the supervisor is right and where it is wrong: median over datasets, with intervals"
        )
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
    highest = base.transform_joinaggregate(highest="max(accuracy)", groupby=["method", "against"]).transform_filter(
        "datum.accuracy == datum.highest"
    )
    one = alt.layer(
        chance_line(),
        base.mark_line().encode(x, y, color),
        highest.mark_point(size=150, shape="cross", filled=False, strokeWidth=1.5).encode(x, y, color),
        base.mark_point(size=36, filled=True).encode(
            x, y, color,
            tooltip=[
                alt.Tooltip("method:N"), alt.Tooltip("against:N"), alt.Tooltip("fraction:Q", format=".2f"),
                alt.Tooltip("accuracy:Q", format=".3f"), alt.Tooltip("n:Q", title="median of trainings"),
            ],
        ),
        data=given_rows(),
    ).properties(width=220, height=180)  # fmt: skip
    return one.facet(facet=panel_per_method(shape), columns=n_columns(len(shape.methods), 4)).properties(
        title=titled("Students within their training: accuracy against truth and against labels, median of trainings")
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
        data=given_rows(),
    ).properties(width=200, height=200)  # fmt: skip
    return one.facet(facet=panel_per_method(shape), columns=n_columns(len(shape.methods), 4)).properties(
        title=titled("Calibration on test: all chosen datasets, pairs and seeds together, fifteen bins")
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
    one = alt.layer(bars, line_at(x=0), data=given_rows()).properties(width=230, height=alt.Step(18))
    return (
        one.facet(facet=alt.Facet("pair:N", sort=list(shape.pairs), title=None), columns=n_columns(len(shape.pairs), 3))
        .transform_calculate(pair=PAIR)
        .properties(title=titled("What the student gained over the weak supervisor, and from what: mean over datasets"))
    )


def history(shape: Shape) -> alt.TopLevelMixin:
    """Accuracies that were computed more than once, with other code or other bytes."""
    kinds = alt.Scale(domain=["gt", "w2s"], range=[PALETTE[2], PALETTE[0]])
    encoded = alt.Chart().encode(
        alt.X("version:O", title="version", axis=alt.Axis(labelAngle=0)),
        alt.Y("accuracy:Q", title="accuracy on test (fraction)", scale=alt.Scale(zero=False)),
        alt.Color("kind:N", title="learned from", scale=kinds),
        detail="node:N",
        tooltip=[
            alt.Tooltip("dataset:N"), alt.Tooltip("model:N"), alt.Tooltip("supervisor:N"), alt.Tooltip("method:N"),
            alt.Tooltip("seed:Q"), alt.Tooltip("accuracy:Q", format=".4f"), alt.Tooltip("started:N", title="UTC"),
            alt.Tooltip("key:N"),
        ],
    )  # fmt: skip
    one = alt.layer(encoded.mark_line(opacity=0.5), encoded.mark_point(filled=True), data=given_rows())
    return one.properties(width=240, height=170).facet(
        facet=alt.Facet("dataset:N", sort=list(shape.datasets), title=None), columns=n_columns(len(shape.datasets), 4)
    ).properties(title=titled("What each number was, over versions of code and data"))  # fmt: skip


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
    in_ink = alt.Legend(title="against", symbolFillColor=INK, symbolStrokeColor=INK)
    seen = base.transform_filter("isValid(datum.accuracy)").encode(
        x, alt.Y("accuracy:Q", title="accuracy on validation (fraction)", scale=alt.Scale(zero=False)), color,
        strokeDash=alt.StrokeDash(
            "against:N", legend=in_ink, scale=alt.Scale(domain=["truth", "labels"], range=[[1, 0], [4, 3]])
        ),
        shape=alt.Shape(
            "against:N", legend=in_ink, scale=alt.Scale(domain=["truth", "labels"], range=["circle", "diamond"])
        ),
        detail="seed:N",
        tooltip=[
            alt.Tooltip("role:N"), alt.Tooltip("against:N"), alt.Tooltip("seed:N"),
            alt.Tooltip("fraction:Q", format=".2f"), alt.Tooltip("accuracy:Q", format=".3f"),
        ],
    )  # fmt: skip
    return alt.hconcat(
        loss.properties(width=380, height=220),
        alt.layer(chance_line(), seen.mark_line(strokeWidth=1.5), seen.mark_point(size=30)).properties(
            width=380, height=220
        ),
        data=given_rows(),
    ).properties(title=titled("Its three trainings, a line per seed"))
