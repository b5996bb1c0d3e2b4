"""The report as a person uses it, in Chromium; needs the extra ``browser``, and a browser."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from artifacts.results.build import build
from artifacts.results.comparisons import compare
from artifacts.results.query import pgr_table, run_query
from flows.home import Home, output_kinds
from flows.report.page.page import write_page
from tests.test_browser import BROWSERS, FLAGS, picture
from tests.toy_grid import FLOW_RUN, ToyGrid, rights

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

DATASETS = (*(f"set{index}" for index in range(21)), "boolq")
"""Of the last one, numbers are published."""
MODELS = ("a", "b", "c", "d", "e")
METHODS = ("xent", "logconf")

SERVED = "http://localhost:1/report/toy"
"""Where a server would have the page; there is none."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Results of 22 datasets, ten pairs and two methods, of which one is better by another amount in each."""
    home = Home(tmp_path_factory.mktemp("home"))
    grid = ToyGrid(home.root)
    for place, dataset in enumerate(DATASETS):
        for weak, strong in combinations(range(5), 2):
            for better, method in enumerate(METHODS):
                n_right = [100 + 15 * weak, 104 + 15 * weak + place // 2 + (1 + place % 5) * better, 100 + 15 * strong]
                right = [rights(n, 200 - n) for n in n_right]
                grid.pair(*right, names=(MODELS[weak], MODELS[strong]), dataset=dataset, method=method)
    grid.run()
    build(grid.store, grid.results, output_kinds)
    return home


@pytest.fixture(scope="module")
def written(home: Home) -> Path:
    return write_page(home, ["toy"], home.root / "toy.html")


@pytest.fixture
def page(written: Path) -> Iterator[Page]:
    """The report, drawn; at the end nothing but the file has been asked for, and no script has failed."""
    playwright = pytest.importorskip("playwright.sync_api")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is there")
    asked: list[str] = []
    failed: list[str] = []
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=browser, args=FLAGS)
        page = opened.new_page(viewport={"width": 1400, "height": 1100})
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("console", lambda message: failed.append(message.text))
        page.goto(written.as_uri())
        drawn(page)
        yield page
        opened.close()
    fetched = {url.partition("#")[0] for url in asked if not url.startswith(("data:", "blob:"))}
    assert fetched - {SERVED} == {written.as_uri()}
    assert failed == []


def drawn(page: Page) -> None:
    page.locator("body[data-drawn=yes]").wait_for()


def test_method_that_is_switched_off_is_gone_and_the_address_says_so(page: Page) -> None:
    heatmap = page.locator("figure[data-chart=heatmap]")
    assert heatmap.locator("[aria-roledescription='rect mark']").count() == 440
    assert page.locator("#table tbody tr").count() == 440
    picture(page, "report")

    page.get_by_role("button", name="logconf", exact=True).click()
    drawn(page)

    assert heatmap.locator("[aria-roledescription='rect mark']").count() == 220
    assert set(page.locator("#table tbody td:nth-child(4)").all_inner_texts()) == {"xent"}
    assert "no-method=logconf" in page.url

    page.reload()
    drawn(page)
    assert page.locator("#table tbody tr").count() == 220


def test_table_is_sorted_by_a_column_both_ways(page: Page) -> None:
    def column() -> list[float]:
        return [float(text) for text in page.locator("#table tbody td:nth-child(7)").all_inner_texts()]

    page.locator("#table th").nth(6).get_by_role("button").click()
    assert column() == sorted(column())
    page.locator("#table th").nth(6).get_by_role("button").click()
    assert column() == sorted(column(), reverse=True)
    assert page.locator("#table th").nth(6).get_attribute("aria-sort") == "descending"


def test_click_on_a_cell_opens_its_pair(page: Page, written: Path) -> None:
    assert page.locator("#pair").is_hidden()

    page.locator("figure[data-chart=heatmap] [aria-roledescription='text mark']").first.click()
    drawn(page)

    assert page.locator("#pair h2").inner_text() == "set0: a → b, xent"
    assert page.locator("#pair").get_by_text(f"Student made by flow run {FLOW_RUN}").is_visible()
    assert page.locator("#pair a").count() == 0
    picture(page, "report-pair")

    address = page.url.partition("#")[2]
    page.route(SERVED, lambda route: route.fulfill(path=written, content_type="text/html"))
    page.goto(f"{SERVED}#{address}")
    drawn(page)
    link = page.locator("#pair a").first
    assert (link.inner_text(), link.evaluate("link => link.href")) == (
        FLOW_RUN[:8],
        f"http://localhost:1/runs/flow-run/{FLOW_RUN}",
    )


