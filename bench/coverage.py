"""How often the 95 % intervals of ``pgr_by_pair`` hold the true PGR: simulated grids through the project's own SQL.

A row is answered right where a latent normal variable is positive: skill of the model, luck of its training (one draw
per model and seed), and difficulty of the row, of which a part is shared by the rows of a group, a part by all models,
and a part by all seeds of a model. Only the reading of files is left out: the SQL gets the table ``judged``.
Run: python bench/coverage.py [GRIDS per cell, 2000] [SEEDS ..., 3 5 10 2 1]
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa
from scipy.stats import norm

from artifacts.results.build import sql

WEAK, CEILING = 0.65, 0.9
N_ROWS = (500, 1_000)
GROUP_SIZES = (1, 2, 20)
NOISES = (0.0, 0.05, 0.15)
PGRS = (0.1, 0.4, 0.9)
SHARES = {"group": 0.25, "group of model": 0.1, "row": 0.25, "row of model": 0.1, "answer": 0.3}
"""Parts of the variance of a row's difficulty; they sum to 1."""
AT_A_TIME = 2_000_000
"""Rows of ``judged``."""


def answers(
    rng: np.random.Generator, n_grids: int, n_seeds: int, n_rows: int, size: int, noise: float, pgr: float
) -> np.ndarray:
    """Whether weak, transfer and ceiling are right, [models, grids, seeds, rows]."""
    accuracies = np.array([WEAK, WEAK + pgr * (CEILING - WEAK), CEILING])
    skill = norm.ppf(accuracies) * np.sqrt(1 + noise**2)  # so that the mean over trainings is the accuracy
    n_groups = n_rows // size

    def part(name: str, *shape: int) -> np.ndarray:
        return np.sqrt(SHARES[name]) * rng.standard_normal(shape, dtype=np.float32)

    def rows_of(groups: np.ndarray) -> np.ndarray:
        return np.repeat(groups, size, axis=-1)

    latent = part("answer", 3, n_grids, n_seeds, n_rows)
    latent += rows_of(part("group", 1, n_grids, 1, n_groups)) + rows_of(part("group of model", 3, n_grids, 1, n_groups))
    latent += part("row", 1, n_grids, 1, n_rows) + part("row of model", 3, n_grids, 1, n_rows)
    latent += noise * rng.standard_normal((3, n_grids, n_seeds, 1), dtype=np.float32)
    latent += skill.astype(np.float32)[:, None, None, None]
    return latent > 0


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
        connection.execute("CREATE TEMP TABLE judged AS SELECT * FROM answered")
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
    main(sys.argv[1:])
