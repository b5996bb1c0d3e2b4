"""A service with S3's protocol on loopback, in a thread of this process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

BUCKET = "w2s-tests"
SETTINGS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "eu-central-1"}


@dataclass
class Service:
    """Moto, which looks whether an object is there and then writes it; here, as in a real service, that is one step."""

    application: Any
    address: str = ""
    lost: list[str] = field(default_factory=list)
    """Ends of paths: the next write of each is done, and answered with an error."""
    is_away: bool = False
    """Whether every request is answered with an error."""
    n_turned_away: int = 0
    """Requests so answered."""
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if self.is_away:
            self.n_turned_away += 1
            start_response("503 Service Unavailable", [], None)
            return []
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self.application(environ, start_response)
        with self._writing:
            answer = self.application(environ, start_response)
            for end in [end for end in self.lost if environ["PATH_INFO"].endswith(end)]:
                self.lost.remove(end)
                start_response("500 Internal Server Error", [], None)
                return []
            return answer


@contextlib.contextmanager
def serve() -> Iterator[Service]:
    """A service that has one bucket, ``BUCKET``, until the block ends."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, *arguments: object) -> None:
            """Nothing of each request on stderr."""

    service = Service(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, service, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service.address = f"http://127.0.0.1:{server.port}"
    making = client(service.address)
    # All services of a process have the same buckets.
    with contextlib.suppress(making.exceptions.BucketAlreadyOwnedByYou):
        making.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": SETTINGS["AWS_REGION"]})
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client(address: str) -> Any:
    """A client of the service, for what a store never does."""
    import boto3.session

    return boto3.session.Session().client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=SETTINGS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=SETTINGS["AWS_SECRET_ACCESS_KEY"],
        region_name=SETTINGS["AWS_REGION"],
    )
