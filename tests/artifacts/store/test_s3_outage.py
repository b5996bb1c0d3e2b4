"""A service that is away: who is patient asks again until it is back, whatever else waits in the same process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifacts.errors import StoreUnavailable
from artifacts.store.s3.objects import Objects
from tests.s3_server import Service
from tests.up import TICK

N_THREADS = 16
N_REQUESTS = 40 * N_THREADS
"""More than boto3's own quota of retries lets through."""


@pytest.fixture
def outage(s3_service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The service while it is away; nobody pauses between two requests."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    s3_service.n_turned_away = 0
    s3_service.is_away = True
    yield s3_service
    s3_service.is_away = False


@pytest.mark.slow
def test_all_threads_of_a_process_wait_out_an_outage(s3_url: str, outage: Service, tmp_path: Path) -> None:
    objects = Objects(s3_url)
    file = tmp_path / "file"
    file.write_bytes(b"weights")

    def use(n: int) -> list[bytes]:
        objects.upload(file, f"{n}/uploaded")
        assert objects.write(f"{n}/written", b"text", over=None) is not None
        objects.download(f"{n}/uploaded", tmp_path / str(n))
        paths = [entry.path for entry in objects.entries(f"{n}/")]
        return [(tmp_path / str(n)).read_bytes(), *(found.content for found in map(objects.read, paths) if found)]

    with ThreadPoolExecutor(N_THREADS) as threads:
        using = [threads.submit(use, n) for n in range(N_THREADS)]
        while outage.n_turned_away < N_REQUESTS and not any(future.done() for future in using):
            TICK.wait(0.01)
        outage.is_away = False
        assert [future.result() for future in using] == [[b"weights", b"weights", b"text"]] * N_THREADS


def test_who_cannot_wait_is_told_after_a_few_requests(s3_url: str, outage: Service) -> None:
    with pytest.raises(StoreUnavailable, match="503"):
        Objects(s3_url).impatient().read("marker")
    assert outage.n_turned_away < 10


def test_refusal_is_told_at_once_to_who_is_patient(s3_url: str, s3_service: Service) -> None:
    with pytest.raises(StoreUnavailable, match="there is no bucket nowhere"):
        Objects("s3://nowhere/store").read("marker")
