"""Labels of chess puzzles by Stockfish, a supervisor of any strength: a file for the supervisor kind ``labels``.

    w2s show lichess_puzzles --ids --grid GRID --output rows.csv
    python bench/stockfish_labels.py rows.csv labels.csv --depth 8

and in the grid:

    supervisors = [{name = "depth-8", kind = "labels", path = "labels.csv"}]

One thread and a cleared hash for each position, so that ``--depth`` or ``--nodes`` give the same file whenever they are
run with the same version of the engine. ``--skill`` below 20 draws moves by the clock: there the file itself is the
record, and its digest is in the key of all that learns from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import chess
import chess.engine
import pyarrow as pa
import pyarrow.csv as csv

from w2s_core.data.moves import board_of

ENGINE = "/usr/games/stockfish"
"""Where Debian puts it."""


def label(rows: pa.Table, path: str, limit: chess.engine.Limit, skill: int | None) -> pa.Table:
    """id and answer, a move in UCI, of rows with id and about."""
    answers = []
    with chess.engine.SimpleEngine.popen_uci(path) as engine:
        engine.configure({"Threads": 1, "Hash": 16, **({} if skill is None else {"Skill Level": skill})})
        for position, about in enumerate(rows["about"].to_pylist()):
            # Another game for each, before which the engine forgets what it has found.
            played = engine.play(board_of(about), limit, game=position)
            answers.append(played.move.uci() if played.move else "")
        print(f"{engine.id.get('name', path)}: {len(answers)} moves")
    return pa.table({"id": rows["id"], "answer": pa.array(answers, pa.string())})


def main() -> None:
    """See the first lines of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, help="what `w2s show --ids` wrote, as CSV")
    parser.add_argument("labels", type=Path, help="the CSV file to write")
    parser.add_argument("--engine", default=ENGINE)
    parser.add_argument("--depth", type=int)
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--skill", type=int, help="0 to 20")
    given = parser.parse_args()
    if given.depth is None and given.nodes is None:
        parser.error("--depth or --nodes: one of them ends the search")
    rows = csv.read_csv(given.rows, convert_options=csv.ConvertOptions(column_types={"id": pa.string()}))
    limit = chess.engine.Limit(depth=given.depth, nodes=given.nodes)
    csv.write_csv(label(rows, given.engine, limit, given.skill), given.labels)


if __name__ == "__main__":
    main()
