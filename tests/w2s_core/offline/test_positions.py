"""The corpus of chess positions: what is played is legal and sensible, and squares have their places."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

chess = pytest.importorskip("chess")

from w2s_core.config import PretrainConfig, SizeConfig, WorldConfig  # noqa: E402
from w2s_core.errors import DataError  # noqa: E402
from w2s_core.offline.corpora import CORPORA  # noqa: E402
from w2s_core.offline.positions import best, positions  # noqa: E402
from w2s_core.offline.world import build_world, stream  # noqa: E402
from w2s_core.rules import PROMPT  # noqa: E402

WORLD = build_world(WorldConfig(n_words=64, n_classes=2))
CORPUS = CORPORA.get("positions")
CONFIG = PretrainConfig(
    corpus="positions", size=SizeConfig(n_layers=1, width=8, n_heads=1), n_tokens=2_000, batch_size=4,
    sequence_length=104,
)  # fmt: skip
TOKENIZER = CORPUS.tokenizer(WORLD, None, CONFIG.sequence_length)


def test_a_configuration_can_name_each_corpus_that_there_is() -> None:
    assert sorted(get_args(PretrainConfig.model_fields["corpus"].annotation)) == sorted(CORPORA.names())


def test_positions_and_moves_are_legal_and_those_of_their_seed() -> None:
    found = list(itertools.islice(positions(3), 200))

    assert all(chess.Move.from_uci(move) in chess.Board(fen).legal_moves for fen, move in found)
    assert found == list(itertools.islice(positions(3), 200))
    assert found != list(itertools.islice(positions(4), 200))


@pytest.mark.parametrize(
    ("fen", "move"),
    [
        ("6k1/5ppp/8/8/8/8/8/R3K3 w - - 0 1", "a1a8"),  # mate
        ("4k3/8/8/3q4/8/8/3R4/4K3 w - - 0 1", "d2d5"),  # a queen for nothing
        ("4k3/8/4p3/3p4/8/7r/6N1/3QK3 w - - 0 1", None),  # not the queen for a pawn that is protected
        ("8/4P1k1/8/8/8/8/8/4K3 w - - 0 1", "e7e8q"),
    ],
)
def test_the_player_mates_takes_what_is_free_and_promotes(fen: str, move: str | None) -> None:
    played = best(chess.Board(fen), stream("test")).uci()

    assert played != "d1d5"
    assert move in (None, played)


def test_a_square_has_the_same_place_in_every_position() -> None:
    fens = [fen for fen, _ in itertools.islice(positions(0), 50)]
    for fen in [*fens, "8/8/8/8/8/8/8/8 w - - 0 1", "k7/1p1p1p1p/8/8/P1P1P1P1/8/8/7K b - - 12 40"]:
        letters = TOKENIZER.convert_ids_to_tokens(TOKENIZER(PROMPT.format(fen))["input_ids"])

        assert TOKENIZER.unk_token not in letters
        assert "".join(letters[:64]) == str(chess.Board(fen)).replace(" ", "").replace("\n", "")
        assert "".join(letters[64:]) == PROMPT.format(fen).partition(" ")[1] + PROMPT.format(fen).partition(" ")[2]


def test_the_loss_asks_for_the_move_and_the_end_alone() -> None:
    tokens, asks = CORPUS.lines(WORLD, CONFIG, TOKENIZER)

    assert asks is not None
    assert tokens.shape == asks.shape == (4, 4, 104)
    for (fen, move), row, asked in zip(positions(CONFIG.seed), tokens.flatten(0, 1), asks.flatten(0, 1), strict=False):
        assert TOKENIZER.decode(row[asked]).replace(" ", "") == move + TOKENIZER.eos_token
        assert row[:64].tolist() == TOKENIZER(fen)["input_ids"][:64]


def test_sequences_too_short_for_a_position_are_refused_by_the_field() -> None:
    with pytest.raises(DataError, match=r"pretrain\.sequence_length: a position and its move take \d+ tokens, and 64 "):
        CORPUS.lines(WORLD, CONFIG.model_copy(update={"sequence_length": 64}), TOKENIZER)


def test_positions_have_no_words() -> None:
    with pytest.raises(ValueError, match="n_words 64 is for the corpus words; positions has none"):
        PretrainConfig(**{**CONFIG.model_dump(), "n_words": 64})
