"""The rules of chess: the package ``chess``, which is GPL-3.0 and an extra, and what puzzles need besides.

Imported where a board is, so that nothing else asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from w2s_core.errors import DataError

if TYPE_CHECKING:
    import chess

PROMPT = "{}\nMove:"
"""Asks for a move in a position, which is given as FEN."""

NOT_INSTALLED = "chess puzzles need the package chess (GPL-3.0): pip install 'w2s[chess]'"


def rules() -> Any:
    """The package.

    Raises:
        DataError: it is not installed.
    """
    try:
        import chess
    except ModuleNotFoundError:
        raise DataError(NOT_INSTALLED) from None
    return chess


def legal_moves(board: chess.Board) -> list[chess.Move]:
    """All of them, in an order that is the same whatever found them."""
    return sorted(board.legal_moves, key=lambda move: move.uci())


def legal_move(answer: str, board: chess.Board) -> chess.Move | None:
    """The move that is written in UCI; None where it is not legal, or none."""
    try:
        move = board.parse_uci(answer)
    except ValueError:
        return None
    return move or None


def gives_mate(answer: str, board: chess.Board) -> bool:
    """Whether a legal move in UCI ends the game at once."""
    move = legal_move(answer, board)
    if move is None:
        return False
    board.push(move)
    is_mate = board.is_checkmate()
    board.pop()
    return bool(is_mate)