def test_what_is_chosen_is_downloaded_and_copied(page: Page, home: Home) -> None:
    page.get_by_role("button", name="xent", exact=True).click()
    page.locator("#words").fill("set7 b")

    with page.expect_download() as started:
        page.get_by_role("button", name="Download CSV").click()
    lines = started.value.path().read_text().splitlines()
    page.get_by_role("button", name="Copy as SQL").click()

    assert lines[0].startswith("grid,dataset,weak,strong,method,")
    assert len(lines) == 1 + page.locator("#table tbody tr").count()
    assert all(line.startswith("toy,set7,") and ",logconf," in line for line in lines[1:])
    sql = page.locator("#copied textarea").input_value()
    assert sql.endswith("WHERE grid = 'toy'\n  AND method IN ('logconf')")
    page.get_by_role("button", name="Copy for Parquet").click()
    command = shlex.split(page.locator("#copied textarea").input_value())
    assert command == ["w2s", "sql", " ".join(sql.split()), "--output", "toy-pairs.parquet"]

    # What is copied is what the table shows, in its order.
    page.locator("#words").fill("")
    for level in ("pairs", "seeds"):
        page.locator("#level").select_option(level)
        place = [text.strip(" ↑↓") for text in page.locator("#table th").all_inner_texts()].index("agreement")
        page.locator("#table th").nth(place).get_by_role("button").click()
        page.get_by_role("button", name="Copy as SQL").click()
        found = run_query(home.results, page.locator("#copied textarea").input_value())
        shown = page.locator(f"#table tbody td:nth-child({place + 1})").all_inner_texts()
        assert [number.partition(" ")[0] for number in shown] == [
            f"{share:.3f}" for share in found["agreement"].to_pylist()
        ]


def numbers(cell: str) -> list[float]:
    """A number and its interval, if it has one, as tables show them."""
    return [float(number) for number in re.findall(r"-?[0-9.]+", cell.replace("−", "-"))]


def wanted(row: dict[str, Any], name: str) -> Any:
    """What they are in the results, but for two decimals."""
    return pytest.approx([row[f"{name}{end}"] for end in ("", "_low", "_high")], abs=0.0051)


def cells(page: Page, table: str) -> list[list[str]]:
    """The body of a table, from top to bottom."""
    rows = page.locator(f"#{table} tbody tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def test_medians_and_differences_have_the_intervals_of_the_results_and_of_a_choice_those_that_it_has(
    page: Page, home: Home
) -> None:
    by_method = {row["method"]: row for row in pgr_table(home.results, "toy", "method").to_pylist()}
    difference, _ = compare(home.results, "toy", ["xent", "logconf"]).to_pylist()

    for method, middle, mean, *_ in cells(page, "by-method"):
        row = by_method.pop(method)
        assert (numbers(middle), numbers(mean)) == (wanted(row, "median_pgr"), wanted(row, "mean_pgr"))
    assert not by_method
    [accuracy, recovered] = cells(page, "comparison-table")
    assert [accuracy[0], accuracy[1], recovered[1]] == ["logconf", "accuracy", "PGR"]
    assert numbers(recovered[2]) == wanted(difference, "difference")
    assert numbers(recovered[3]) == wanted(difference, "median_difference")
    assert recovered[4:6] == [str(difference["n_better"]), str(difference["n_worse"])]

    page.locator("nav summary").click()
    page.get_by_role("button", name="set3", exact=True).click()
    drawn(page)
    [middle, mean] = cells(page, "by-method")[0][1:3]
    assert len(numbers(mean)) == 3
    assert len(numbers(middle)) == 1  # the bootstrap over other datasets is not on the page

    page.get_by_role("button", name="set0", exact=True).click(modifiers=["Shift"])
    for dataset in DATASETS[1:3]:
        page.get_by_role("button", name=dataset, exact=True).click()
    drawn(page)
    few = "WITH few AS (FROM pgr_by_pair WHERE dataset IN $few) FROM pgr_over(['method'], pairs := 'few')"
    expected = {row["method"]: row for row in run_query(home.results, few, {"few": list(DATASETS[:3])}).to_pylist()}
    for method, middle, mean, of, *_ in cells(page, "by-method"):
        row = expected.pop(method)
        assert (numbers(middle), numbers(mean)) == (wanted(row, "median_pgr"), wanted(row, "mean_pgr"))
        assert of == row["interval_of"] == "items only"
    assert not expected


def test_published_numbers_stand_beside_ours(page: Page) -> None:
    rows = cells(page, "published-table")

    names = page.locator("#published-table th").all_inner_texts()
    said = [dict(zip(names, row, strict=True)) for row in rows]
    assert {(row["dataset"], row["method"]) for row in said} == {("boolq", "xent"), ("boolq", "logconf")}
    assert {row["how it was had"] for row in said} == {"read in code or documents", "measured from a figure"}
    assert all(row["published by"] != "–" and row["here"].endswith(")") for row in said)
    assert (
        page.locator("#published-said").inner_text() == f"{len(rows)} published numbers of what is in this grid, too."
    )

    page.locator("nav summary").click()
    page.get_by_role("button", name="boolq", exact=True).click()
    drawn(page)
    assert page.locator("#published-said").inner_text().startswith("Nothing matches")
    assert page.locator("figure[data-chart=published]").is_hidden()


def test_dark_page_has_light_ink(page: Page) -> None:
    page.emulate_media(color_scheme="dark")

    colors = "[document.body, document.querySelector('figure svg .role-title text')]"
    ink, title = page.evaluate(f"() => {colors}.map(element => getComputedStyle(element).color)")
    assert ink == "rgb(230, 232, 236)"
    assert title == ink
    picture(page, "report-dark")


def test_page_of_a_wide_grid_is_under_five_megabytes(written: Path) -> None:
    assert written.stat().st_size < 5_000_000
