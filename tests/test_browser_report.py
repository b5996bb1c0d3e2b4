"""The report as a person uses it, in Chromium; needs the extra ``browser``, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts.results.build import build
from flows.home import Home, output_kinds
from flows.report.page.page import write_page
from tests.test_browser import BROWSERS, FLAGS, picture
from tests.toy_grid import ToyGrid, rights

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

DATASETS = tuple(f"set{index}" for index in range(22))
MODELS = ("a", "b", "c", "d", "e")
METHODS = ("xent", "logconf")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 22 datasets, ten pairs and two methods, of which one is better by another amount in each."""
    home = Home(tmp_path_factory.mktemp("home"))
    grid = ToyGrid(home.root)
    for place, dataset in enumerate(DATASETS):
        for weak, strong in combinations(range(5), 2):
            for better, method in enumerate(METHODS):
                n_right = [100 + 15 * weak, 104 + 15 * weak + place // 2 + 3 * better, 100 + 15 * strong]
                right = [rights(n, 200 - n) for n in n_right]
                grid.pair(*right, names=(MODELS[weak], MODELS[strong]), dataset=dataset, method=method)
    grid.run()
    build(grid.store, grid.results, output_kinds)
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
    assert {url.partition("#")[0] for url in asked if not url.startswith(("data:", "blob:"))} == {written.as_uri()}
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


def test_click_on_a_cell_opens_its_pair(page: Page) -> None:
    assert page.locator("#pair").is_hidden()

    page.locator("figure[data-chart=heatmap] [aria-roledescription='text mark']").first.click()
    drawn(page)

    assert page.locator("#pair h2").inner_text() == "set0: a → b, xent"
    picture(page, "report-pair")


def test_what_is_chosen_is_downloaded_and_copied(page: Page) -> None:
    page.get_by_role("button", name="xent", exact=True).click()
    page.locator("#words").fill("set7 b")

    with page.expect_download() as started:
        page.get_by_role("button", name="Download CSV").click()
    lines = started.value.path().read_text().splitlines()
    page.get_by_role("button", name="Copy as SQL").click()

    assert lines[0].startswith("grid,dataset,weak,strong,method,")
    assert len(lines) == 1 + page.locator("#table tbody tr").count()
    assert all(line.startswith("toy,set7,") and ",logconf," in line for line in lines[1:])
    sql = page.locator("#sql-shown textarea").input_value()
    assert sql == "SELECT * FROM pgr_by_pair\nWHERE grid = 'toy'\n  AND method IN ('logconf')"


def test_dark_page_has_light_ink(page: Page) -> None:
    page.emulate_media(color_scheme="dark")

    colors = "[document.body, document.querySelector('figure svg .role-title text')]"
    ink, title = page.evaluate(f"() => {colors}.map(element => getComputedStyle(element).color)")
    assert ink == "rgb(230, 232, 236)"
    assert title == ink
    picture(page, "report-dark")


def test_page_of_a_wide_grid_is_under_five_megabytes(written: Path) -> None:
    assert written.stat().st_size < 5_000_000
