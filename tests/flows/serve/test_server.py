"""The server of a home: found, joined, started once, stopped by the last run, and never left unrecorded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest

from flows.serve.api import wait_for_history
from flows.serve.environment import profile_api_url
from tests.homes import TICK
from tests.places import ROOT

TIMEOUT_S = 600
FLOW_RUN = UUID(int=7)

PROFILES = """
active = "work"
[profiles.work]
PREFECT_API_URL = "http://prefect.example/api"
[profiles.lab]
PREFECT_API_URL = "http://lab/api"
[profiles.plain]
"""


@pytest.fixture
def profiles(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with Prefect profiles."""
    (tmp_path / "profiles.toml").write_text(PROFILES)
    return {"PREFECT_HOME": str(tmp_path)}


def test_address_in_the_environment_wins_over_the_profile(profiles: dict[str, str]) -> None:
    assert profile_api_url({**profiles, "PREFECT_API_URL": "http://set/api"}) == "http://set/api"


def test_active_profile_names_the_server(profiles: dict[str, str]) -> None:
    assert profile_api_url(profiles) == "http://prefect.example/api"


def test_environment_chooses_the_profile(profiles: dict[str, str]) -> None:
    assert profile_api_url({**profiles, "PREFECT_PROFILE": "lab"}) == "http://lab/api"


def test_profile_without_address_names_no_server(profiles: dict[str, str]) -> None:
    assert profile_api_url({**profiles, "PREFECT_PROFILE": "plain"}) is None


def test_no_profiles_name_no_server(tmp_path: Path) -> None:
    assert profile_api_url({"PREFECT_HOME": str(tmp_path)}) is None


class ToyServer(BaseHTTPRequestHandler):
    """Has recorded one more task run each time it is asked; events are there at once."""

    n_recorded = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/task_runs/count":
            assert body["flow_runs"]["id"]["any_"] == [str(FLOW_RUN)]
            type(self).n_recorded += 1
            self._answer(self.n_recorded)
        elif self.path == "/api/events":
            self._answer(None)
        else:
            self._answer({"total": 1})

    def _answer(self, value: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def toy_api() -> Iterator[str]:
    """The address of a `ToyServer`."""
    ToyServer.n_recorded = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), ToyServer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


def test_history_is_awaited_until_all_task_runs_are_recorded(toy_api: str) -> None:
    assert wait_for_history(toy_api, FLOW_RUN, n_task_runs=3, timeout_s=TIMEOUT_S)
    assert ToyServer.n_recorded == 3


def test_history_is_given_up_after_the_timeout(toy_api: str) -> None:
    assert not wait_for_history(toy_api, FLOW_RUN, n_task_runs=1000, timeout_s=0)


# ---- with real servers ----

RUN = """
import sys
from pathlib import Path
from artifacts.errors import W2sError
from flows.serve.server import local_server
try:
    with local_server(Path(sys.argv[1]), lambda line: print(line, flush=True)) as server:
        print(server.api_url, flush=True)
        sys.stdin.readline()
except W2sError as error:
    sys.exit(str(error))
"""

FLOW = """
import sys
from pathlib import Path
from flows.serve.server import local_server
with local_server(Path(sys.argv[1]), print) as server:
    from prefect import flow, task

    @task
    def one(n: int) -> int:
        return n

    @flow
    def all_of_them() -> None:
        for future in [one.submit(n) for n in range(30)]:
            future.wait()

    state = all_of_them(return_state=True)
    server.flush(state.state_details.flow_run_id, 30)
"""


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose server has run before, in which the next one starts faster."""
    home = tmp_path_factory.mktemp("migrated")
    finish(start_run(home))
    return home


@pytest.fixture
def home(migrated: Path, tmp_path: Path) -> Iterator[Path]:
    """A home of its own for each test, at the end of which no server may be left."""
    home = tmp_path / "w2s"
    shutil.copytree(migrated, home)
    yield home
    left = server_pids(home)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "a server was left behind"


def start_run(home: Path, script: str = RUN, **environment: str) -> subprocess.Popen[str]:
    """Another process that uses the server of ``home`` until it gets a line, or its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", script, str(home)],
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def api_url(run: subprocess.Popen[str]) -> str:
    """Wait until ``run`` has a server."""
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("http"):
            return line.strip()
    raise AssertionError(run.communicate()[1])


def finish(run: subprocess.Popen[str]) -> str:
    """Let ``run`` leave; what it said on standard error."""
    _, err = run.communicate("\n", timeout=TIMEOUT_S)
    return err


def kill(run: subprocess.Popen[str]) -> None:
    run.kill()
    run.communicate()


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(TIMEOUT_S * 20):
        if is_so():
            return
        TICK.wait(0.05)
    raise AssertionError("it did not come to that")


