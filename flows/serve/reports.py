"""The pages of a home's results, as its server serves them: behind the same password as Prefect's API.

They are files that runs and ``w2s report`` have written; nothing is computed here.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import html
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

LISTING = """<!doctype html><meta charset="utf-8"><title>w2s: results</title>
<style>:root {{ color-scheme: light dark }} body {{ font: 16px/1.6 system-ui, sans-serif; margin: 2em }}</style>
<h1>Results</h1>{links}<p><a href="/runs">Runs in Prefect</a></p>"""


def routes(home: Path, auth: str) -> list[Route]:
    """``/report``, which lists the pages, and ``/report/GRID``.

    Args:
        home: folder of the project.
        auth: ``user:password``, as Prefect's API asks for.
    """
    from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse
    from starlette.routing import Route

    def pages() -> dict[str, Path]:
        found = sorted((home / "reports").glob("*.html"))
        return {path.stem: path for path in found}

    def answer(request: Request) -> Response:
        if not _knows(request.headers.get("Authorization", ""), auth):
            asking = {**HEADERS, "WWW-Authenticate": 'Basic realm="w2s", charset="UTF-8"'}
            return PlainTextResponse(f"log in with what is in {home / 'prefect' / 'auth'}", 401, asking)
        there, grid = pages(), request.path_params.get("grid")
        if grid is None:
            items = "".join(f'<li><a href="/report/{html.escape(name)}">{html.escape(name)}</a>' for name in there)
            return HTMLResponse(
                LISTING.format(links=f"<ul>{items}</ul>" if items else "<p>None yet.</p>"), 200, HEADERS
            )
        if grid not in there:  # so no name leads out of the folder
            return PlainTextResponse(f"no report of {grid}: w2s report {grid} writes it", 404, HEADERS)
        return FileResponse(there[grid], 200, HEADERS, media_type="text/html; charset=utf-8")

    return [Route("/report", answer), Route("/report/{grid}", answer)]


def _knows(header: str, auth: str) -> bool:
    """Whether a request has the password."""
    scheme, _, coded = header.partition(" ")
    try:
        given = base64.b64decode(coded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, auth.encode())
