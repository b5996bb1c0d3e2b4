"""Chess: real puzzles, models pretrained on positions of generated games, and supervisors that are a chess engine.

As Burns et al. 2023, section 4.1, in small: students learn the first moves that Stockfish finds at three strengths, or
that smaller models find. Labels the rows, runs the grid in a home of its own under FOLDER, and prints in Markdown, for
each pair: accuracies, PGR with its interval, the student's share of legal moves, what it answers before any training,
test items and seeds.

    python bench/puzzles.py ROWS FOLDER [--seeds 3] [--n-train 700] [--engine /usr/games/stockfish]

where ROWS holds lichess_puzzles/{train,test}.parquet in the Hub's columns. Needs the extra ``chess``. What is there
already is not made again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import duckdb
import tomli_w
from commands import w2s
from stockfish_labels import ENGINE
from tabulate import tabulate

STRENGTHS = {
    "skill-0": ["--skill", "0", "--depth", "5"],
    "one-node": ["--nodes", "1"],
    "depth-8": ["--depth", "8"],
}
"""Supervisor to what its engine is told, weakest first."""

LADDER = ("chess-s", "chess-m", "chess-l")

HEADINGS = (
    "supervisor",
    "student",
    "labels",
    "student's",
    "ceiling",
    "PGR",
    "before training",
    "legal",
    "items",
    "seeds",
)

TABLE = """
    WITH
        legal AS (
            SELECT model AS strong, supervisor AS weak, avg((metrics ->> 'legal')::DOUBLE) AS legal
            FROM nodes WHERE stage = 'score' GROUP BY ALL
        ),
        asked AS (
            SELECT weak, strong, transfer_acc AS zero_shot FROM pgr_by_pair
            WHERE grid = 'puzzles' AND method = 'zero_shot'
        )
    SELECT
        weak, strong, supervisor_acc, transfer_acc, ceiling_acc,
        coalesce(flag, format('{:.2f} ({:.2f} to {:.2f})', pgr, pgr_low, pgr_high)), zero_shot, legal, n_items, n_seeds
    FROM pgr_by_pair JOIN asked USING (weak, strong) LEFT JOIN legal USING (weak, strong)
    WHERE grid = 'puzzles' AND method = 'xent'
    ORDER BY strong, weak
"""


def main() -> None:
    """See the first lines of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n-train", type=int, default=700, help="of both halves together")
    parser.add_argument("--engine", default=ENGINE)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    home = given.folder / "home"
    grid = {
        "name": "puzzles",
        "datasets": ["lichess_puzzles"],
        "source": str(given.rows.absolute()),
        "models": "offline-chess",
        "methods": ["xent", "zero_shot"],
        "seeds": list(range(given.seeds)),
        "data": {"n_train": given.n_train, "n_validation": 80, "n_test": 300, "allow_fewer": True},
        "training": {"epochs": 5, "warmup_frac": 0.1},
    }
    path = given.folder / "puzzles.toml"
    path.write_text(tomli_w.dumps(grid), encoding="utf-8")
    rows = given.folder / "rows.csv"
    w2s(home, "show", "lichess_puzzles", "--ids", "--grid", str(path), "--output", str(rows))
    supervisors = []
    for name, strength in STRENGTHS.items():
        labels = given.folder.absolute() / f"{name}.csv"
        # Labels of a skill below 20 are others each time: the file is what the keys know.
        if not labels.exists():
            script = Path(__file__).with_name("stockfish_labels.py")
            command = [sys.executable, script, rows, labels, "--engine", given.engine, *strength]
            subprocess.run(command, check=True)
        supervisors.append({"name": name, "kind": "labels", "path": str(labels)})
    pairs = [[weak, strong] for weak in STRENGTHS for strong in LADDER]
    pairs += [[weak, strong] for i, weak in enumerate(LADDER) for strong in LADDER[i + 1 :]]
    path.write_text(tomli_w.dumps({**grid, "supervisors": supervisors, "pairs": pairs}), encoding="utf-8")
    w2s(home, "run", str(path))
    with duckdb.connect(home / "results.duckdb", read_only=True) as results:
        print(tabulate(results.execute(TABLE).fetchall(), HEADINGS, tablefmt="github", floatfmt=".3f"))


if __name__ == "__main__":
    main()
