"""The corpus ``positions``: positions of generated chess games, each with a move that a simple player finds.

The games are played at random in half of their moves, and by the player in the others, so that pieces are lost and won.
What is learned is the move alone. The tokenizer reads letter by letter, and a board square by square: the digits that
count empty squares are written out, so that a square has the same place in every position.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from w2s_core.config import PretrainConfig
from w2s_core.errors import DataError
from w2s_core.offline.corpora import CORPORA, Corpus, Lines
from w2s_core.offline.world import EOS, PAD, UNK, World, below, stream
from w2s_core.rules import PROMPT, legal_moves, rules

if TYPE_CHECKING:
    import chess
    from transformers import PreTrainedTokenizerFast

LETTERS = " \n.:/-0123456789abcdefghijklmnopqrstuvwxyzBKMNPQR"
"""Of positions, moves and prompts."""

IN_BOARD = r"(?=\S* [wb] )"
"""What stands in the first field of a position: the side to move comes after it."""

LONGEST_GAME = 80
"""Half-moves."""
LONGEST = 96
"""Tokens of a position, its prompt and its move."""
BY_PLAYER = 0.5
"""Share of the moves of a game."""

VALUES = {1: 1.0, 2: 3.0, 3: 3.0, 4: 5.0, 5: 9.0, 6: 0.0}
"""Of pieces, by the numbers of the package ``chess``: pawn, knight, bishop, rook, queen, king."""
MATE = 100.0


def gain(board: chess.Board, move: chess.Move) -> float:
    """What a move takes and promotes to, less what it leaves to be taken where it goes, in pawns; much for a mate."""
    taken = 1 if board.is_en_passant(move) else board.piece_type_at(move.to_square)
    mover = move.promotion or board.piece_type_at(move.from_square) or 1
    found = VALUES[taken] if taken else 0.0
    found += VALUES[move.promotion] - VALUES[1] if move.promotion else 0.0
    board.push(move)
    if board.is_check() and board.is_checkmate():
        found = MATE
    elif board.is_attacked_by(board.turn, move.to_square):
        found -= VALUES[mover]
    board.pop()
    return found


def best(board: chess.Board, rng: np.random.Generator) -> chess.Move:
    """A move with the largest gain, any of them."""
    moves = legal_moves(board)
    gains = [gain(board, move) for move in moves]
    found = [move for move, value in zip(moves, gains, strict=True) if value == max(gains)]
    return found[below(len(found), rng)]


def positions(seed: int) -> Iterator[tuple[str, str]]:
    """Positions without end as FEN, each with the player's move in UCI."""
    chess = rules()
    rng = stream("positions", seed)
    while True:
        board = chess.Board()
        while not board.is_game_over() and board.ply() < LONGEST_GAME:
            move = best(board, rng)
            yield board.fen(), move.uci()
            if rng.random() >= BY_PLAYER:
                moves = legal_moves(board)
                move = moves[below(len(moves), rng)]
            board.push(move)


def lines(world: World, config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> Lines:
    """One position a sequence, of which the loss asks for the move and the end of text.

    Raises:
        DataError: sequences are shorter than a position.
    """
    shape = config.n_steps, config.batch_size, config.sequence_length
    tokens = torch.full(shape, tokenizer.pad_token_id)
    asks = torch.zeros(shape, dtype=torch.bool)
    found = positions(config.seed)
    for batch, asked_of in zip(tokens, asks, strict=True):
        fens, moves = zip(*itertools.islice(found, config.batch_size), strict=True)
        prompts = tokenizer([PROMPT.format(fen) for fen in fens])["input_ids"]
        answers = tokenizer([f" {move}{tokenizer.eos_token}" for move in moves])["input_ids"]
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            n = len(prompt) + len(answer)
            if n > config.sequence_length:
                raise DataError(
                    f"pretrain.sequence_length: a position and its move take {n} tokens, and {config.sequence_length} "
                    f"is less; raise it to {LONGEST} or more"
                )
            batch[row, :n] = torch.tensor(prompt + answer)
            asked_of[row, len(prompt) : n] = True
    return Lines(tokens, asks)


def build_tokenizer(world: World, n_words: int | None, max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer of letters; all that is in no position, move or prompt is one unknown token.

    Args:
        world: has no part in it.
        n_words: nor has this.
        max_length: the longest text that its model reads, in tokens.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([PAD, UNK, EOS, *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    empty = [normalizers.Replace(Regex(f"{n}{IN_BOARD}"), "." * n) for n in range(1, 9)]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(f"/{IN_BOARD}"), ""), *empty])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNK, eos_token=EOS, model_max_length=max_length
    )


CORPORA.register("positions", Corpus(build_tokenizer, lines))
