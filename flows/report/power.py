"""What differences between methods a planned grid could detect, in words and as records; the numbers are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.identity.keys import JSON
from flows.plan.grid import GridConfig

if TYPE_CHECKING:
    from artifacts.results.power import Spread


class Power:
    """The smallest differences in accuracy and in PGR, with the spread that they are from."""

    def __init__(self, config: GridConfig, results: Path, spread: str | None, gap: float | None) -> None:
        """From a stated spread, or from that of earlier runs.

        Raises:
            UsageError: a spread or gap that is none, or no earlier runs to take it from.
        """
        from artifacts.results.power import earlier, smallest, stated

        self._datasets, self._seeds, self._rows = len(config.datasets), len(config.seeds), config.data.n_test
        items_per_row = 1.0
        self._spreads: Mapping[str, Spread]
        if spread is not None:
            self._spreads = stated(spread, gap)
            self._sources = dict.fromkeys(self._spreads, "as stated")
        else:
            before = earlier(results, config.datasets)
            items_per_row, self._spreads = before.items_per_row, before.spreads
            where = f"{', '.join(before.grids)}; {_counted(before.n_datasets, 'dataset')}"
            self._sources = {
                measure: f"from {_counted(before.n_differences[measure], 'difference')} of earlier runs ({where})"
                for measure in self._spreads
            }
        self._items = max(2, round(self._rows * items_per_row))
        self._smallest = {
            measure: smallest(of_measure, self._items, self._seeds, self._datasets)
            for measure, of_measure in self._spreads.items()
        }

    def records(self) -> dict[str, JSON]:
        """For programs."""
        return {
            "datasets": self._datasets,
            "seeds": self._seeds,
            "n_items": self._items,
            "spread": {
                measure: {"source": self._sources[measure], **spread._asdict()}
                for measure, spread in self._spreads.items()
            },
            "smallest": {measure: dict(found._asdict()) for measure, found in self._smallest.items()},
        }

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"smallest difference between two methods that this grid detects with power 0.8 (two-sided 0.05; "
            f"{self._items:,} test items, {_counted(self._seeds, 'seed')}, {_counted(self._datasets, 'dataset')}):"
        ]
        for measure, found in self._smallest.items():
            line = f"  {measure}: {found.on_one:.3f} on one dataset and pair"
            if found.over_all is not None:
                line += f", {found.over_all:.3f} in the mean over {self._datasets} datasets"
            lines.append(line)
        for measure, spread in self._spreads.items():
            known = f"{spread.datasets:.3f}" if spread.datasets is not None else "not known"
            lines.append(
                f"  spread of {measure} {self._sources[measure]}: items {spread.items:.3f}, "
                f"answers {spread.answers:.3f}, seeds {spread.seeds:.3f}, datasets {known}"
            )
        if "PGR" not in self._spreads:
            lines.append("  PGR: needs the gap between supervisor and ceiling, such as --gap 0.2")
        if self._seeds == 1:
            lines.append("  with one seed, luck of a training passes for a difference between methods")
        return lines


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n:,} {what}s"
