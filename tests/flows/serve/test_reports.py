"""The pages of results behind the password of the server."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

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


def ask(app: Starlette, path: str, auth: str | None = AUTH) -> tuple[int, dict[str, str], str]:
    """Status, headers and body."""
    headers = [] if auth is None else [(b"authorization", b"Basic " + base64.b64encode(auth.encode()))]
    sent = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "query_string": b"", "root_path": ""}
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    start = sent[0]
    found = {name.decode(): value.decode() for name, value in start["headers"]}  # type: ignore[attr-defined]
    body = b"".join(message.get("body", b"") for message in sent[1:])  # type: ignore[misc]
    return start["status"], found, body.decode()  # type: ignore[return-value]


@pytest.mark.parametrize("auth", [None, "", "w2s:other", "w2s:geheim", "other:geheim:ö"])
@pytest.mark.parametrize("path", ["/report", "/report/toy@1", "/report/none"])
def test_nothing_is_shown_without_the_password(app: Starlette, path: str, auth: str | None) -> None:
    status, headers, body = ask(app, path, auth)

    assert status == 401
    assert headers["www-authenticate"].startswith("Basic ")
    assert "geheim" not in body
    assert "toy" not in body


def test_page_is_served_as_it_was_written(app: Starlette) -> None:
    status, headers, body = ask(app, "/report/toy@1")

    assert (status, body) == (200, "the page")
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"


def test_listing_names_the_pages(app: Starlette) -> None:
    status, _, body = ask(app, "/report")

    assert status == 200
    assert '<a href="/report/toy@1">toy@1</a>' in body


@pytest.mark.parametrize(
    "path", ["/report/none", "/report/../prefect/auth", "/report/..%2Fprefect%2Fauth", "/report/."]
)
def test_no_name_leads_out_of_the_folder(app: Starlette, path: str) -> None:
    status, _, body = ask(app, path)

    assert status == 404
    assert "geheim" not in body
