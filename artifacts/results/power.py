"""The smallest difference between two methods that a grid could detect, from how much such differences vary.

How methods are compared, which is what has this power, is in ``comparisons.py`` and ``intervals.sql``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean, variance
from typing import Any, NamedTuple

from artifacts.errors import UsageError
from artifacts.results.comparisons import asked, differences
from artifacts.results.query import reading

POWER = 0.8
ALPHA = 0.05
"""Two-sided."""

MEASURES = ("accuracy", "PGR")


class Spread(NamedTuple):
    """How much a difference between methods varies, as standard deviations in units of its measure.

    ``items`` is from test item to test item whatever the seed, ``answers`` what is left of an item and a seed,
    ``seeds`` from seed to seed, and ``datasets`` of the true differences from dataset to dataset; None where it is
    not known.
    """

    items: float
    answers: float
    seeds: float
    datasets: float | None


class Earlier(NamedTuple):
    """What earlier runs say of the spread, by measure; of how many differences, by measure; and where they are from."""

    spreads: Mapping[str, Spread]
    n_differences: Mapping[str, int]
    grids: Sequence[str]
    n_datasets: int
    items_per_row: float


class Smallest(NamedTuple):
    """The smallest differences that would be detected: on one dataset, and in the mean over all, if there are more."""

    on_one: float
    over_all: float | None


def earlier(path: Path, datasets: Collection[str]) -> Earlier:
    """The spread of the differences from the first method of each grid in the results.

    Args:
        path: the results.
        datasets: those to look at; all, if the results have none of them.

    Raises:
        UsageError: the results have no two methods to compare, or not on two seeds.
    """
    columns = "measure, grid, dataset, method, difference, n_items, n_seeds, n_rows, parts"
    try:
        with reading(path) as connection:
            differences(connection, asked(connection, path, None, ()))
            rows = connection.sql(f"SELECT {columns} FROM differences ORDER BY position").to_arrow_table().to_pylist()
    except UsageError as error:
        raise UsageError(f"how much differences between methods vary is not known ({error}); {STATE_IT}") from error
    several = [row for row in rows if row["n_seeds"] > 1]
    chosen = [row for row in several if row["dataset"] in datasets] or several
    if not chosen:
        raise UsageError(f"how much seeds vary is not known: no earlier run compares methods on two seeds; {STATE_IT}")
    by_measure = {measure: [row for row in chosen if row["measure"] == measure] for measure in MEASURES}
    return Earlier(
        {measure: _spread(of_measure) for measure, of_measure in by_measure.items() if of_measure},
        {measure: len(of_measure) for measure, of_measure in by_measure.items()},
        list(dict.fromkeys(row["grid"] for row in chosen)),
        len({row["dataset"] for row in chosen}),
        fmean(row["n_items"] / row["n_rows"] for row in chosen),
    )


STATE_IT = "state it as --spread ITEMS,SEEDS,DATASETS, such as --spread 0.4,0.01,0.02"


def stated(text: str, gap: float | None) -> dict[str, Spread]:
    """The spread that ``--spread`` states of accuracies, and of PGR over a gap; items vary alike in every seed.

    Raises:
        UsageError: not three numbers from 0, or a gap that is not above 0 and at most 1.
    """
    try:
        items, seeds, datasets = (float(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"--spread {text!r}: three standard deviations are wanted; {STATE_IT}") from None
    if not all(0 <= value <= 1 for value in (items, seeds, datasets)) or items + seeds == 0:
        raise UsageError(f"--spread {text!r}: each is a fraction from 0 to 1, items and seeds not both 0; {STATE_IT}")
    spreads = {"accuracy": Spread(items, 0.0, seeds, datasets)}
    if gap is not None:
        if not 0 < gap <= 1:
            raise UsageError(
                f"--gap {gap:g}: accuracy of the ceiling less that of the supervisor, above 0 and at most 1"
            )
        spreads["PGR"] = Spread(items / gap, 0.0, seeds / gap, datasets / gap)
    return spreads


def smallest(spread: Spread, n_items: int, n_seeds: int, n_datasets: int) -> Smallest:
    """The smallest difference found with a probability of ``POWER`` by a test at ``ALPHA``.

    On one dataset the test is whether the interval of ``crossed`` has 0 in it; with one seed, that knows of items
    alone. Over datasets it is Student's, of their differences.
    """
    inter = spread.answers**2 / (n_items * n_seeds)
    parts = [spread.items**2 / n_items + inter, spread.seeds**2 / n_seeds + inter, -inter]
    freedoms = [n_items - 1, n_seeds - 1, (n_items - 1) * (n_seeds - 1)]
    if n_seeds == 1:
        parts, freedoms = parts[:1], freedoms[:1]
    over_all = None
    if n_datasets > 1 and spread.datasets is not None:
        # However many seeds, differences of datasets show how they vary.
        of_dataset = spread.datasets**2 + spread.items**2 / n_items + inter + spread.seeds**2 / n_seeds
        over_all = _detected(n_datasets - 1) * (of_dataset / n_datasets) ** 0.5
    return Smallest(_detected(_freedom(parts, freedoms)) * sum(parts) ** 0.5, over_all)


def _spread(rows: Sequence[Mapping[str, Any]]) -> Spread:
    """Components of variance, each a mean over differences, so that chance in one is not cut off at 0."""
    items, answers, seeds, errors = [], [], [], []
    by_method: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        n, s = row["n_items"], row["n_seeds"]
        by_items, by_seeds, by_both = row["parts"]
        inter = -by_both * n * s
        items.append(by_items * n - inter / s)
        seeds.append(by_seeds * s - inter / n)
        answers.append(inter)
        errors.append(by_items + by_seeds + by_both)
        by_method[row["grid"], row["method"]][row["dataset"]].append(row["difference"])
    means = [[fmean(values) for values in by_dataset.values()] for by_dataset in by_method.values()]
    several = [(variance(of_method), len(of_method) - 1) for of_method in means if len(of_method) > 1]
    datasets = None
    if several:
        observed = sum(value * df for value, df in several) / sum(df for _, df in several)
        datasets = _root(observed - fmean(errors))
    return Spread(_root(fmean(items)), _root(fmean(answers)), _root(fmean(seeds)), datasets)


def _root(value: float) -> float:
    return math.sqrt(max(value, 0.0))


def _freedom(parts: Sequence[float], freedoms: Sequence[int]) -> float:
    """Degrees of freedom at which Student's quantile is the one that ``crossed`` takes."""
    from scipy import optimize, stats

    total, z2 = sum(parts), stats.norm.ppf(1 - ALPHA / 2) ** 2
    if total == 0:
        return float(freedoms[0])  # nothing varies, and any difference is found
    t2 = z2 + sum(
        min(max(part / total, 0), 1) ** 2 * (stats.t.ppf(1 - ALPHA / 2, df) ** 2 - z2)
        for part, df in zip(parts, freedoms, strict=True)
    )
    most = float(max(freedoms))
    if stats.t.ppf(1 - ALPHA / 2, most) ** 2 >= t2:
        return most
    if stats.t.ppf(1 - ALPHA / 2, 1) ** 2 <= t2:
        return 1.0
    return float(optimize.brentq(lambda df: stats.t.ppf(1 - ALPHA / 2, df) ** 2 - t2, 1, most))


def _detected(df: float) -> float:
    """How many standard errors a difference has to be for a t test to find it."""
    from scipy import optimize, stats

    critical = stats.t.ppf(1 - ALPHA / 2, df)
    # On the wrong side it is never found with a probability worth counting.
    return float(optimize.brentq(lambda shift: stats.nct.sf(critical, df, shift) - POWER, 0.1, 2 * critical + 2))
