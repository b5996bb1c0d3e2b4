"""How often 95 % intervals hold the truth: of a PGR, of paired differences of methods, of the median over datasets.

Simulated grids go through the project's own SQL.

A row is answered right where a latent normal variable is positive: skill of the model, luck of its training (one draw
per model and seed), and difficulty of the row, of which a part is shared by the rows of a group, a part by all models,
and a part by all seeds of a model. Only the reading of files is left out: the SQL gets the table ``judged``.
Run: python bench/coverage.py [GRIDS per cell, 2000] [SEEDS ..., 3 5 10 2 1], of a PGR
     python bench/coverage.py methods [GRIDS per cell, 2000] [SEEDS ..., 3 5 10], of differences and medians
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from scipy.stats import norm

from artifacts.results.landing import sql

WEAK, CEILING = 0.65, 0.9
N_ROWS = (500, 1_000)
GROUP_SIZES = (1, 2, 20)
NOISES = (0.0, 0.05, 0.15)
PGRS = (0.1, 0.4, 0.9)
SHARES = {"group": 0.25, "group of model": 0.1, "row": 0.25, "row of model": 0.1, "answer": 0.3}
"""Parts of the variance of a row's difficulty; they sum to 1."""
BETTER = 0.1
"""What the PGR of a method exceeds that of its reference by."""
SPREAD = 0.15
"""Standard deviation of the PGR of a method over datasets, about their median."""
HIGHEST = 1.35
"""PGR at which the accuracy is nearly 1."""
N_DATASETS = 22
AT_A_TIME = 2_000_000
"""Rows of ``judged``."""


def answers(
    rng: np.random.Generator,
    n_grids: int,
    n_seeds: int,
    n_rows: int,
    size: int,
    noise: float,
    *pgrs: float | np.ndarray,
) -> np.ndarray:
    """Whether weak, a transfer for each of ``pgrs`` and ceiling are right, [models, grids, seeds, rows].

    PGRs are of all grids, or of each.
    """
    accuracies = np.stack(np.broadcast_arrays(np.full(n_grids, WEAK), *(at(pgr) for pgr in pgrs), CEILING))
    n_models = len(accuracies)
    skill = norm.ppf(accuracies) * np.sqrt(1 + noise**2)  # so that the mean over trainings is the accuracy
    n_groups = n_rows // size

    def part(name: str, *shape: int) -> np.ndarray:
        return np.sqrt(SHARES[name]) * rng.standard_normal(shape, dtype=np.float32)

    def rows_of(groups: np.ndarray) -> np.ndarray:
        return np.repeat(groups, size, axis=-1)

    latent = part("answer", n_models, n_grids, n_seeds, n_rows)
    latent += rows_of(part("group", 1, n_grids, 1, n_groups))
    latent += rows_of(part("group of model", n_models, n_grids, 1, n_groups))
    latent += part("row", 1, n_grids, 1, n_rows) + part("row of model", n_models, n_grids, 1, n_rows)
    latent += noise * rng.standard_normal((n_models, n_grids, n_seeds, 1), dtype=np.float32)
    latent += skill.astype(np.float32)[:, :, None, None]
    return latent > 0


def at(pgr: float | np.ndarray) -> float | np.ndarray:
    """The accuracy at a PGR."""
    return WEAK + pgr * (CEILING - WEAK)


