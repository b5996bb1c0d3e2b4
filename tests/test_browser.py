"""The UI as a person uses it, in Chromium; needs the extra ``browser``, and a browser."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.up import DEADLINE_S, Up

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
GRID = "tiny-boolq-sciq-logconf-xent"
"""What the file ``tiny`` is called with the datasets and methods that are chosen."""

SCREENSHOTS = os.environ.get("SCREENSHOTS")
"""Folder for a picture of every page that is opened, to look at."""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path)
    up.start()
    yield up
    up.stop()
    up.wait_until_gone()


@pytest.fixture
def page(up: Up) -> Iterator[Page]:
    """A page of a browser without a window, which is closed before ``up`` stops."""
    playwright = pytest.importorskip("playwright.sync_api")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is there")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=browser, args=FLAGS)
        page = opened.new_page(viewport={"width": 1400, "height": 1100})
        page.set_default_timeout(30_000)
        yield page
        opened.close()


def picture(page: Page, name: str) -> None:
    if SCREENSHOTS:
        page.wait_for_timeout(1500)  # until charts have stopped moving
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def log_in(page: Page, up: Up) -> None:
    page.goto(up.url)
    page.locator("input[type=password]").fill((up.home / "prefect" / "auth").read_text().strip())
    page.keyboard.press("Enter")
    page.get_by_text("Deployments", exact=True).first.wait_for()


def field(page: Page, name: str) -> Locator:
    """A field of the run form."""
    return page.locator(".p-label", has=page.get_by_text(re.compile(f"^{name} "))).last


def choose(page: Page, name: str, values: list[str]) -> None:
    """Choose from the list of a field."""
    field(page, name).locator("button.p-select-button__control").focus()
    page.keyboard.press("ArrowDown")
    for value in values:
        page.get_by_role("option", name=value, exact=True).click()
    page.get_by_text("Parameters", exact=True).first.click()  # elsewhere, which closes the list


def test_browser_runs_the_quick_grid_from_its_form_and_shows_its_pgr(page: Page, up: Up) -> None:
    log_in(page, up)
    page.goto(f"{up.url}/deployments")
    page.get_by_text("quick-grid").first.click()
    picture(page, "deployment")

    page.goto(f"{up.url}/deployments/deployment/{up.deployment('grid/quick-grid')['id']}/run")
    page.get_by_text("Datasets").first.wait_for()
    choose(page, "Datasets", ["sciq", "boolq"])
    choose(page, "Methods", ["xent", "logconf"])
    field(page, "File").locator("textarea").fill(up.grid("tiny"))  # whose models are trained in no time
    picture(page, "form")
    run = submit(page)
    page.goto(f"{up.url}/runs/flow-run/{run['id']}")
    # The page has the logs of the children, too, which reuse what the grid has made before.
    page.get_by_text(re.compile("Finished in state Completed.*ran, 0 reused")).wait_for(timeout=DEADLINE_S * 1000)
    picture(page, "flow-run")
    for child in up.children(run["id"]):
        page.goto(f"{up.url}/runs/flow-run/{child['id']}")
        page.get_by_text("Finished in state Completed").first.wait_for()
        picture(page, f"flow-run-{child['tags'][0]}")

    open_artifact(page, up, f"{GRID}-plan", "never built")
    open_artifact(page, up, f"{GRID}-pgr", "boolq")
    rows = page.locator("tr").all_inner_texts()
    shown = [row.split()[:4] for row in rows[1:]]
    shows_figures(page, up)
    assert shown == [[dataset, "s", "m", method] for dataset in ("sciq", "boolq") for method in ("xent", "logconf")]
    leads_to_its_run(page, up)


def leads_to_its_run(page: Page, up: Up) -> None:
    """A pair on the page of the results has a link to the flow run that made it."""
    browser = page.context.browser
    assert browser is not None
    name, _, password = (up.home / "prefect" / "auth").read_text().strip().partition(":")
    context = browser.new_context(http_credentials={"username": name, "password": password})
    page = context.new_page()
    log_in(page, up)
    page.goto(f"{up.url}/report/{GRID}")
    page.locator("figure[data-chart=heatmap] [aria-roledescription='text mark']").first.click()
    page.locator("#pair a").first.click()
    page.get_by_text("Finished in state Completed").first.wait_for()
    assert "/runs/flow-run/" in page.url
    picture(page, "run-of-a-pair")
    context.close()


def submit(page: Page) -> dict[str, Any]:
    """Submit the form; the flow run that comes of it."""
    with page.expect_response(re.compile("/create_flow_run$")) as answer:
        page.get_by_role("button", name="Submit").click()
    assert answer.value.status == 201
    run: dict[str, Any] = answer.value.json()
    return run


def shows_figures(page: Page, up: Up) -> None:
    """Both figures of the grid are drawn on the page of their artifact."""
    page.goto(f"{up.url}/artifacts/key/{GRID}-figures")
    page.locator("a[href^='/artifacts/artifact/']").first.click()
    images = page.get_by_role("img", name=re.compile(f" of {GRID}$"))
    images.nth(1).wait_for()
    assert images.evaluate_all("found => found.map(image => image.naturalWidth > 300)") == [True, True]
    picture(page, "figures")


def open_artifact(page: Page, up: Up, key: str, cell: str) -> None:
    """Open the latest artifact with a key; it has a cell that says ``cell``."""
    page.goto(f"{up.url}/artifacts/key/{key}")
    page.locator("a[href^='/artifacts/artifact/']").first.click()
    page.locator("td", has_text=cell).first.wait_for()
    picture(page, key)
