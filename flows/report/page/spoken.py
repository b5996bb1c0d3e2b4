"""Some transcripts for the page, of rows that a judge got right and of rows that he got wrong, chosen by a hash.

They are plain texts, whatever they say; how they are put on the page so that they stay texts is in ``page.py``.
"""

from __future__ import annotations

from typing import Any

from artifacts.errors import W2sError
from artifacts.results.query import run_query
from flows.home import Home
from flows.report.transcripts import read_transcripts

N_OF_EACH = 3
"""Right ones, and wrong ones, of a dataset."""

LONGEST = 2_000
"""Letters of a text on the page."""

CHOSEN = """
    WITH judges AS (
        SELECT dataset, weak AS supervisor, seed, supervisor_score AS score
        FROM pairs SEMI JOIN heard ON heard.score = supervisor_score
        WHERE grid = $grid
        QUALIFY row_number() OVER (PARTITION BY dataset ORDER BY position) = 1
    ),
    read AS (
        SELECT DISTINCT ON (judges.dataset, texts.id)
            judges.dataset, supervisor, texts.seed, texts.key, texts.id, "right"
        FROM judges
        JOIN heard USING (score)
        JOIN predictions ON predictions.key = score
        JOIN texts ON texts.key = heard.key AND texts.id = predictions.id
        ORDER BY texts.seed
    )
    FROM read
    QUALIFY row_number() OVER (PARTITION BY dataset, "right" ORDER BY md5(id)) <= $n
    ORDER BY dataset, "right" DESC, md5(id)
"""
"""Of the first judge of each dataset who reads transcripts, and of his first transcripts."""


def spoken(home: Home, grid: str) -> list[dict[str, Any]]:
    """Rows with ``dataset``, ``supervisor``, ``seed``, ``id``, ``right``, ``text``, ``truth`` and ``turns``.

    None where no judge of the grid reads transcripts, or where the store that has them is not at hand.
    """
    chosen = run_query(home.results, CHOSEN, {"grid": grid, "n": N_OF_EACH}).to_pylist()
    if not chosen:
        return []
    found: dict[tuple[str, str], dict[str, Any]] = {}
    try:
        store = home.open_store()
        for key in {row["key"] for row in chosen}:
            manifest = store.get("transcripts", key)
            ids = [row["id"] for row in chosen if row["key"] == key]
            if manifest is not None:
                found |= {(key, said["id"]): said for said in read_transcripts(store, manifest, ids)}
    except W2sError:  # the numbers can be looked at where the store cannot
        return []
    return [_shown(row, found[row["key"], row["id"]]) for row in chosen if (row["key"], row["id"]) in found]


def _shown(row: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    turns = [
        {
            "role": turn["role"],
            "claim": turn["claim"],
            "is_true": turn["side"] == said["gt_label"],
            "text": turn["text"][:LONGEST],
            "is_cut": turn["is_cut"] or len(turn["text"]) > LONGEST,
        }
        for turn in said["turns"]
    ]
    known = {name: row[name] for name in ("dataset", "supervisor", "seed", "id", "right")}
    return {**known, "text": said["text"][:LONGEST], "truth": said["truth"], "turns": turns}
