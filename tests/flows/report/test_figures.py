"""Figures: what is plotted is what the tables say, and where the files go."""

from __future__ import annotations

import os
import random
import sys
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from PIL import Image

from artifacts.errors import UsageError
from artifacts.results.build import build
from artifacts.results.query import pgr_table, run_query
from flows.cli import main as cli
from flows.home import output_kinds
from flows.report.figures import ladder, panels, strips, write_figures
from tests.toy_grid import ToyGrid, rights

MODELS = ("zeta", "beta", "alpha", "omega")
"""Weaker ones first, which is no alphabet."""

METHODS = ("xent", "logconf")


def answers(accuracy: float) -> list[bool]:
    right = [index < round(200 * accuracy) for index in range(200)]
    random.shuffle(right)
    return right


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three datasets, all pairs of four models, two methods; the last pair of ``sciq`` is not done."""
    random.seed(0)
    grid = ToyGrid(tmp_path_factory.mktemp("results"))
    for dataset in ("boolq", "sst2", "sciq"):
        truth = {model: answers(0.6 + 0.1 * index) for index, model in enumerate(MODELS)}
        ceilings = {model: answers(0.58 + 0.1 * index) for index, model in enumerate(MODELS)}
        for method in METHODS:
            for weak, strong in list(combinations(MODELS, 2))[: 5 if dataset == "sciq" else 6]:
                student = answers(random.uniform(0.6, 0.9))
                grid.pair(truth[weak], student, ceilings[strong], names=(weak, strong), dataset=dataset, method=method)
    grid.run()
    build(grid.store, grid.results, output_kinds)
    return grid.results


@pytest.fixture(scope="module")
def rows(results: Path) -> list[dict[str, Any]]:
    return pgr_table(results, "toy", "pair").to_pylist()


def median_of(results: Path, column: str, method: str, **models: str) -> float:
    """The median of an accuracy over the datasets in which all is done."""
    where = " AND ".join(f"{name} = '{model}'" for name, model in models.items())
    found = run_query(
        results,
        f"SELECT DISTINCT dataset, {column} AS accuracy FROM pgr_by_pair "
        f"WHERE method = '{method}' AND dataset <> 'sciq' AND {where}",
    )
    assert len(found) == 2
    return median(found["accuracy"].to_pylist())


def test_lines_are_medians_over_the_datasets_in_which_every_pair_is_done(
    results: Path, rows: list[dict[str, Any]]
) -> None:
    found = panels(rows)

    assert [(panel.method, panel.n_datasets) for panel in found] == [(method, 2) for method in METHODS]
    for panel in found:
        students = [(weak, strong) for weak, line in panel.students.items() for strong in line]
        assert students == list(combinations(MODELS, 2))
        assert list(panel.weak) == list(MODELS[:-1])
        assert list(panel.ceilings) == list(MODELS[1:])
        for weak, strong in students:
            expected = median_of(results, "transfer_acc", panel.method, weak=weak, strong=strong)
            assert panel.students[weak][strong] == pytest.approx(expected)
            assert panel.weak[weak] == pytest.approx(median_of(results, "weak_acc", panel.method, weak=weak))
            ceiling = median_of(results, "ceiling_acc", panel.method, strong=strong)
            assert panel.ceilings[strong] == pytest.approx(ceiling)


def test_dots_are_the_sound_rows_and_flagged_ones_stand_apart(results: Path, rows: list[dict[str, Any]]) -> None:
    found = strips(rows)

    assert len(found) == 12
    for strip in found:
        same = run_query(
            results,
            "SELECT pgr, flag FROM pgr_by_pair WHERE (weak, strong, method) = (?, ?, ?)",
            [strip.weak, strip.strong, strip.method],
        ).to_pylist()
        assert sorted(strip.sound) == sorted(row["pgr"] for row in same if row["flag"] is None)
        assert sorted(strip.unstable) == sorted(row["pgr"] for row in same if row["flag"] == "unstable")
        assert strip.n_undefined == sum(row["flag"] == "undefined" for row in same)
    # The fixture has both kinds, or this says nothing.
    assert any(strip.sound for strip in found)
    assert any(strip.unstable for strip in found)


def test_a_pair_without_a_gap_is_counted_as_undefined_and_has_no_median(tmp_path: Path) -> None:
    grid = ToyGrid(tmp_path)
    grid.pair(rights(85, 15), rights(85, 15), rights(80, 20))
    grid.run()
    build(grid.store, grid.results, output_kinds)

    [strip] = strips(pgr_table(grid.results, "toy", "pair").to_pylist())

    assert (strip.sound, strip.unstable, strip.n_undefined, strip.median) == ([], [], 1, None)
    assert write_figures(grid.results, "toy", tmp_path / "figures")


def test_models_stand_from_weak_to_strong_however_pairs_were_listed() -> None:
    pairs = [("zeta", "omega"), ("alpha", "omega"), ("zeta", "beta"), ("beta", "alpha")]

    assert ladder([{"weak": weak, "strong": strong} for weak, strong in pairs]) == list(MODELS)


def test_files_are_written_and_are_the_same_when_drawn_again(results: Path, tmp_path: Path) -> None:
    written = write_figures(results, "toy", tmp_path / "figures")
    before = [path.read_bytes() for path in written]

    again = write_figures(results, "toy", tmp_path / "figures")

    assert [path.name for path in written] == ["accuracy.svg", "accuracy.png", "pgr.svg", "pgr.png"]
    assert [path.read_bytes() for path in again] == before
    assert "zeta" in written[0].read_text()
    for path in (written[1], written[3]):
        with Image.open(path) as image:
            assert image.width > 300
        assert path.stat().st_size < 37_000  # two of them in base64 are less than 100 kB


def test_unwritable_folder_is_one_line(results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match=r"^cannot write figures to .*file: File exists$"):
        write_figures(results, "toy", tmp_path / "file")


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    sys.argv = ["w2s", "figures", *arguments]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


@pytest.fixture
def home(results: Path) -> Path:
    home = Path(os.environ["W2S_HOME"])
    home.mkdir()
    (home / "results.duckdb").write_bytes(results.read_bytes())
    return home


def test_command_says_what_it_wrote_in_the_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = command(capsys, "--grid", "toy")

    names = ("accuracy.svg", "accuracy.png", "pgr.svg", "pgr.png")
    assert code == 0
    assert output.splitlines() == [str(home / "figures" / "toy" / name) for name in names]
    assert (home / "figures" / "toy" / "pgr.svg").is_file()


def test_command_writes_to_the_folder_that_is_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = command(capsys, "--grid", "toy", "--output", str(tmp_path / "mine"))

    assert code == 0
    assert len(list((tmp_path / "mine").iterdir())) == 4
    assert not (home / "figures").exists()


def test_grid_without_finished_pairs_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    grid = ToyGrid(Path(os.environ["W2S_HOME"]))
    grid.pairs = [
        {"dataset": "boolq", "weak": "a", "strong": "b", "method": "xent", "seed": 0}
        | dict.fromkeys(("weak_score", "transfer_score", "ceiling_score"))
    ]
    grid.run("failed")
    build(grid.store, grid.results, output_kinds)

    code, output = command(capsys, "--grid", "toy")

    assert code == 2
    assert output == ("w2s: grid toy has no pair with all of its scores yet; `w2s status` says how far it is\n")


def test_unknown_grid_is_one_line_with_the_near_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = command(capsys, "--grid", "toys")

    assert code == 2
    assert output.endswith("did you mean 'toy'?\n")
