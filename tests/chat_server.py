"""An OpenAI-compatible server on loopback, of the standard library, whose answers a test chooses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any], int], tuple[int, dict[str, str], str]]
"""From a request and how often it was made before, to status, headers and body."""


def completion(text: str, reason: str = "stop") -> str:
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": reason}], "usage": usage})


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[tuple[dict[str, Any], str | None]]]]:
    """The URL of a server, and the requests that it got, with the key of each."""
    got: list[tuple[dict[str, Any], str | None]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                n_before = sum(other == request for other, _ in got)
                got.append((request, self.headers.get("Authorization")))
            status, headers, body = answer(request, n_before)
            if status == 0:  # gone in the middle
                self.connection.close()
                return
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
