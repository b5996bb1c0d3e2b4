"""What lands in ``results.duckdb`` from which output, and what pairs are compared with; not PGR itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from artifacts.errors import CorruptArtifact
from artifacts.identity.keys import JSON
from tests.toy_grid import ToyGrid, built, rights, rows

OF_OTHERS: dict[str, dict[str, str]] = {
    "judge": {"predictions": "predictions"},
    "combine": {"transfer_train": "labels", "test": "labels"},
    "inspect": {"checks": "checks"},
}
"""Kinds of what stages put out that nothing here knows."""


def others(stage: str, params: Mapping[str, JSON]) -> Mapping[str, str]:
    return OF_OTHERS.get(stage, {})


@pytest.fixture
def grid(tmp_path: Path) -> ToyGrid:
    return ToyGrid(tmp_path)


def test_predictions_land_from_a_stage_of_any_name(grid: ToyGrid) -> None:
    key = grid.score(rights(2, 1), stage="judge", kind="gt", model="small")
    assert built(grid, "SELECT key, accuracy, model FROM scores", others) == [
        {"key": key, "accuracy": pytest.approx(2 / 3), "model": "small"}
    ]
    assert rows(grid, "SELECT DISTINCT key, count(*) AS n FROM predictions GROUP BY key") == [{"key": key, "n": 3}]


def test_labels_land_from_a_stage_of_any_name(grid: ToyGrid) -> None:
    key = grid.weak_labels(stage="combine", model="small")
    found = built(grid, "FROM labels ORDER BY split, id", others)
    assert found == [
        {"key": key, "split": split, "id": id, "prob": prob, "answer": None}
        for split in ("test", "transfer_train")
        for id, prob in (("a", 0.2), ("b", 0.7))
    ]
    assert rows(grid, "SELECT key, split, id, weak_prob AS prob, NULL AS answer FROM weak_labels ORDER BY ALL") == found


def test_checks_land_from_a_stage_of_any_name(grid: ToyGrid) -> None:
    key = grid.audit("fail", stage="inspect")
    assert built(grid, "SELECT key, verdict FROM audits", others) == [{"key": key, "verdict": "fail"}]


def test_audits_are_there_though_no_grid_has_them(grid: ToyGrid) -> None:
    key = grid.audit("fail")
    grid.nodes.clear()
    (row,) = built(grid, "SELECT * EXCLUDE started FROM audits")
    assert row == {
        "dataset": "boolq", "source": "folder", "split": "train", "check": "leak.length", "value": 0.9,
        "threshold": 0.8, "verdict": "fail", "detail": "told by its length", "key": key,
    }  # fmt: skip


def test_the_newest_audit_of_a_dataset_is_what_is_known(grid: ToyGrid) -> None:
    grid.audit("ok", started="2026-02-02T00:00:00+00:00", code="1" * 64)
    grid.audit("fail", started="2026-01-02T00:00:00+00:00")
    assert built(grid, "SELECT verdict FROM audits") == [{"verdict": "ok"}]


def test_outputs_of_a_stage_that_is_no_more_are_left_out(grid: ToyGrid) -> None:
    grid.score(rights(2, 1), stage="former_score", kind="gt", model="small")
    grid.weak_labels(stage="former_labels", model="small")
    assert built(grid, "FROM scores") == []
    assert rows(grid, "FROM predictions") == []
    assert rows(grid, "FROM labels") == []
    assert len(rows(grid, "FROM nodes")) == 2


def test_predictions_have_answers_and_whether_they_are_right(grid: ToyGrid) -> None:
    # Truth takes turns from class 0 on; a probability of exactly one half says class 0.
    key = grid.score(rights(2, 1), low=0.5, group_size=2, kind="gt", model="small")
    assert built(grid, "FROM predictions ORDER BY id") == [
        {
            "key": key,
            "id": f"item-{index}",
            "group": f"group-{index // 2}",
            "answer": answer,
            "right": right,
            "prob": prob,
        }
        for index, (answer, right, prob) in enumerate([("0", True, 0.5), ("1", True, 0.9), ("1", False, 0.9)])
    ]


def test_scores_of_before_and_of_after_groups_land_together(grid: ToyGrid) -> None:
    grid.score(rights(2, 1), kind="gt", model="small")
    grid.score(rights(2, 1), group_size=3, kind="gt", model="large")
    grid.answers("abc", "abd", model="other")
    assert built(
        grid, 'SELECT "group" AS name, count(*) AS n FROM predictions GROUP BY ALL ORDER BY ALL NULLS FIRST'
    ) == [
        {"name": None, "n": 3},
        {"name": "group-0", "n": 3},
        *({"name": f"item-{index}", "n": 1} for index in range(3)),
    ]
    assert rows(grid, 'SELECT count(*) AS n FROM predictions WHERE "right"') == [{"n": 6}]


def test_predictions_that_do_not_say_what_is_right_are_refused(grid: ToyGrid) -> None:
    grid.weak_labels(stage="judge", model="small")
    with pytest.raises(CorruptArtifact, match="w2s store verify"):
        built(grid, "FROM predictions", lambda stage, params: {"test": "predictions"})


def test_metrics_that_a_score_does_not_say_are_null_and_it_has_no_pgr(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    key = grid.answers("ab", "ab", model="small", metrics={"n": 2})
    grid.pairs[0]["weak_score"] = key
    assert built(grid, f"SELECT n, accuracy, brier FROM scores WHERE key = '{key}'") == [
        {"n": 2, "accuracy": None, "brier": None}
    ]
    assert rows(grid, "FROM pgr") == []


def pair_of_answers(grid: ToyGrid, truth: str, weak: str, transfer: str) -> None:
    grid.pairs.append(
        {
            "dataset": "chess", "weak": "small", "strong": "large", "method": "xent", "seed": 0,
            "weak_score": grid.answers(weak, truth, model="small"),
            "transfer_score": grid.answers(transfer, truth, model="large"),
            "ceiling_score": grid.answers(truth, truth, model="large", kind="gt"),
        }
    )  # fmt: skip


def test_two_wrong_answers_of_many_that_differ_do_not_agree(grid: ToyGrid) -> None:
    # The supervisor has 2 of 6; of its 4 errors the student mends one, repeats one, and makes two of its own.
    pair_of_answers(grid, truth="aaaaaa", weak="aabbbb", transfer="acabcd")
    (row,) = built(grid, "FROM agreement")
    assert (row["n"], row["weak_acc"], row["transfer_acc"]) == (6, pytest.approx(2 / 6), pytest.approx(2 / 6))
    assert row["agreement"] == pytest.approx(2 / 6)
    assert (row["agreement_right"], row["agreement_wrong"]) == (0.5, 0.25)
    both_wrong = "SELECT agrees, n FROM outcomes WHERE NOT weak_right AND NOT transfer_right ORDER BY agrees"
    assert rows(grid, both_wrong) == [{"agrees": False, "n": 2}, {"agrees": True, "n": 1}]


def test_pgr_of_many_answers_is_that_of_their_accuracies(grid: ToyGrid) -> None:
    pair_of_answers(grid, truth="a" * 40, weak="a" * 20 + "b" * 20, transfer="a" * 30 + "c" * 10)
    (row,) = built(grid, "SELECT gap, pgr FROM pgr")
    assert row == {"gap": 0.5, "pgr": 0.5}


WEAK, TRANSFER, CEILING = rights(60, 40), rights(70, 30), rights(85, 15)
COMPARED = "SELECT weak_acc, supervisor_acc, ceiling_acc, ceiling_plain_acc, pgr, pgr_plain FROM pgr ORDER BY seed"


def better(grid: ToyGrid, n_right: int, seed: int = 0) -> str:
    return grid.score(rights(n_right, 100 - n_right), model=f"other-{n_right}", kind="gt", seed=seed)


def test_pair_that_names_no_other_scores_is_compared_with_its_own(grid: ToyGrid) -> None:
    grid.pair(WEAK, TRANSFER, CEILING)
    (row,) = built(grid, COMPARED)
    assert (row["supervisor_acc"], row["ceiling_plain_acc"]) == (row["weak_acc"], row["ceiling_acc"]) == (0.6, 0.85)
    assert row["pgr_plain"] == row["pgr"]


def test_pair_is_compared_with_the_other_scores_that_it_names(grid: ToyGrid) -> None:
    grid.pair(WEAK, TRANSFER, CEILING)
    grid.pairs[0] |= {"supervisor_score": better(grid, 65), "ceiling_plain_score": better(grid, 80)}
    (row,) = built(grid, COMPARED)
    assert (row["supervisor_acc"], row["ceiling_plain_acc"]) == (0.65, 0.8)
    assert (row["pgr"], row["pgr_plain"]) == (pytest.approx(0.4), pytest.approx(0.5))


def test_pgr_against_a_plain_ceiling_that_is_below_the_floor_is_none(grid: ToyGrid) -> None:
    grid.pair(WEAK, TRANSFER, CEILING)
    grid.pairs[0]["ceiling_plain_score"] = better(grid, 50)
    (row,) = built(grid, COMPARED)
    assert (row["pgr"], row["pgr_plain"]) == (pytest.approx(0.4), None)


def test_other_score_that_is_not_known_yet_is_not_taken_for_the_usual_one(grid: ToyGrid) -> None:
    grid.pair(WEAK, TRANSFER, CEILING)
    grid.pairs[0] |= {"supervisor_score": None, "ceiling_plain_score": None}
    (row,) = built(grid, COMPARED)
    assert (row["supervisor_acc"], row["ceiling_plain_acc"], row["pgr_plain"]) == (None, None, None)
    assert row["pgr"] == pytest.approx(0.4)


def test_means_over_seeds_are_of_all_seeds_or_none(grid: ToyGrid) -> None:
    for seed in range(2):
        grid.pair(WEAK, TRANSFER, CEILING, seed=seed)
        others: dict[str, JSON] = {"supervisor_score": better(grid, 60 + 10 * seed, seed), "ceiling_plain_score": None}
        grid.pairs[seed] |= others
    grid.pairs[0]["ceiling_plain_score"] = better(grid, 80)
    (row,) = built(grid, "SELECT supervisor_acc, ceiling_plain_acc FROM pgr_by_pair")
    assert row == {"supervisor_acc": pytest.approx(0.65), "ceiling_plain_acc": None}
