"""Judges who read transcripts, from a grid to its results."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from artifacts.errors import UsageError
from artifacts.results.query import run_query
from flows.cli.data import show_examples
from flows.home import Home
from flows.report.page.data import grid_data, unpacked
from tests.harness import TINY, Project

DEBATE = {"name": "debate", "kind": "debate", "judge": "s", "n_transcripts": 2}


def test_students_of_a_debate_land_with_the_plain_judge_as_reference_and_more_seeds_ask_for_no_more_than_theirs(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    supervisors = [
        DEBATE,
        {**DEBATE, "name": "market", "protocol": "market_making", "n_transcripts": 1, "zero_shot": True},
    ]
    grid = {**TINY, "supervisors": supervisors, "pairs": [["s", "m"], ["debate", "m"], ["market", "m"]]}

    ran = project.run(grid)

    assert ran.failed == []
    assert ran.stages["transcripts"] == 4 * 3
    assert ran.stages["annotate"] == 3
    sql = "SELECT weak, weak_acc, supervisor_acc, ceiling_acc FROM pgr"
    rows = {row["weak"]: row for row in run_query(project.home / "results.duckdb", sql).to_pylist()}
    assert rows.keys() == {"s", "debate", "market"}
    assert len({(row["weak_acc"], row["ceiling_acc"]) for row in rows.values()}) == 1
    sql = """SELECT (metrics->>'n_A_true')::INT + (metrics->>'n_A_false')::INT AS n FROM nodes
        WHERE stage = 'judge' AND supervisor = 'debate' AND method IS NOT NULL"""
    assert run_query(project.home / "results.duckdb", sql).to_pylist() == [{"n": 12}] * 2
    sql = "SELECT count(*) AS n FROM judges_by_side WHERE supervisor = 'debate' AND n_true + n_false = 12"
    assert run_query(project.home / "results.duckdb", sql).to_pylist() == [{"n": 2 * len(("A", "B", "last"))}]
    sql = "SELECT supervisor, method FROM scores WHERE method LIKE '%zero-shot' ORDER BY supervisor"
    assert run_query(project.home / "results.duckdb", sql).to_pylist() == [
        {"supervisor": "market", "method": "market-0-zero-shot"},
        {"supervisor": "s", "method": "zero-shot"},
    ]
    # 44 rows: those of the judge's half, of the student's, of validation and of test.
    sql = "SELECT supervisor, n_debates FROM debates ORDER BY supervisor"
    assert run_query(project.home / "results.duckdb", sql).to_pylist() == [
        {"supervisor": "debate", "n_debates": 2 * 44},
        {"supervisor": "market", "n_debates": 44},
    ]
    sql = "SELECT count(DISTINCT supervisor) AS n FROM debate_gains WHERE pgr_plain IS NOT NULL OR pgr IS NULL"
    assert run_query(project.home / "results.duckdb", sql).to_pylist() == [{"n": 2}]
    texts = pq.read_table(next(path / "texts.parquet" for path in project.artifacts("transcripts")))
    assert texts.group_by(["id", "turn"]).aggregate([([], "count_all")])["count_all"].to_pylist() == [1] * len(texts)

    again = project.run({**grid, "supervisors": [{**DEBATE, "n_transcripts": 3}, supervisors[1]]})

    assert again.stages["transcripts"] == 4
    assert again.stages["train_gt"] == 1


def test_transcripts_of_a_grid_are_shown_as_a_person_reads_them_and_some_right_and_wrong_are_on_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path)
    project.run({**TINY, "supervisors": [{**DEBATE, "n_transcripts": 1}], "pairs": [["debate", "m"]]})
    monkeypatch.setenv("W2S_HOME", str(project.home))

    show_examples("sst2", transcript=True, n=2)
    printed = capsys.readouterr().out
    show_examples("sst2", transcript=True, as_json=True, n=2)
    rows = json.loads(capsys.readouterr().out)

    assert len(rows) == 2
    for row in rows:
        assert (
            f"label {row['gt_label']}: the sentence is {['negative', 'positive'][row['gt_label']]} (seed 0, id"
            in printed
        )
        assert [turn["role"] for turn in row["turns"]] == ["A", "B", "A"]
        for turn in row["turns"]:
            is_right = "right" if turn["side"] == row["gt_label"] else "wrong"
            assert f"  {turn['role']}, who argues that {turn['claim']} ({is_right}): {turn['text']}\n" in printed

    shown = unpacked(grid_data(Home(project.home), "tiny")["transcripts"])
    sql = """SELECT id, "right" FROM predictions WHERE key IN (SELECT supervisor_score FROM pairs)"""
    right = {row["id"]: row["right"] for row in run_query(project.home / "results.duckdb", sql).to_pylist()}
    n_right = sum(right.values())
    assert [row["right"] for row in shown] == [True] * min(3, n_right) + [False] * min(3, 12 - n_right)
    for row in shown:
        assert row["right"] == right[row["id"]]
        assert [turn["role"] for turn in row["turns"]] == ["A", "B", "A"]
        assert {turn["claim"] == row["truth"] for turn in row["turns"] if turn["is_true"]} <= {True}


def test_dataset_that_nobody_spoke_about_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("W2S_HOME", str(tmp_path))

    with pytest.raises(UsageError, match="no transcripts of sciq are in"):
        show_examples("sciq", transcript=True)
