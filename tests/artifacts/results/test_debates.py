"""What debates take and give, against the definitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.toy_grid import ToyGrid, built, rights, rows


@pytest.fixture
def grid(tmp_path: Path) -> ToyGrid:
    return ToyGrid(tmp_path)


def debated(grid: ToyGrid, student: int, *, seed: int = 0) -> str:
    """Plain: 4 of 10, and its student 5; debate: 6, and its student as many as are told; ceiling: 9."""
    grid.pair(rights(4, 6), rights(5, 5), rights(9, 1), seed=seed)
    plain = grid.pairs[-1]
    said = grid.transcripts(["words"] * 3 + [f"<b>{seed}</b>"], dataset="boolq", seed=seed)
    judged = grid.score(rights(6, 4), stage="judge", made_from=("transcripts", said), supervisor="debate", seed=seed)
    taught = grid.score(rights(student, 10 - student), kind="w2s", supervisor="debate", method="xent", seed=seed)
    grid.pairs.append({**plain, "weak": "debate", "supervisor_score": judged, "transfer_score": taught})
    return said


def test_what_was_said_lands_turn_by_turn_and_goes_with_its_grid(grid: ToyGrid) -> None:
    key = debated(grid, 8)

    found = built(grid, "SELECT key, id, turn, role, side, text, is_cut, n_tokens FROM texts ORDER BY id")

    assert found[3] == {
        "key": key, "id": "item-3", "turn": 0, "role": "A", "side": 1, "text": "<b>0</b>", "is_cut": False,
        "n_tokens": 10,
    }  # fmt: skip
    assert len(found) == 4
    del grid.nodes[key]
    assert built(grid, "FROM texts") == []


def test_pgr_of_a_debate_is_what_labels_gave_and_what_generalization_gave(grid: ToyGrid) -> None:
    debated(grid, 8)

    (row,) = built(grid, "SELECT * EXCLUDE (grid, dataset) FROM debate_gains")

    assert row == {
        "supervisor": "debate", "strong": "large", "method": "xent", "n_seeds": 1,
        "pgr": pytest.approx(4 / 5), "pgr_of_labels": pytest.approx(2 / 5),
        "pgr_of_generalization": pytest.approx(2 / 5),
        "pgr_plain": pytest.approx(1 / 5), "gain": pytest.approx(3 / 5), "n_tokens": 40, "seconds": 1.5,
        "tokens_per_point": pytest.approx(40 / 60), "seconds_per_point": pytest.approx(1.5 / 60),
    }  # fmt: skip


def test_cost_of_a_point_that_was_not_gained_is_none(grid: ToyGrid) -> None:
    debated(grid, 5)

    assert built(grid, "SELECT gain, tokens_per_point FROM debate_gains") == [{"gain": 0, "tokens_per_point": None}]


def test_debates_of_a_supervisor_are_those_that_its_labels_were_made_from(grid: ToyGrid) -> None:
    debated(grid, 8)
    debated(grid, 8, seed=1)

    found = built(grid, "SELECT * EXCLUDE (grid, dataset) FROM debates ORDER BY seed")

    assert found == [
        {
            "supervisor": "debate", "seed": seed, "n_transcripts": 1, "n_debates": 4, "n_turns": 4, "n_tokens": 40,
            "n_read": 8, "seconds": 1.5, "tokens_per_debate": 10, "read_per_debate": 2, "seconds_per_debate": 0.375,
            "share_cut": 0, "share_empty": 0.25,
        }
        for seed in (0, 1)
    ]  # fmt: skip


def test_judges_are_listed_by_side_and_by_length(grid: ToyGrid) -> None:
    told = {
        "n_heard": 10, "mean_chars_heard": 7.5, "accuracy_shorter": 0.5, "n_shorter": 6,
        "accuracy_A_true": 0.75, "n_A_true": 4, "accuracy_last_false": 0.25, "n_last_false": 8,
        "accuracy_cut": 0.5, "n_cut": 2,
    }  # fmt: skip
    grid.score(rights(6, 4), stage="judge", told=told, supervisor="debate", method="debate-0")
    grid.score(rights(5, 5), stage="judge", supervisor="plain")

    found = built(grid, "SELECT * EXCLUDE (dataset, seed, key) FROM judges_by_side ORDER BY whose")

    about = {"supervisor": "debate", "method": "debate-0"}
    assert found == [
        {**about, "whose": "A", "accuracy_true": 0.75, "accuracy_false": None, "n_true": 4, "n_false": 0},
        {**about, "whose": "last", "accuracy_true": None, "accuracy_false": 0.25, "n_true": 0, "n_false": 8},
    ]
    assert rows(grid, "SELECT * EXCLUDE (dataset, seed, key) FROM judges_by_length") == [
        {
            **about, "n": 10, "accuracy": 0.6, "mean_chars": 7.5, "accuracy_shorter": 0.5, "accuracy_longer": None,
            "n_cut": 2, "accuracy_cut": 0.5,
        }
    ]  # fmt: skip
