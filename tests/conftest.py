"""Fixtures for all tests: a clean environment, and the package's sources recorded as they load."""

from __future__ import annotations

import gc
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifacts.identity.loaded import record
from tests import s3_server

# Stages that tests run in this process check that the code they loaded is the code that was ordered.
record("w2s_core")

os.environ["HF_HUB_OFFLINE"] = "1"

# Tests train side by side; threads of torch that wait for a core spin on it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# As the command line does: of the millions of objects of the libraries and of the tests, nearly all stay.
gc.set_threshold(100_000)

# A shell that starts the tests in the background makes them, and all that they start, deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's reaches a test, and no test writes outside its folder."""
    for name in list(os.environ):
        if name.startswith(("W2S_", "PREFECT_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("W2S_HOME", str(tmp_path / "home"))
    # Of the developer's own runs, too.
    monkeypatch.setenv("W2S_SLOTS", str(tmp_path / "slots"))


@pytest.fixture(autouse=True)
def no_disk_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut would lose is not tested, and waiting for the disk is most of the time of a store test."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def s3_service() -> Iterator[s3_server.Service]:
    """A service with S3's protocol."""
    with s3_server.serve() as service:
        yield service


@pytest.fixture
def s3_url(s3_service: s3_server.Service, clean_environ: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place for a store, with all that it takes to reach it in the environment."""
    for name, value in {**s3_server.SETTINGS, "AWS_ENDPOINT_URL": s3_service.address}.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.BUCKET}/{uuid.uuid4().hex[:8]}"
