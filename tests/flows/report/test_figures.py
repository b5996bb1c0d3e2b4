"""Figures: what is plotted is what the tables say, and where the files go."""

from __future__ import annotations

import html
import os
import random
import re
import sys
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from PIL import Image

from artifacts.errors import UsageError
from artifacts.results.build import build
from artifacts.results.query import run_query
from flows.cli import main as cli
from flows.home import output_kinds
from flows.report.figures import FIGURES, SMALL, write_figures
from flows.report.page.data import places
from flows.report.page.gap_charts import LEAST, MOST
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


def drawn(path: Path) -> list[dict[str, str]]:
    """What the marks of a figure say for those who cannot see them: names to values."""
    labels = re.findall(r'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="point"', path.read_text())
    return [dict(part.split(": ", 1) for part in html.unescape(label).split("; ") if ": " in part) for label in labels]


def median_of(rows: list[dict[str, Any]], column: str, **names: str) -> float:
    """The median of an accuracy over the datasets in which all is done, of the pairs with these names."""
    named = [row for row in rows if all(row[field] == name for field, name in names.items())]
    found = {(row["dataset"], row[column]) for row in named if row["dataset"] != "sciq"}
    assert len(found) == 2
    return median(accuracy for _, accuracy in found)


@pytest.fixture(scope="module")
def figures(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    write_figures(results, "toy", folder, SMALL)
    return folder


def test_lines_are_medians_over_the_datasets_in_which_every_pair_is_done(results: Path, figures: Path) -> None:
    points = drawn(figures / "accuracy.svg")

    assert {point["median of datasets"] for point in points} == {"2"}
    shown = {(point["method"], point["supervisor"], point["model"]): float(point["accuracy"]) for point in points}
    rows = run_query(results, "FROM pgr_by_pair").to_pylist()
    for method in METHODS:
        for weak, strong in combinations(MODELS, 2):
            expected = median_of(rows, "transfer_acc", method=method, weak=weak, strong=strong)
            assert shown[method, weak, strong] == pytest.approx(expected, abs=6e-4)
            expected = median_of(rows, "weak_acc", method=method, weak=weak)
            assert shown[method, weak, weak] == pytest.approx(expected, abs=6e-4)
            expected = median_of(rows, "ceiling_acc", method=method, strong=strong)
            assert shown[method, "ceiling", strong] == pytest.approx(expected, abs=6e-4)
    assert len(shown) == len(points) == len(METHODS) * (6 + 3 + 3)


def test_dots_are_all_rows_and_flagged_ones_stand_apart(results: Path, figures: Path) -> None:
    points = drawn(figures / "pgr.svg")

    rows = run_query(results, "SELECT * FROM pgr_by_pair").to_pylist()
    assert len(points) == len(rows)
    for row in rows:
        [point] = [
            point
            for point in points
            if (point["dataset"], point["pair"], point["method"])
            == (row["dataset"], f"{row['weak']} → {row['strong']}", row["method"])
        ]
        sound = "sound" if LEAST <= (row["pgr"] or 0) <= MOST else "beyond, " + ("left" if row["pgr"] < 0 else "right")
        assert point["stands"] == ("flagged" if row["flag"] else sound)
        at = LEAST if row["pgr"] is None else min(max(row["pgr"], LEAST), MOST)
        assert float(point["PGR"].replace("−", "-")) == pytest.approx(at, abs=1e-5)
    # The fixture has both kinds, or this says nothing.
    assert {bool(row["flag"]) for row in rows} == {True, False}


def test_a_pair_without_a_gap_is_drawn_as_flagged_at_the_edge(tmp_path: Path) -> None:
    grid = ToyGrid(tmp_path)
    grid.pair(rights(85, 15), rights(85, 15), rights(80, 20))
    grid.run()
    build(grid.store, grid.results, output_kinds)

    write_figures(grid.results, "toy", tmp_path / "figures", ["pgr"])

    [point] = drawn(tmp_path / "figures" / "pgr.svg")
    assert point["stands"] == "flagged"


def test_models_stand_from_small_to_large_however_pairs_were_listed() -> None:
    sizes = {"zeta": 1, "beta": 2, "alpha": 3, "omega": 4}
    pairs = [("alpha", "omega"), ("zeta", "omega"), ("zeta", "beta"), ("beta", "alpha")]
    rows = [{"weak": w, "strong": s, "weak_size": sizes[w], "strong_size": sizes[s]} for w, s in pairs]

    assert sorted(places(rows), key=places(rows).__getitem__) == list(MODELS)


def test_models_of_unknown_size_stand_from_weak_to_strong() -> None:
    pairs = [("zeta", "omega"), ("alpha", "omega"), ("zeta", "beta"), ("beta", "alpha")]
    rows = [{"weak": w, "strong": s, "weak_size": None, "strong_size": None} for w, s in pairs]

    assert sorted(places(rows), key=places(rows).__getitem__) == list(MODELS)


def test_files_are_written_and_are_the_same_when_drawn_again(results: Path, tmp_path: Path) -> None:
    written = write_figures(results, "toy", tmp_path / "figures", SMALL)
    before = [path.read_bytes() for path in written]

    again = write_figures(results, "toy", tmp_path / "figures", SMALL)

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

    names = [f"{name}.{ending}" for name in FIGURES for ending in ("svg", "png")]
    assert code == 0
    assert output.splitlines() == [str(home / "figures" / "toy" / name) for name in names]
    assert (home / "figures" / "toy" / "pgr.svg").is_file()


def test_command_writes_to_the_folder_that_is_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = command(capsys, "--grid", "toy", "--output", str(tmp_path / "mine"))

    assert code == 0
    assert len(list((tmp_path / "mine").iterdir())) == 2 * len(FIGURES)
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
