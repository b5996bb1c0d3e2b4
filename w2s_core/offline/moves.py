"""Generated chess puzzles: games of random moves, up to where a piece can be taken for nothing, or to a mate in one.

They are verified by the package ``chess``. There is one such move alone, or any of several mates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_core.offline.rows import OFFLINE
from w2s_core.offline.world import World, below
from w2s_core.rules import gives_mate, legal_moves, rules

if TYPE_CHECKING:
    import chess

LEAST, MOST = 6, 24
"""Half-moves of a game before the puzzle."""

RATINGS = {5: 1_900, 3: 1_500, 2: 1_300, 4: 1_000}
"""Of puzzles by what is won: a queen, a knight, a bishop, a rook; the numbers of the package ``chess``."""

OF_MATE = 2_100


def solution(board: chess.Board) -> tuple[chess.Move, int] | None:
    """The move that solves a position, and its rating; None where there is none, or not one alone."""
    if mates := [move for move in board.legal_moves if gives_mate(move.uci(), board)]:
        return mates[0], OF_MATE
    them = not board.turn
    won = [
        (board.piece_type_at(move.to_square), move)
        for move in board.generate_legal_captures()
        if board.piece_type_at(move.to_square) in RATINGS and not board.is_attacked_by(them, move.to_square)
    ]
    if len(won) != 1:
        return None
    [(piece, move)] = won
    return move, RATINGS[piece or 0]


def puzzle(rng: np.random.Generator) -> tuple[chess.Board, chess.Move, int]:
    """A position with its game, the move that solves it, and a rating."""
    while True:
        board = rules().Board()
        while not board.is_game_over() and board.ply() < MOST:
            moves = legal_moves(board)
            board.push(moves[below(len(moves), rng)])
            if board.ply() >= LEAST and (found := solution(board)) is not None:
                return board, *found


@OFFLINE.register("lichess_puzzles")
def _lichess_puzzles(world: World, rng: np.random.Generator) -> dict[str, Any]:
    board, move, rating = puzzle(rng)
    last = board.pop()
    return {"FEN": board.fen(), "Moves": f"{last.uci()} {move.uci()}", "Rating": rating, "GameUrl": ""}


@OFFLINE.register("lichess_puzzles_pgn")
def _lichess_puzzles_pgn(world: World, rng: np.random.Generator) -> dict[str, Any]:
    board, move, _ = puzzle(rng)
    return {"ctx": rules().Board().variation_san(board.move_stack), "target": board.san(move)}
