"""A Hub on this machine: it serves the files of dataset repositories from a folder, and remembers every request.

It answers no more than ``huggingface_hub`` and ``datasets`` ask for to load a dataset.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ASKED = re.compile(
    r"(/api)?/datasets/(?P<id>[^/]+(/[^/]+)?)/(?P<action>revision|tree|resolve)/(?P<revision>[^/]+)"
    r"(/(?P<below>.*))?"
)


@dataclass
class FakeHub:
    """Repositories as folders, ``<root>/<id>/<branch>/<file>``; a branch has one commit."""

    root: Path
    gated: set[str] = field(default_factory=set)
    """Ids of repositories whose files nobody may read."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Old id to present id; who asks for the old one is sent on."""
    requests: list[str] = field(default_factory=list)
    """Method and path of each request, such as ``"GET /datasets/org/name/resolve/main/README.md"``."""
    url: str = ""

    def commit(self, id: str, branch: str = "main") -> str:
        """The commit of a branch: a hash of its content."""
        folder = self.root / id / branch
        files = [(path.relative_to(folder).as_posix(), path.read_bytes().hex()) for path in _files(folder)]
        return hashlib.sha1(repr((id, files)).encode()).hexdigest()

    def branch(self, id: str, revision: str) -> Path | None:
        """The folder of a branch, or of the branch that has this commit."""
        branches = [path for name in ("main", "refs/convert/parquet") if (path := self.root / id / name).is_dir()]
        for path in branches:
            name = path.relative_to(self.root / id).as_posix()
            if revision in (name, self.commit(id, name)):
                return path
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """``hub`` at ``hub.url``, for as long as the context lasts."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are recorded, not printed."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.hub.requests.append(f"{self.command} {unquote(self.path)}")
        match = ASKED.fullmatch(urlsplit(self.path).path)
        if match is None:
            return self._fail(404, "RepoNotFound")
        if match["id"] in self.hub.renamed:
            return self._send(307, b"", {"Location": self.path.replace(match["id"], self.hub.renamed[match["id"]], 1)})
        revision, below = unquote(match["revision"]), unquote(match["below"] or "")
        if match["action"] == "resolve":
            return self._resolve(match["id"], revision, below)
        return self._api(match["id"], match["action"], revision, below)

    def _api(self, id: str, action: str, revision: str, below: str) -> None:
        if not (self.hub.root / id).is_dir():
            return self._fail(401 if action == "revision" else 404, "RepoNotFound")
        branch = self.hub.branch(id, revision)
        if branch is None:
            return self._fail(404, "RevisionNotFound")
        if action == "revision":
            siblings = [{"rfilename": path.relative_to(branch).as_posix()} for path in _files(branch)]
            name = branch.relative_to(self.hub.root / id).as_posix()
            return self._json({"id": id, "sha": self.hub.commit(id, name), "siblings": siblings, "private": False})
        place = branch / below
        if not place.is_dir():
            return self._fail(404, "EntryNotFound")
        return self._json([_entry(path, branch) for path in sorted(place.iterdir())])

    def _resolve(self, id: str, revision: str, file: str) -> None:
        if id in self.hub.gated:
            return self._fail(403, "GatedRepo")
        branch = self.hub.branch(id, revision)
        if branch is None:
            return self._fail(404, "RepoNotFound" if not (self.hub.root / id).is_dir() else "RevisionNotFound")
        commit = self.hub.commit(id, branch.relative_to(self.hub.root / id).as_posix())
        path = branch / file
        if not path.is_file():
            return self._fail(404, "EntryNotFound", commit)
        content = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            return self._send(200, content, headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = slice(int(first), int(last) + 1 if last else None)
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(content[part]) - 1}/{len(content)}"
        return self._send(206, content[part], headers)

    def _fail(self, status: int, code: str, commit: str = "") -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Repo-Commit": commit})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(path: Path, branch: Path) -> dict[str, Any]:
    kind = "directory" if path.is_dir() else "file"
    size = 0 if path.is_dir() else path.stat().st_size
    return {"type": kind, "path": path.relative_to(branch).as_posix(), "size": size, "oid": "0" * 40}