def intervals(right: np.ndarray, size: int) -> list[tuple[float | None, float | None, str | None]]:
    """Ends of the interval and flag of each grid, as the results have them."""
    _, n_grids, n_seeds, _ = right.shape
    grid, seed, row = (index.ravel() for index in np.indices(right.shape[1:]))
    weak, transfer, ceiling = (pa.array(of_model.ravel()) for of_model in right)
    answered = pa.table(
        {
            "position": grid * n_seeds + seed, "item": row // size,
            "weak_right": weak, "transfer_right": transfer, "ceiling_right": ceiling,
        }
    )  # fmt: skip
    with duckdb.connect() as connection:
        connection.execute(sql("schema"))
        connection.execute(sql("intervals"))
        connection.execute(
            "INSERT INTO pairs BY NAME SELECT position, 'grid' AS grid, printf('%05d', position // $seeds) AS dataset, "
            "'w' AS weak, 's' AS strong, 'm' AS method, position % $seeds AS seed, 'w' || position AS weak_score, "
            "'t' || position AS transfer_score, 'c' || position AS ceiling_score FROM range($n) AS r(position)",
            {"seeds": n_seeds, "n": n_grids * n_seeds},
        )
        scores = {kind: np.char.add(kind, np.arange(n_grids * n_seeds).astype(str)) for kind in "wtc"}
        accuracy = right.mean(axis=-1).reshape(3, -1)
        made = pa.table({"key": np.concatenate(list(scores.values())), "accuracy": accuracy.ravel()})
        connection.register("made", made)
        connection.execute("INSERT INTO scores BY NAME SELECT * FROM made")
        connection.register("answered", answered)
        connection.execute(
            "CREATE TEMP TABLE judged AS "
            "SELECT *, NULL::BOOLEAN AS agrees, NULL::BOOLEAN AS supervisor_right FROM answered"
        )
        connection.execute(sql("uncertainty"))
        connection.execute(sql("views"))
        return connection.execute("SELECT pgr_low, pgr_high, flag FROM pgr_by_pair ORDER BY dataset").fetchall()


