"""Chess puzzles, of which the first move of the solution is asked for; offline counterpart: ``offline.moves``.

Burns et al. 2023, section 4.1, ask for the first move alone. The rules are in ``w2s_core.rules``.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from w2s_core.data.datasets import DATASETS, Dataset, Draw, Label, RawRow, TextExample
from w2s_core.data.forms import FORMS, AnswerForm, Said, only_the_truth
from w2s_core.errors import DataError
from w2s_core.rules import PROMPT, gives_mate, legal_move, rules

if TYPE_CHECKING:
    import chess

BANDS = (1_200, 1_600, 2_000)
"""Ratings between which puzzles are scored apart."""

N_OPENING = 20
"""Half-moves by which a game is told from others where it has no name: two puzzles of one game share them."""


def board_of(about: str) -> chess.Board:
    """The position that ``TextExample.about`` of a puzzle says."""
    board: chess.Board = rules().Board(json.loads(about)["fen"])
    return board


def move_of(text: str, board: chess.Board) -> chess.Move | None:
    """The legal move that a text begins with, in UCI or in algebraic notation; numbers of moves before it are skipped.

    Spaces count for nothing where the text is no move otherwise: some tokenizers put one between letters.
    """
    said = re.sub(r"^[\s\d.…]*\.\s*", "", text).strip()
    words = said.split()
    for written in dict.fromkeys([*words[:1], "".join(words)]):
        for read, form in ((board.parse_uci, written.lower()), (board.parse_san, written)):
            try:
                move = read(form)
            except ValueError:
                continue
            if move:  # the null move is none
                return move
    return None


def in_uci(text: str, about: str) -> str:
    """The move in UCI, such as e2e4 or e7e8q; what is no legal move stays as it is."""
    move = move_of(text, board_of(about))
    return text.strip() if move is None else move.uci()


def in_san(answer: str, about: str) -> str:
    """A move in UCI in algebraic notation, as games are written down; what is no legal move stays as it is."""
    board = board_of(about)
    move = move_of(answer, board)
    return answer if move is None else board.san(move)


def solves(answer: str, truth: str, about: str) -> bool:
    """Whether it is the solution's first move; where that is mate, any mate, as the puzzle site has it."""
    if only_the_truth(answer, truth, about):
        return True
    board = board_of(about)
    return gives_mate(truth, board) and gives_mate(answer, board)


def puzzle_metrics(said: Sequence[Said]) -> Mapping[str, float | None]:
    """How often an answer is a legal move, and the very move of the solution; of mates in one; by rating."""
    boards = [board_of(one.about) for one in said]
    legal = [legal_move(one.answer, board) is not None for one, board in zip(said, boards, strict=True)]
    mates = [one for one, board in zip(said, boards, strict=True) if gives_mate(one.truth, board)]
    ratings = [json.loads(one.about).get("rating") for one in said]
    edges = [0, *BANDS, None]
    by_rating = {}
    for low, high in itertools.pairwise(edges):
        name = f"{low}_up" if high is None else f"{low}_{high}"
        right = [
            one.is_right
            for one, rating in zip(said, ratings, strict=True)
            if rating is not None and low <= rating and (high is None or rating < high)
        ]
        by_rating[f"accuracy_rating_{name}"] = _share(right)
    return {
        "legal": _share(legal),
        "exact": _share([one.answer == one.truth for one in said]),
        "mates": len(mates),
        "accuracy_mates": _share([one.is_right for one in mates]),
        "exact_mates": _share([one.answer == one.truth for one in mates]),
        **by_rating,
    }


def _share(found: Sequence[bool]) -> float | None:
    return sum(found) / len(found) if found else None


FORMS.register("uci", AnswerForm(normal=in_uci, is_right=solves, metrics=puzzle_metrics))
FORMS.register("san", AnswerForm(normal=in_uci, written=in_san, is_right=solves, metrics=puzzle_metrics))


def _puzzle(row: RawRow, draw: Draw) -> list[TextExample]:
    chess = rules()
    try:
        board = chess.Board(row["FEN"])
        # The first move is the opponent's, the position is the one after it.
        first, *solution = row["Moves"].split()
        board.push_uci(first)
        if not solution:
            return []
        answer = board.parse_uci(solution[0]).uci()
    except ValueError as error:
        raise DataError(f"FEN {row['FEN']!r} with the moves {row['Moves']!r}: {error}") from None
    game = row["GameUrl"].partition("lichess.org/")[2].partition("/")[0].partition("#")[0]
    about = json.dumps({"fen": board.fen(), "rating": row["Rating"]})
    # Where the game has no name, the position stands for it.
    return [TextExample(PROMPT.format(board.fen()), answer, game or board.epd(), about, also=board.epd())]


DATASETS.register(
    "lichess_puzzles",
    Dataset(
        hub_id="Lichess/chess-puzzles",
        # Later files have other columns.
        hub_revision="950f927767db79497dab436d873d7c743aca923d",
        splits={"train": "train[5000:]", "test": "train[:5000]"},
        setting="move",
        form="uci",
        columns={"FEN": str, "Moves": str, "Rating": Label(is_binary=False), "GameUrl": str},
        format=_puzzle,
        max_chars=200,
        licence="CC0-1.0",
        unverified="the rows on the Hub, whose columns are those of the database's CSV file at this commit",
    ),
)


def _puzzle_of_game(row: RawRow, draw: Draw) -> list[TextExample]:
    game = row["ctx"].strip()
    board = rules().Board()
    played = [move for move in re.sub(r"\d+\.+", " ", game).split() if move not in ("*", "1-0", "0-1", "1/2-1/2")]
    try:
        for move in played:
            board.push_san(move)
    except ValueError as error:
        raise DataError(f"the game {game[:80]!r}: {error}") from None
    move = move_of(row["target"], board)
    if move is None:
        raise DataError(f"the move {row['target']!r} is not legal after {game[-40:]!r}")
    about = json.dumps({"fen": board.fen()})
    return [TextExample(game, board.san(move), " ".join(played[:N_OPENING]), about, also=board.epd())]


DATASETS.register(
    "lichess_puzzles_pgn",
    Dataset(
        hub_id="EleutherAI/lichess-puzzles",
        splits={"train": "train[5000:]", "test": "train[:5000]"},
        setting="move",
        form="san",
        columns={"ctx": str, "target": str},
        format=_puzzle_of_game,
        max_chars=1_500,
        unverified="the rows; their columns are those of published code, and the first 5,000 are the test rows here",
    ),
)
