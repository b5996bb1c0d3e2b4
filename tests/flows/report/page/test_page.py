"""The report as a file: what is in it is what the results say, it fetches nothing, and no text in it becomes code."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import pytest

from artifacts.errors import UsageError
from artifacts.results.build import build
from artifacts.results.comparisons import compare
from artifacts.results.query import run_query
from flows.cli import main as cli
from flows.home import Home, output_kinds
from flows.report.page.charts import CHARTS, counted, shape_of
from flows.report.page.data import grid_data, pairs_of, unpacked
from flows.report.page.page import fresh_page, page, write_page
from tests.toy_grid import FLOW_RUN, ToyGrid, rights

EVIL = "</script><script>alert('boolq')</script><!--"


class Scripts(HTMLParser):
    """Script elements, and every address that a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.fetched: list[str] = []
        self._is_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_script = tag == "script"
        if self._is_script:
            self.scripts.append((dict(attrs), ""))
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        if self._is_script:
            attrs, text = self.scripts[-1]
            self.scripts[-1] = (attrs, text + data)

    def handle_endtag(self, tag: str) -> None:
        self._is_script = False


def grids(text: str) -> dict[str, dict[str, Any]]:
    """What is embedded, by name."""
    found = [attrs["data-grid"] for attrs, _ in Scripts(text).scripts if attrs.get("class") == "grid"]
    texts = [text for attrs, text in Scripts(text).scripts if attrs.get("class") == "grid"]
    return {str(name): json.loads(text) for name, text in zip(found, texts, strict=True)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two datasets, two pairs, two methods, two seeds; curves of one student; an audit that warns."""
    home = Home(tmp_path_factory.mktemp("home"))
    grid = ToyGrid(home.root)
    for dataset in ("boolq", "sst2"):
        for seed in (0, 1):
            for method, right in (("xent", 140 + seed), ("logconf", 150)):
                for names in (("s", "m"), ("s", "l")):
                    weak, ceiling = rights(120, 80), rights(170 + seed, 30 - seed)
                    student = rights(right, 200 - right)
                    grid.pair(weak, student, ceiling, names=names, dataset=dataset, method=method, seed=seed)
    labels = {
        "dataset": "boolq",
        "model": "m",
        "half": "transfer_train",
        "supervisor": "s",
        "method": "xent",
        "seed": 0,
    }
    unseen = {"lr": 0.1, "gt_accuracy": None, "label_accuracy": None}
    curve = [{"step": step, "fraction": step / 48, "loss": 1 / step, **unseen} for step in range(1, 49)]
    curve[23] |= {"gt_accuracy": 0.7, "label_accuracy": 0.9}
    grid.training(curve, stage="train_w2s", **labels)
    grid.audit("warn")
    grid.run()
    build(grid.store, grid.results, output_kinds)
    return home


@pytest.fixture(scope="module")
def written(home: Home) -> str:
    return write_page(home, ["toy"], home.root / "out" / "toy.html").read_text()


def test_page_fetches_nothing_and_its_policy_lets_it_fetch_nothing(written: str) -> None:
    found = Scripts(written)

    assert found.fetched == ["data:,"]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', written)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy[1]
    assert "unsafe-eval" not in policy[1]
    run = [text for attrs, text in found.scripts if attrs.get("type") is None]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
    assert re.findall(r"'sha256-([^']*)'", policy[1]) == digests


def test_page_is_small(written: str) -> None:
    assert len(written.encode()) < 1_500_000


def test_texts_of_the_data_are_never_code(written: str) -> None:
    grid = {**grids(written)["toy"], "grid": EVIL, "specs": {}, "evil": f"{EVIL}\u2028&amp;"}

    text = page([grid], "vega", EVIL)

    assert grids(text)[EVIL]["evil"] == grid["evil"]
    assert len(Scripts(text).scripts) == 3
    assert "<script>alert" not in text


def test_rows_on_the_page_are_those_of_the_results(home: Home, written: str) -> None:
    grid = grids(written)["toy"]

    pairs = unpacked(grid["pairs"])
    expected = run_query(home.results, "SELECT * EXCLUDE grid FROM pgr_by_pair").to_pylist()
    assert len(pairs) == len(expected) == 8
    for row in expected:
        [shown] = [p for p in pairs if all(p[name] == row[name] for name in ("dataset", "weak", "strong", "method"))]
        assert {name: shown[name] for name in row} == pytest.approx(row, abs=1e-5)
    agreements = run_query(home.results, "SELECT * EXCLUDE (grid, interval_of, n_items) FROM agreement_by_pair")
    for row in agreements.to_pylist():
        [shown] = [p for p in pairs if all(p[name] == row[name] for name in ("dataset", "weak", "strong", "method"))]
        assert {name: shown[name] for name in row} == pytest.approx(row, abs=1e-5)
        assert shown["agreement_wrong_low"] < shown["agreement_wrong"] < shown["agreement_wrong_high"]
    seeds = unpacked(grid["seeds"])
    assert len(seeds) == 16
    assert {seed["flow_run"] for seed in seeds} == {FLOW_RUN}
    assert all(seed["pgr_low"] < seed["pgr"] < seed["pgr_high"] for seed in seeds)
    [audit] = unpacked(grid["audits"])
    assert (audit["verdict"], audit["check"]) == ("warn", "leak.length")


def test_medians_over_datasets_have_the_intervals_of_the_results(home: Home) -> None:
    over = "pgr_over(['weak', 'strong', 'method'])"
    expected = {
        (row["weak"], row["strong"], row["method"]): (row["median_pgr_low"], row["median_pgr_high"])
        for row in run_query(home.results, f"FROM {over}").to_pylist()
    }

    rows = pairs_of(home.results, "toy")

    assert len(expected) == 4
    for row in rows:
        low, high = expected[row["weak"], row["strong"], row["method"]]
        assert (row["median_low"], row["median_high"]) == pytest.approx((low, high), abs=1e-5)
        # Of two datasets, the middle of theirs.
        ends = [r["agreement_right_low"] for r in rows if (r["strong"], r["method"]) == (row["strong"], row["method"])]
        assert row["right_low"] == pytest.approx(median(ends), abs=2e-5)


def test_differences_and_tests_are_those_that_the_terminal_prints(home: Home, written: str) -> None:
    grid = grids(written)["toy"]

    for reference in ("xent", "logconf"):
        for table, by in (("differences", "pair"), ("tests", "method")):
            rows = [row for row in unpacked(grid[table]) if row["reference"] == reference]
            expected = compare(home.results, "toy", [reference], by).to_pylist()
            assert len(rows) == len(expected) > 0
            for row, wanted in zip(rows, expected, strict=True):
                assert row == pytest.approx({name: wanted[name] for name in row}, abs=1e-5)


def test_published_numbers_of_the_same_datasets_are_on_the_page(home: Home, written: str) -> None:
    rows = unpacked(grids(written)["toy"]["published"])

    assert len(rows) == len(run_query(home.results, "FROM beside_published"))
    assert ("boolq", "xent", "pgr", 0.513) in {
        (row["dataset"], row["method"], row["metric"], row["published"]) for row in rows
    }


def test_results_of_another_version_are_one_line_with_what_to_do(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.root.mkdir()
    other.results.write_bytes(home.results.read_bytes())
    with duckdb.connect(other.results) as connection:
        connection.execute("DROP VIEW beside_published")

    with pytest.raises(UsageError, match=r"another version of w2s.*`w2s results rebuild` builds it anew$"):
        grid_data(other, "toy")


def test_curve_is_thinned_and_keeps_what_validation_said(written: str) -> None:
    [curve] = unpacked(grids(written)["toy"]["curves"])

    assert curve["training"] == "w2s|m|transfer_train|s|xent|0"
    assert len(curve["fraction"]) == 24
    assert curve["loss"][0] == pytest.approx((1 + 1 / 2) / 2, abs=1e-5)
    assert [(at, acc) for at, acc in zip(curve["fraction"], curve["gt_accuracy"], strict=True) if acc] == [(0.5, 0.7)]


def test_provenance_has_the_grid_as_toml(written: str) -> None:
    run = grids(written)["toy"]["run"]

    assert tomllib.loads(run["toml"]) == {"name": "toy"}
    assert run["state"] == "complete"
    assert sum(stage["n"] for stage in run["stages"]) > 0


def test_results_can_be_looked_at_without_the_store(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.root.mkdir()
    other.results.write_bytes(home.results.read_bytes())

    data = grid_data(other, "toy")

    assert data["run"]["toml"] is None
    assert len(data["pairs"]["rows"]) == 8


def test_every_chart_is_on_the_page_and_has_a_title(written: str) -> None:
    specs = grids(written)["toy"]["specs"]

    on_page = re.findall(r'<figure data-chart="(\w+)">', written)
    assert set(on_page) | {"pair_curves"} == set(CHARTS) == set(specs)
    for name, spec in specs.items():
        assert spec["title"]["text"], name
        # All rows come from the page, so that it can choose them.
        assert spec["data"] == {"name": "rows"}, name


def test_words_say_what_is_counted(home: Home) -> None:
    rows = pairs_of(home.results, "toy")

    assert counted(rows) == "2 datasets · 2 pairs · 2 methods · 2 seeds · 200 test items · 8 of 8 sound"
    assert shape_of(rows).pairs == ["s → m", "s → l"]


def test_fresh_page_is_written_again_only_after_the_results(home: Home, written: str) -> None:
    there = home.report("toy")
    there.parent.mkdir(exist_ok=True)
    there.write_text(written)
    before = there.stat().st_mtime_ns
    assert fresh_page(home, "toy") == there
    assert there.stat().st_mtime_ns == before

    os.utime(home.results)

    assert fresh_page(home, "toy") == there
    assert there.stat().st_mtime_ns > before


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    sys.argv = ["w2s", "report", *arguments]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


def test_command_writes_all_grids_where_it_is_told(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("W2S_HOME", str(home.root))
    path = tmp_path / "new" / "r.html"

    assert command(capsys, "--output", str(path)) == (0, f"{path}\n")
    assert list(grids(path.read_text())) == ["toy"]


def test_unknown_grid_and_no_results_are_one_line(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = command(capsys, "toy")
    assert (code, output.count("\n")) == (2, 1)
    assert "run a grid first" in output

    monkeypatch.setenv("W2S_HOME", str(home.root))
    code, output = command(capsys, "toys")
    assert (code, output.count("\n")) == (2, 1)
    assert output.endswith("did you mean 'toy'?\n")


def test_unwritable_place_is_one_line(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match=r"^cannot write the report to .*file/r\.html: "):
        write_page(home, ["toy"], tmp_path / "file" / "r.html")
