"""Chess puzzles: which move is asked for, which answers are moves, which are right, and what is said of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

chess = pytest.importorskip("chess")

from w2s_core.config import WorldConfig  # noqa: E402
from w2s_core.data.datasets import DATASETS, TextExample  # noqa: E402
from w2s_core.data.forms import FORMS, Said  # noqa: E402
from w2s_core.data.moves import board_of, puzzle_metrics  # noqa: E402
from w2s_core.entries.prepare import prepare  # noqa: E402
from w2s_core.errors import DataError  # noqa: E402
from w2s_core.offline.moves import solution  # noqa: E402
from w2s_core.offline.rows import raw_rows  # noqa: E402
from w2s_core.rules import NOT_INSTALLED, gives_mate  # noqa: E402
from w2s_core.watch import Silent  # noqa: E402

UCI, SAN = FORMS.get("uci"), FORMS.get("san")
TWO_MATES = "6k1/5ppp/8/8/8/8/8/QR4K1 w - - 0 1"
"""Queen and rook both give mate on the last rank: a1a8 and b1b8."""
ROW = {
    "FEN": "6k1/p1p2ppp/1pqp2r1/3Q4/8/1P6/P1P2PPP/4RK2 b - - 8 22",
    "Moves": "c6d5 e1e8",
    "Rating": 400,
    "GameUrl": "https://lichess.org/zhWsNjI8/black#44",
}


def example(name: str, row: dict[str, Any]) -> TextExample:
    [found] = DATASETS.get(name).format(row, lambda n: 0)
    assert isinstance(found, TextExample)
    return found


def about(fen: str, rating: int | None = None) -> str:
    return json.dumps({"fen": fen, "rating": rating})


def test_the_first_move_is_the_opponents_and_the_second_the_answer() -> None:
    found = example("lichess_puzzles", ROW)
    after = "6k1/p1p2ppp/1p1p2r1/3q4/8/1P6/P1P2PPP/4RK2 w - - 0 23"
    assert (found.prompt, found.answer, found.group) == (f"{after}\nMove:", "e1e8", "zhWsNjI8")
    assert json.loads(found.about) == {"fen": after, "rating": 400}


def test_a_puzzle_without_a_move_of_ours_is_none() -> None:
    assert DATASETS.get("lichess_puzzles").format({**ROW, "Moves": "c6d5"}, lambda n: 0) == []


@pytest.mark.parametrize("change", [{"Moves": "c6d5 e1e7e8"}, {"Moves": "a1a2 e1e8"}, {"FEN": "nothing"}])
def test_a_row_that_breaks_the_rules_is_refused_with_its_moves(change: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"FEN .* with the moves"):
        example("lichess_puzzles", {**ROW, **change})


def test_moves_of_the_game_before_are_the_prompt_and_the_answer_is_written_as_they_are() -> None:
    found = example("lichess_puzzles_pgn", {"ctx": " 1. e4 e5 2. Qh5 Nc6 3. Bc4 Nf6", "target": " 4. Qxf7"})
    assert (found.prompt, found.answer) == ("1. e4 e5 2. Qh5 Nc6 3. Bc4 Nf6", "Qxf7#")
    assert SAN.normal(found.answer, found.about) == "h5f7"
    assert SAN.written("h5f7", found.about) == "Qxf7#"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" e1e8", "e1e8"),
        ("e 1 e 8", "e1e8"),
        ("Re8#", "e1e8"),
        ("Re8", "e1e8"),
        ("23. Re8+ and mate", "e1e8"),
        ("23... Re8", "e1e8"),
        ("E1E8", "e1e8"),
        ("e1e1", "e1e1"),
        (" no move ", "no move"),
        ("0000", "0000"),
        ("", ""),
    ],
)
def test_the_normal_form_is_uci_of_a_legal_move_and_else_the_text(text: str, answer: str) -> None:
    assert UCI.normal(text, example("lichess_puzzles", ROW).about) == answer


def test_any_mate_in_one_is_right_and_no_other_move() -> None:
    where = about(TWO_MATES)
    assert UCI.is_right("b1b8", "a1a8", where)
    assert not UCI.is_right("a1a7", "a1a8", where)
    assert not UCI.is_right("b1b8", "a1a7", where)
    assert not UCI.is_right("none", "a1a8", where)


def test_legal_moves_mates_and_ratings_are_told_apart() -> None:
    start = about(chess.STARTING_FEN, 1_600)
    said = [
        Said("b1b8", "a1a8", True, about(TWO_MATES, 1_000)),
        Said("a1a8", "a1a8", True, about(TWO_MATES, 1_199)),
        Said("e2e4", "d2d4", False, start),
        Said("e2e5", "d2d4", False, start),
    ]
    assert puzzle_metrics(said) == {
        "legal": 0.75,
        "exact": 0.25,
        "mates": 2,
        "accuracy_mates": 1.0,
        "exact_mates": 0.5,
        "accuracy_rating_0_1200": 1.0,
        "accuracy_rating_1200_1600": None,
        "accuracy_rating_1600_2000": 0.0,
        "accuracy_rating_2000_up": None,
    }


def test_generated_puzzles_have_one_solution_or_are_mates() -> None:
    for row in raw_rows(WorldConfig(), "lichess_puzzles", "train", 10):
        found = example("lichess_puzzles", row)
        board = board_of(found.about)
        assert solution(board) == (chess.Move.from_uci(found.answer), row["Rating"])
        taken = board.piece_type_at(chess.parse_square(found.answer[2:4]))
        assert taken or gives_mate(found.answer, board)
    game = example("lichess_puzzles_pgn", raw_rows(WorldConfig(), "lichess_puzzles_pgn", "train", 1)[0])
    assert SAN.normal(game.answer, game.about) != game.answer


def test_puzzles_of_one_game_or_position_are_in_one_split(tmp_path: Path) -> None:
    rows = raw_rows(WorldConfig(), "lichess_puzzles", "train", 24)
    # Of two puzzles in a row one game; and one position that is in another game, too.
    games = [{**row, "GameUrl": f"https://lichess.org/g{i // 2}#{i}"} for i, row in enumerate(rows)]
    games.append({**rows[0], "GameUrl": "https://lichess.org/other"})
    columns = list(ROW)
    for split, of in (("train", games), ("test", [*games[20:], games[0]])):
        lines = [",".join(columns), *(",".join(str(row[name]) for name in columns) for row in of)]
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    data = {"n_train": 16, "weak_fraction": 0.5, "n_parts": 1, "n_validation": 4, "n_test": 6}
    data |= {"balance_test": True, "max_chars": 200, "allow_fewer": True}
    params = {"setting": "move", "form": "uci", "dataset": "lichess_puzzles", "source": {"kind": "folder"}}
    inputs = {split: tmp_path / f"{split}.csv" for split in ("train", "test")}
    (tmp_path / "out").mkdir()
    metrics = prepare({**params, "data_seed": 0, "data": data}, inputs, tmp_path / "out", Silent())
    # Of 25 rows, those of the test file, the other puzzle of the first game, and the first position again.
    assert metrics["train_usable"] == 18
    splits = [
        pq.read_table(tmp_path / "out" / f"{split}.parquet") for split in ("weak_train", "transfer_train", "test")
    ]
    groups = [set(table["group"].to_pylist()) for table in splits]
    assert not groups[0] & groups[1] | groups[1] & groups[2] | groups[0] & groups[2]


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chess", None)
    with pytest.raises(DataError) as error:
        example("lichess_puzzles", ROW)
    assert str(error.value) == NOT_INSTALLED
    assert "\n" not in NOT_INSTALLED
