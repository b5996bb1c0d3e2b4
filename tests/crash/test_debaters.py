"""A real server of debaters (that of ``transformers``) that is busy, slow and killed, and a run that is killed too."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from tests.chat_server import serving
from tests.homes import DEADLINE_S, TICK, Runs
from tests.tiny_models import tiny_chat
from tests.up import free_port

pytestmark = pytest.mark.slow

KEY = "sk-very-secret"

N_TURNS = 3 * 44
"""Of each row of the judge's half, of the student's, of validation and of test."""

TIMEOUT_S = 8.0

SERVER_DIES_AT = 20
RUN_DIES_AT = 70
"""Answers."""


class Real:
    """``transformers serve``, which can be killed and comes back at the same place."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self._port = free_port()
        # Without the home, or the server would look like a process of the run.
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith("W2S_")}
        self._environ["HF_HUB_OFFLINE"] = "1"
        self.url = f"http://127.0.0.1:{self._port}"
        self.begin()

    def begin(self) -> None:
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(self._model)]
        place = ["--host", "127.0.0.1", "--port", str(self._port), "--device", "cpu", "--log-level", "error"]
        self._process = subprocess.Popen(
            [*command, *place], env=self._environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def wait(self) -> None:
        for _ in range(DEADLINE_S * 10):
            try:
                if httpx.get(f"{self.url}/health").status_code == 200:
                    return
            except httpx.TransportError:
                assert self._process.poll() is None
            TICK.wait(0.1)
        raise AssertionError("no server")

    def die(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    server = Real(tiny_chat(tmp_path / "chat"))
    server.wait()
    yield server
    server.die()


def test_all_is_said_once_by_a_real_server_that_is_busy_slow_and_dies_and_by_a_run_that_is_killed(
    real: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    lock, over, run_may_die = threading.Lock(), threading.Event(), threading.Event()
    answered: list[str] = []
    troubles = {"busy": 0, "slow": 0, "gone": 0}

    def answer(request: dict[str, Any], n_before: int) -> tuple[int, dict[str, str], str]:
        with lock:
            n = len(answered)
            if n_before == 0 and n % 7 == 3:
                troubles["busy"] += 1
                return 429, {"Retry-After": "0"}, f"not now, {KEY}"
            is_slow = troubles["slow"] == 0 and n == 5
            troubles["slow"] += is_slow
        if is_slow:
            over.wait(1.5 * TIMEOUT_S)
            return 0, {}, ""
        try:
            response = httpx.post(f"{real.url}/v1/chat/completions", json=request, timeout=DEADLINE_S)
        except httpx.TransportError:
            troubles["gone"] += 1
            return 0, {}, ""
        with lock:
            answered.append(request["messages"][0]["content"])
            if len(answered) == SERVER_DIES_AT:
                real.die()
                real.begin()
            if len(answered) == RUN_DIES_AT:
                run_may_die.set()
        return response.status_code, {}, response.text

    runs = Runs(tmp_path)
    with serving(answer) as (url, got):
        debater = {"kind": "openai", "base_url": url, "model": str(tmp_path / "chat"), "key_name": "THE_KEY"}
        grid = runs.grid(
            supervisors=[{"name": "debate", "kind": "debate", "judge": "s", "debater": {**debater, "max_tokens": 6}}],
            pairs=[["debate", "m"]],
            runtime={"requests": 3, "request_timeout_s": TIMEOUT_S},
        )
        process = runs.command("run", grid)
        assert run_may_die.wait(DEADLINE_S)
        os.kill(process.pid, signal.SIGKILL)
        first = process.communicate()[0]
        runs.wait_until_gone()
        code, second = runs.run("run", grid)
        over.set()

    assert code == 0, second
    assert troubles["slow"] == 1
    assert min(troubles.values()) > 0, troubles
    assert {key for _, key in got} == {f"Bearer {KEY}"}
    said = [
        (folder.name, turn["id"], turn["turn"])
        for folder in sorted((runs.home / "store" / "transcripts").glob("[!.]*"))
        for turn in pq.read_table(folder / "texts.parquet").to_pylist()
    ]
    assert len(said) == len(set(said)) == N_TURNS
    files = [path for path in runs.home.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert not re.search(KEY, first + second)
