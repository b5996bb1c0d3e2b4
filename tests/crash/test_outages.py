"""What a run needs is away for a minute: the server of the profile, the object store."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.test_deployed import SETTINGS, assert_each_once, assert_nothing_left, complete, start
from tests.harness import N_NODES
from tests.homes import DEADLINE_S, LONG
from tests.s3_server import Service
from tests.test_up import running
from tests.up import TICK, Up, free_port

pytestmark = pytest.mark.slow

OUTAGE_S = 60


class Profile:
    """A Prefect server of the user's own, as a profile names one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        port = free_port()
        auth = f"test:{secrets.token_urlsafe(12)}"
        self._url = f"http://127.0.0.1:{port}/api"
        self.settings = {**SETTINGS, "PREFECT_API_URL": self._url, "PREFECT_API_AUTH_STRING": auth}
        self._environment = {
            **os.environ,
            "PREFECT_HOME": str(folder),
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_API_AUTH_STRING": auth,
            "PREFECT_API_AUTH_STRING": auth,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        with (self._folder / "log").open("a") as log:
            command = [sys.executable, "-m", "prefect", "server", "start"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while self._process.poll() is None:
            with contextlib.suppress(urllib.error.HTTPError):
                try:
                    direct.open(f"{self._url}/health", timeout=10).close()
                    return
                except urllib.error.HTTPError:
                    return  # it asks for the password
                except OSError:
                    TICK.wait(0.2)
        raise AssertionError((self._folder / "log").read_text())

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()


@contextlib.contextmanager
def serving(profile: Profile) -> Iterator[Profile]:
    profile.start()
    try:
        yield profile
    finally:
        profile.stop(signal.SIGTERM)


def test_crash_of_the_profiles_server_ends_no_typed_run_and_leaves_nothing_running(tmp_path: Path) -> None:
    with serving(Profile(tmp_path / "server")) as profile:
        up = Up(tmp_path, profile.settings)
        grid = up.grid("typed", training=LONG)
        process = up.command("run", grid)
        up.wait_for_training()
        profile.stop()
        profile.start()
        output, _ = process.communicate(timeout=DEADLINE_S)

        assert "Traceback" not in output
        if process.returncode != 0:
            assert "finished stages stay" in output
            code, output = up.run("run", grid)
            assert code == 0, output
        assert_each_once(up)
        assert len(up.executed()) == sum(N_NODES.values())


def test_crash_of_the_object_store_for_a_minute_fails_no_deployed_run(
    s3_url: str, s3_service: Service, tmp_path: Path
) -> None:
    with contextlib.contextmanager(running)(Up(tmp_path, {**SETTINGS, "W2S_STORE": s3_url})) as up:
        id, _ = start(up, "store", 1, datasets=["sst2", "boolq"])
        s3_service.is_away = True
        TICK.wait(OUTAGE_S)
        s3_service.is_away = False

        complete(up, id)
        assert_each_once(up)
        assert_nothing_left(up, id)