def server_pids(home: Path) -> list[int]:
    """All processes that are a server of ``home``, recorded or not."""
    setting = f"PREFECT_SERVER_DATABASE_CONNECTION_URL=sqlite+aiosqlite:///{home}/prefect/prefect.db"
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if setting in path.read_text(errors="replace").split("\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def health(url: str, path: str = "/health") -> int:
    """The status that an unknown caller gets."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url + path, timeout=TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.slow
def test_server_runs_while_it_is_used_and_asks_for_the_password(home: Path) -> None:
    run = start_run(home)
    url = api_url(run)
    assert url.startswith("http://127.0.0.1:")
    assert health(url) == 200
    assert health(url, "/admin/version") == 401
    assert stat.S_IMODE((home / "prefect" / "auth").stat().st_mode) == 0o600
    assert finish(run) == ""
    assert server_pids(home) == []
    assert not (home / "prefect" / "server.json").exists()


@pytest.mark.slow
def test_last_run_out_leaves_a_whole_history(home: Path) -> None:
    assert finish(start_run(home, FLOW)) == ""
    with closing(sqlite3.connect(home / "prefect" / "prefect.db")) as database:
        (n_task_runs,) = database.execute("SELECT count(*) FROM task_run WHERE state_type = 'COMPLETED'").fetchone()
        (n_events,) = database.execute("SELECT count(*) FROM events WHERE event LIKE 'prefect.task-run.%'").fetchone()
    assert (n_task_runs, n_events) == (30, 90)


@pytest.mark.slow
def test_what_the_users_environment_says_of_proxies_and_of_another_prefect_does_not_matter(home: Path) -> None:
    proxies = dict.fromkeys(["ALL_PROXY", "HTTP_PROXY", "https_proxy"], "socks5://127.0.0.1:9")
    prefects = {
        "PREFECT_DEFAULT_RESULT_STORAGE_BLOCK": "s3-bucket/nowhere",
        "PREFECT_LOGGING_LEVEL": "nonsense",
        "PREFECT_HOME": "/proc/nothing",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://127.0.0.1:9/nothing",
    }

    assert finish(start_run(home, FLOW, **proxies, **prefects)) == ""

    with closing(sqlite3.connect(home / "prefect" / "prefect.db")) as database:
        assert database.execute("SELECT state_type FROM flow_run").fetchall() == [("COMPLETED",)]


@pytest.mark.slow
def test_runs_that_start_at_once_share_one_server(home: Path) -> None:
    runs = [start_run(home) for _ in range(3)]
    assert len({api_url(run) for run in runs}) == 1
    assert len(server_pids(home)) == 1
    for run in runs[:-1]:
        assert finish(run) == ""
        assert len(server_pids(home)) == 1
    finish(runs[-1])
    assert server_pids(home) == []


@pytest.mark.slow
def test_server_of_a_killed_run_is_joined_and_then_stopped(home: Path) -> None:
    killed = start_run(home)
    url = api_url(killed)
    kill(killed)
    (pid,) = server_pids(home)
    run = start_run(home)
    assert api_url(run) == url
    assert server_pids(home) == [pid]
    finish(run)
    assert server_pids(home) == []


@pytest.mark.slow
def test_server_of_a_killed_run_that_nobody_joins_ends_by_itself(home: Path) -> None:
    killed = start_run(home)
    api_url(killed)
    kill(killed)

    wait_until(lambda: server_pids(home) == [])


@pytest.mark.slow
def test_server_that_a_killed_run_had_told_to_end_is_not_joined(home: Path) -> None:
    killed = start_run(home)
    api_url(killed)
    [pid] = server_pids(home)
    os.kill(pid, signal.SIGSTOP)
    assert killed.stdin is not None
    print(file=killed.stdin, flush=True)
    wait_until(lambda: "true" in (home / "prefect" / "server.json").read_text())
    kill(killed)
    run = start_run(home)
    os.kill(pid, signal.SIGCONT)

    api_url(run)
    assert server_pids(home) not in ([], [pid])
    assert finish(run) == ""


@pytest.mark.slow
def test_half_started_server_of_a_killed_run_is_joined(home: Path) -> None:
    killed = start_run(home)
    assert killed.stdout is not None
    killed.stdout.readline()
    kill(killed)
    run = start_run(home)
    api_url(run)
    assert len(server_pids(home)) == 1
    finish(run)


@pytest.mark.slow
def test_dead_server_is_replaced_where_it_was(home: Path) -> None:
    killed = start_run(home)
    dead_url = api_url(killed)
    [dead] = server_pids(home)
    os.kill(dead, signal.SIGKILL)
    kill(killed)
    assert (home / "prefect" / "server.json").exists()
    run = start_run(home)
    url, pids = api_url(run), server_pids(home)
    finish(run)
    assert url == dead_url
    assert len(pids) == 1
    assert pids != [dead]


@pytest.mark.slow
def test_ctrl_c_while_the_server_starts_leaves_none(home: Path) -> None:
    run = start_run(home)
    assert run.stdout is not None
    assert run.stdout.readline() == "starting a Prefect server\n"
    run.send_signal(signal.SIGINT)
    assert finish(run).rstrip().endswith("KeyboardInterrupt")
    assert server_pids(home) == []


@pytest.mark.slow
def test_server_that_does_not_start_is_one_line_that_names_its_log(home: Path) -> None:
    (home / "prefect" / "prefect.db").write_text("no database")
    err = finish(start_run(home))
    assert err == (f"the Prefect server ended while it started; see {home}/logs/server.log, then try again\n")


@pytest.mark.slow
def test_server_of_the_profile_that_does_not_answer_is_one_line(home: Path) -> None:
    err = finish(start_run(home, PREFECT_API_URL="http://127.0.0.1:9/api"))
    assert err.startswith("the server of your Prefect profile, http://127.0.0.1:9/api, does not answer")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_server_of_the_profile_is_used_and_left_running(home: Path, tmp_path: Path) -> None:
    owner = start_run(home)
    url = api_url(owner)
    auth = (home / "prefect" / "auth").read_text()
    guest_home = tmp_path / "guest"
    guest = start_run(guest_home, PREFECT_API_URL=url, PREFECT_API_AUTH_STRING=auth)
    assert api_url(guest) == url
    finish(guest)
    block = {"PREFECT_DEFAULT_RESULT_STORAGE_BLOCK": "s3-bucket/nowhere"}
    refused = finish(start_run(guest_home, PREFECT_API_URL=url, PREFECT_API_AUTH_STRING=auth, **block))
    assert refused.startswith(f"PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK: {url} has no block 's3-bucket/nowhere'")
    assert refused.count("\n") == 1
    assert not (guest_home / "prefect").exists()
    assert health(url) == 200
    finish(owner)
