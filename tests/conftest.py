"""Fixtures for all tests: a clean environment, and the package's sources recorded as they load."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from artifacts.loaded import record

# Stages that tests run in this process check that the code they loaded is the code that was ordered.
record("w2s_core")

os.environ["HF_HUB_OFFLINE"] = "1"

# A shell that starts the tests in the background makes them, and all that they start, deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's reaches a test, and no test writes outside its folder."""
    for name in list(os.environ):
        if name.startswith(("W2S_", "PREFECT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("W2S_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def no_disk_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut would lose is not tested, and waiting for the disk is most of the time of a store test."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