def covered(cell: tuple[int, int, float, float], n_seeds: int, n_grids: int) -> tuple[float, float]:
    """Share of intervals that hold the true PGR, among those that are given, and share of pairs that are flagged."""
    n_rows, size, noise, pgr = cell
    rng = np.random.default_rng([n_seeds, n_rows, size, round(100 * noise), round(100 * pgr)])
    found: list[tuple[float | None, float | None, str | None]] = []
    while len(found) < n_grids:
        n = min(n_grids - len(found), max(1, AT_A_TIME // (n_seeds * n_rows)))
        found += intervals(answers(rng, n, n_seeds, n_rows, size, noise, pgr), size)
    given = [(low, high) for low, high, flag in found if flag is None and low is not None and high is not None]
    hold = sum(low <= pgr <= high for low, high in given)
    return hold / max(len(given), 1), 1 - len(given) / len(found)


class Ratios(NamedTuple):
    """What ``crossed`` says of each grid: ratio and interval, and whether the whole is told from none."""

    ratio: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_sound: np.ndarray

    def share(self, truth: float | np.ndarray, among: np.ndarray) -> float:
        """How many of the intervals hold the truth."""
        return float(np.mean(((self.low <= truth) & (truth <= self.high))[among]))


def ratios(part: np.ndarray, whole: np.ndarray) -> Ratios:
    """The project's intervals of part / whole, each [grids, seeds, rows]."""
    pair, seed, item = (index.ravel() for index in np.indices(part.shape))
    sums = pa.table(
        {
            "pair": pair, "seed": seed, "item": item, "n_rows": np.ones(part.size, np.int64),
            "part": part.ravel().astype(float), "whole": whole.ravel().astype(float),
        }
    )  # fmt: skip
    with duckdb.connect() as connection:
        connection.execute(sql("schema"))
        connection.execute(sql("intervals"))
        connection.register("sums", sums)
        found = connection.sql(
            "SELECT ratio, low, high, coalesce(low IS NOT NULL AND whole >= least_whole, false) AS sound "
            "FROM crossed('sums') ORDER BY pair"
        ).fetchnumpy()
    ends = (np.ma.filled(found[name].astype(float), np.nan) for name in ("ratio", "low", "high"))
    return Ratios(*ends, np.asarray(found["sound"], dtype=bool))


def medians_held(pgrs: np.ndarray, truth: float, n_grids: int, rng: np.random.Generator) -> float:
    """How many intervals of the median hold the truth, of grids whose datasets are drawn from those with ``pgrs``."""
    drawn = np.stack([rng.choice(pgrs, N_DATASETS, replace=False) for _ in range(n_grids)])
    grid, dataset = (index.ravel() for index in np.indices(drawn.shape))
    given = pa.table({"grid": grid, "method": np.zeros_like(grid), "dataset": dataset, "value": drawn.ravel()})
    with duckdb.connect() as connection:
        connection.execute(sql("schema"))
        connection.execute(sql("intervals"))
        connection.register("given", given)
        rows = connection.sql("SELECT median_low, median_high FROM over_datasets('given')").fetchnumpy()
    return float(np.mean((rows["median_low"] <= truth) & (truth <= rows["median_high"])))


def compared(n_seeds: int, n_rows: int, noise: float, pgr: float, n_grids: int) -> tuple[float, float, float, float]:
    """Shares of intervals that hold the truth: of differences in accuracy and in PGR, and of the median; flagged."""
    rng = np.random.default_rng([n_seeds, n_rows, round(100 * noise), round(100 * pgr)])
    found: list[tuple[Ratios, Ratios, Ratios]] = []
    n_left = n_grids
    while n_left > 0:
        n = min(n_left, max(1, AT_A_TIME // (n_seeds * n_rows)))
        n_left -= n
        own = np.clip(rng.normal(pgr, SPREAD, n), pgr - 3 * SPREAD, min(pgr + 3 * SPREAD, HIGHEST - BETTER))
        right = answers(rng, n, n_seeds, n_rows, 1, noise, own, own + BETTER)
        weak, reference, method, ceiling = right.astype(np.int8)
        found.append(
            (
                ratios(method - reference, np.ones_like(weak)),
                ratios(method - reference, ceiling - weak),
                ratios(reference - weak, ceiling - weak),
            )
        )
    accuracy, recovered, own_pgr = (
        Ratios(*map(np.concatenate, zip(*of_one, strict=True))) for of_one in zip(*found, strict=True)
    )
    sound = own_pgr.is_sound & recovered.is_sound
    everywhere = np.ones(n_grids, dtype=bool)
    return (
        accuracy.share(BETTER * (CEILING - WEAK), everywhere),
        recovered.share(BETTER, sound),
        medians_held(own_pgr.ratio[own_pgr.is_sound], pgr, n_grids, rng),
        1 - float(np.mean(sound)),
    )


def methods(arguments: Sequence[str]) -> None:
    """Print a table in Markdown of differences and medians."""
    n_grids, *seeds = [int(argument) for argument in arguments] or [2_000]
    kinds = ("accuracy", "PGR", "median")
    print("| seeds | rows | noise |", *(f"{kind} at {pgr} |" for kind in kinds for pgr in PGRS), "flagged at most |")
    print("|---" * (4 + len(kinds) * len(PGRS)) + "|")
    for n_seeds, n_rows, noise in itertools.product(seeds or (3, 5, 10), N_ROWS, NOISES):
        cells = [compared(n_seeds, n_rows, noise, pgr, n_grids) for pgr in PGRS]
        shown = " | ".join(f"{100 * cell[kind]:.1f}" for kind in range(3) for cell in cells)
        flagged = max(cell[3] for cell in cells)
        print(f"| {n_seeds} | {n_rows:,} | {noise} | {shown} | {flagged:.1%} |", flush=True)


def main(arguments: Sequence[str]) -> None:
    """Print a table in Markdown, a line as soon as it is known."""
    n_grids, *seeds = [int(argument) for argument in arguments] or [2_000]
    print("| seeds | rows | rows per group | noise | PGR 0.1 | PGR 0.4 | PGR 0.9 | flagged at most |")
    print("|---|---|---|---|---|---|---|---|")
    for n_seeds in seeds or (3, 5, 10, 2, 1):
        for n_rows, size, noise in itertools.product(N_ROWS, GROUP_SIZES, NOISES):
            cells = [covered((n_rows, size, noise, pgr), n_seeds, n_grids) for pgr in PGRS]
            shown = " | ".join(f"{100 * share:.1f}" for share, _ in cells)
            flagged = max(share for _, share in cells)
            print(f"| {n_seeds} | {n_rows:,} | {size} | {noise} | {shown} | {flagged:.1%} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["methods"]:
        methods(sys.argv[2:])
    else:
        main(sys.argv[1:])
