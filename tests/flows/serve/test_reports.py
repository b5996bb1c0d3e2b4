"""The pages of results behind the password of the server."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from flows.serve.reports import routes

AUTH = "w2s:geheim:ö"


@pytest.fixture
def app(tmp_path: Path) -> Starlette:
    home = tmp_path / "home"
    (home / "reports").mkdir(parents=True)
    (home / "reports" / "toy@1.html").write_text("the page")
    (home / "prefect").mkdir()
    (home / "prefect" / "auth.html").write_text(AUTH)
    return Starlette(routes=routes(home, AUTH))


def ask(app: Starlette, path: str, auth: str | None = AUTH) -> httpx.Response:
    headers = {} if auth is None else {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"}

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(get())


@pytest.mark.parametrize("auth", [None, "", "w2s:other", "w2s:geheim", "other:geheim:ö"])
@pytest.mark.parametrize("path", ["/report", "/report/toy@1", "/report/none"])
def test_nothing_is_shown_without_the_password(app: Starlette, path: str, auth: str | None) -> None:
    answer = ask(app, path, auth)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "geheim" not in answer.text
    assert "toy" not in answer.text


def test_page_is_served_as_it_was_written(app: Starlette) -> None:
    answer = ask(app, "/report/toy@1")

    assert (answer.status_code, answer.text) == (200, "the page")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"


def test_listing_names_the_pages(app: Starlette) -> None:
    answer = ask(app, "/report")

    assert answer.status_code == 200
    assert '<a href="/report/toy@1">toy@1</a>' in answer.text


@pytest.mark.parametrize(
    "path", ["/report/none", "/report/../prefect/auth", "/report/..%2Fprefect%2Fauth", "/report/..%2Freports%2Ftoy@1"]
)
def test_no_name_leads_out_of_the_folder(app: Starlette, path: str) -> None:
    answer = ask(app, path)

    assert answer.status_code == 404
    assert "geheim" not in answer.text
