"""How the figures look; what is in them is in ``flows.report.figures``. Without pyplot, so that any thread may draw."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


N_COLUMNS = 3
WIDEST = 14
"""Inches, however many pairs there are."""

LEAST, MOST = -0.25, 1.25
"""What a PGR axis shows at least."""


def draw_accuracy(panels: list[Panel], models: list[str]) -> Figure:
    """Over the strong model, a line of students per supervisor, from its own accuracy on; the ceilings dashed."""
    from matplotlib.figure import Figure

    place = {model: index for index, model in enumerate(models)}
    n_columns = min(len(panels), N_COLUMNS)
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(1.8 + 3.2 * n_columns, 0.6 + 3.2 * n_rows), layout="constrained")
    axes = list(figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).flat)
    for panel, axis in zip(panels, axes, strict=False):
        for weak, students in panel.students.items():
            color = f"C{place[weak]}"
            _line(axis, place, {weak: panel.weak[weak], **students}, "o-", color=color, label=weak)
            axis.plot(place[weak], panel.weak[weak], "o", color=color, mfc="white")
        _line(axis, place, panel.ceilings, "ks--", ms=4, label="ceiling")
        axis.set_xticks(range(len(models)), models, rotation=30, ha="right", fontsize=8)
        axis.set_title(f"{panel.method}, {_over(panel.n_datasets)}", fontsize=10)
        axis.grid(alpha=0.25)
    for axis in axes[::n_columns]:
        axis.set_ylabel("accuracy", fontsize=9)
    for axis in axes[len(panels) :]:
        axis.remove()
    figure.supxlabel("strong model (open circle: the supervisor itself)", fontsize=9)
    _legend(figure, axes[: len(panels)], "supervisor")
    return figure


def draw_pgr(strips: list[Strip]) -> Figure:
    """Over the pairs, a dot per dataset and a bar at the median of the sound ones; flagged ones are crosses."""
    from matplotlib.figure import Figure

    pairs = list(dict.fromkeys((strip.weak, strip.strong) for strip in strips))
    methods = list(dict.fromkeys(strip.method for strip in strips))
    sound = [pgr for strip in strips for pgr in strip.sound]
    low, high = min([LEAST, *sound]), max([MOST, *sound])
    figure = Figure(figsize=(min(4.0 + 1.1 * len(pairs), WIDEST), 4.2), layout="constrained")
    axis = figure.subplots()
    for level in (0, 1):
        axis.axhline(level, color="0.6", lw=0.8)
    width = 0.8 / len(methods)
    for strip in strips:
        nth = methods.index(strip.method)
        x = pairs.index((strip.weak, strip.strong)) + (nth + 0.5) * width - 0.4
        color = f"C{nth}"
        axis.plot([x] * len(strip.sound), strip.sound, "o", color=color, ms=4, alpha=0.6, label=strip.method)
        if strip.median is not None:
            axis.hlines(strip.median, x - 0.4 * width, x + 0.4 * width, color=color, lw=2)
        # What is not sound may be anything: it stays within what the sound ones span.
        flagged = [min(max(pgr, low), high) for pgr in strip.unstable] + [low] * bool(strip.n_undefined)
        axis.plot([x] * len(flagged), flagged, "x", color=color, ms=5, alpha=0.8)
    axis.plot([], [], "x", color="0.4", label="flagged; at the edge:\nbeyond it, or undefined")
    names = [f"{weak}\n→ {strong}" for weak, strong in pairs]
    axis.set_xticks(range(len(pairs)), names, rotation=30, ha="right", fontsize=8)
    axis.set_xlim(-0.5, len(pairs) - 0.5)
    axis.set_ylabel("performance gap recovered", fontsize=9)
    margin = 0.04 * (high - low)
    axis.set_ylim(low - margin, high + margin)
    axis.set_title(f"{len(sound)} sound, {_n_flagged(strips)} flagged", fontsize=10)
    axis.grid(axis="y", alpha=0.25)
    _legend(figure, [axis], "method")
    return figure


def _line(axis: Axes, place: Mapping[str, int], values: Mapping[str, float], *style: Any, **more: Any) -> None:
    """A line from weak to strong models."""
    known = sorted(values, key=place.__getitem__)
    axis.plot([place[model] for model in known], [values[model] for model in known], *style, **more)


def _legend(figure: Figure, axes: list[Axes], title: str) -> None:
    """One legend for all axes, beside them."""
    entries = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        entries.values(), entries.keys(), title=title, loc="outside right upper", fontsize=8, title_fontsize=8
    )


def _over(n_datasets: int) -> str:
    return "one dataset" if n_datasets == 1 else f"median of {n_datasets} datasets"


def _n_flagged(strips: list[Strip]) -> int:
    return sum(len(strip.unstable) + strip.n_undefined for strip in strips)


class Panel(NamedTuple):
    """Accuracies with one method, medians over datasets."""

    method: str
    n_datasets: int
    """Those in which every pair is done; others would move one point of a line and not the next."""
    weak: Mapping[str, float]
    """Supervisor to its own accuracy."""
    students: Mapping[str, Mapping[str, float]]
    """Supervisor to strong model to the accuracy of the student."""
    ceilings: Mapping[str, float]


class Strip(NamedTuple):
    """PGRs of one pair with one method, a number per dataset."""

    weak: str
    strong: str
    method: str
    sound: list[float]
    unstable: list[float]
    n_undefined: int

    @property
    def median(self) -> float | None:
        """Of the sound ones, as in all tables."""
        return median(self.sound) if self.sound else None
