"""``w2s doctor``: each problem is made for real, found, and gone when its advice is followed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main as cli
from flows.home import Home
from flows.serve import doctor
from flows.serve.doctor import check_gpu, check_hub, check_server, check_versions
from flows.serve.findings import OK, PROBLEM, WARNING, Finding
from tests.toy_runs import drain, open_session


@pytest.fixture
def home() -> Home:
    """A home that is not there yet."""
    return Home.from_environment()


@pytest.fixture(autouse=True)
def no_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The developer's own Prefect profiles and token of the Hub do not count."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


def found(check: Callable[[Home], Iterator[Finding]], home: Home) -> dict[str, Finding]:
    """What a check found, by name."""
    findings: list[Finding] = []
    doctor._collect("check", check, home, findings)
    for finding in findings:
        assert "\n" not in f"{finding.found}{finding.advice}"
    return {finding.check: finding for finding in findings}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    sys.argv = ["w2s", "doctor", *arguments]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    assert not captured.err
    return int(ended.value.code or 0), captured.out


# The command


def test_all_is_well_in_a_folder_where_nothing_was_run_and_nothing_is_made(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = run(capsys, "--format", "json")

    rows = json.loads(output)
    assert code == 0
    assert {row["check"] for row in rows if row["verdict"] == OK} == {
        "python", "packages", "gpu", "home", "disk", "store", "artifacts", "results", "server", "database",
    }  # fmt: skip
    assert [row["check"] for row in rows if row["verdict"] == WARNING] == ["hub"]
    assert set(rows[0]) == {"check", "verdict", "found", "what to do"}
    assert not home.root.exists()


def test_all_is_well_after_a_run(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    drain(open_session(home.root))
    open_session(home.root).record_fresh()
    before = sorted(path for path in home.root.rglob("*"))

    code, output = run(capsys)

    assert code == 0
    assert "problem" not in output
    assert f"{home.results}: 1 grids, 3 PGRs" in output
    assert sorted(path for path in home.root.rglob("*")) == before


def test_problem_is_exit_code_1_and_a_row_with_what_to_do(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.root.write_text("mine")

    code, output = run(capsys)

    assert code == 1
    assert f"{home.root} is a file, not a folder" in output
    assert "move it away, or set W2S_HOME to another folder" in output
    assert "Traceback" not in output
    assert home.root.read_text() == "mine"


def test_everything_down_is_said_in_time(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with silence() as port:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("W2S_STORE", "s3://bucket/store")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setattr(doctor, "DEADLINE_S", 2.0)
        monkeypatch.setattr(doctor, "ASK_TIMEOUT_S", 0.5)

        code, output = run(capsys, "--format", "json")

    rows = {row["check"]: row for row in json.loads(output)}
    assert code == 1
    assert "timed out" in rows["server"]["found"]
    assert "timed out" in rows["hub"]["found"]
    assert rows["store"]["found"] == "no answer within 2 s"
    assert "AWS_ENDPOINT_URL" in rows["store"]["what to do"]


@contextmanager
def silence() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]


def test_what_nobody_thought_of_is_a_row_too(home: Home) -> None:
    def check(home: Home) -> Iterator[Finding]:
        yield Finding("first", OK, "fine")
        raise RuntimeError("two\nlines")

    assert found(check, home)["check"] == Finding("check", PROBLEM, "cannot be looked at (RuntimeError: two lines)")


# Versions


def fake_distribution(folder: Path, name: str, number: str) -> Path:
    info = folder / f"{name}-{number}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    return info


def test_too_old_package_is_found_until_one_that_fits_is_installed(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fake_distribution(tmp_path / "site", "duckdb", "0.9.0")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    wrong = found(check_versions, home)["packages"]

    assert wrong == Finding("packages", PROBLEM, "duckdb 0.9.0, needs >=1.3", "pip install 'duckdb>=1.3'")
    shutil.rmtree(old)
    fake_distribution(tmp_path / "site", "duckdb", "1.3.2")
    assert found(check_versions, home)["packages"].verdict == OK


def test_too_new_package_is_found(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_distribution(tmp_path / "site", "prefect", "3.10.0")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    assert found(check_versions, home)["packages"].found == "prefect 3.10.0, needs <3.10,>=3.9.1"


def test_optional_package_counts_where_it_is_there(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_distribution(tmp_path / "site", "boto3", "1.20.0")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    assert found(check_versions, home)["packages"].advice == "pip install 'boto3>=1.36'"


def test_missing_package_is_found_and_a_missing_optional_one_is_not(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_needs", lambda: (">=3.11", ["no-such-package>=2"], ["no-such-option>=3"]))

    wrong = found(check_versions, home)["packages"]

    assert wrong[2:] == ("no-such-package is not installed, needs >=2", "pip install 'no-such-package>=2'")


def test_without_a_checkout_the_installed_package_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = fake_distribution(tmp_path / "site", "w2s", "9.9")
    with (info / "METADATA").open("a") as file:
        file.write("Requires-Python: >=3.11\nRequires-Dist: rich>=14.0\n")
        file.write('Requires-Dist: boto3>=1.36; extra == "s3"\nRequires-Dist: ruff>=0.12; extra == "dev"\n')
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(doctor, "__file__", str(tmp_path / "site" / "flows" / "doctor.py"))

    assert doctor._needs() == (">=3.11", ["rich>=14.0"], ["boto3>=1.36"])


# GPU; torch is that of these tests


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program ``nvidia-smi`` on the path."""

    def write(script: str) -> None:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return write


TWO_GPUS = """
case "$1" in
-L) echo "GPU 0: Toy (UUID: a)"; echo "GPU 1: Toy (UUID: b)";;
*) echo "Toy, 555.1, 70000 MiB, 80000 MiB"; echo "Toy, 555.1, 1 MiB, 80000 MiB";;
esac"""


def torch_says(monkeypatch: pytest.MonkeyPatch, cuda: str | None, *names: str) -> None:
    values = json.dumps({"version": "9.9", "cuda": cuda, "names": names})
    monkeypatch.setattr(doctor, "LOOK_AT_TORCH", f"print('a line of its own'); print({values!r})")


def test_build_without_cuda_beside_gpus_is_a_problem_until_they_are_hidden(
    home: Home, smi: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(TWO_GPUS)
    torch_says(monkeypatch, None)

    wrong = found(check_gpu, home)["gpu"]

    assert wrong.verdict == PROBLEM
    assert "a build without CUDA, but there are 2 GPUs: Toy, driver 555.1, 70000 MiB of 80000 MiB free" in wrong.found
    assert wrong.advice is not None
    name, _, value = wrong.advice.rpartition("export ")[2].partition("=")
    monkeypatch.setenv(name, value)
    well = found(check_gpu, home)["gpu"]
    assert (well.verdict, "2 hidden by CUDA_VISIBLE_DEVICES" in well.found) == (OK, True)


def test_gpus_that_torch_sees_are_well(home: Home, smi: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    smi(TWO_GPUS)
    torch_says(monkeypatch, "12.9", "Toy", "Toy")

    assert found(check_gpu, home)["gpu"].found.startswith("torch 9.9, CUDA 12.9; Toy, driver 555.1, 70000 MiB")


def test_gpu_that_torch_cannot_use_is_a_problem(
    home: Home, smi: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(TWO_GPUS)
    torch_says(monkeypatch, "13.1", "Toy")

    wrong = found(check_gpu, home)["gpu"]

    assert (wrong.verdict, "sees 1 of 2 GPUs" in wrong.found) == (PROBLEM, True)


def test_driver_that_is_not_loaded_is_said(home: Home, smi: Callable[[str], None]) -> None:
    smi("echo no driver; exit 9")

    wrong = found(check_gpu, home)["gpu"]

    assert wrong[:3] == ("gpu", WARNING, "nvidia-smi fails, so stages run on the CPU: no driver")


def test_torch_that_cannot_be_imported_is_a_problem(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOOK_AT_TORCH", "raise OSError('libcudart.so.12: cannot open')")

    wrong = found(check_gpu, home)["gpu"]

    assert (wrong.verdict, wrong.found) == (PROBLEM, "torch does not work: OSError: libcudart.so.12: cannot open")


# The server


class ToyApi(BaseHTTPRequestHandler):
    """Answers as a Prefect server, or as the Hub; what is asked for without its password is refused."""

    protocol_version = "HTTP/1.0"
    version = ""
    password: str | None = None
    ready = 200
    deployments: Sequence[Mapping[str, Any]] = ()
    n_to_come = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        is_count = self.path == "/api/flow_runs/count"
        self._answer(200, json.dumps(self.n_to_come if is_count else list(self.deployments)))

    def do_GET(self) -> None:
        if self.path == "/api/health":
            self._answer(200, "true")
        elif self.path == "/api/ready":
            self._answer(self.ready, "{}")
        elif self.password is not None and self.headers["Authorization"] != self.password:
            self._answer(401, "{}")
        elif self.path in ("/api/admin/version", "/api/whoami-v2"):
            self._answer(200, json.dumps(self.version))
        else:
            self._answer(404, "{}")

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(**about: Any) -> Iterator[str]:
    """The address of a `ToyApi`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Api", (ToyApi,), about)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_server_of_the_profile_that_does_not_answer_is_a_problem_until_it_is_not_named(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")

    wrong = found(check_server, home)["server"]

    assert wrong.verdict == PROBLEM
    assert wrong.found.startswith("http://127.0.0.1:9/api does not answer (")
    assert wrong.advice is not None
    assert "unset PREFECT_API_URL" in wrong.advice
    monkeypatch.delenv("PREFECT_API_URL")
    assert found(check_server, home)["server"].verdict == OK


def test_address_that_is_none_is_a_problem(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "localhost:4200")

    wrong = found(check_server, home)["server"]

    assert wrong.verdict == PROBLEM
    assert wrong.found.startswith("localhost:4200 does not answer (")


def test_password_of_the_profile_is_tried(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(version=version("prefect"), password="Basic dTpw") as url:
        profiles = tmp_path / "profiles.toml"
        monkeypatch.setenv("PREFECT_PROFILES_PATH", str(profiles))
        profiles.write_text(f'active = "lab"\n[profiles.lab]\nPREFECT_API_URL = "{url}/api"\n')

        wrong = found(check_server, home)["server"]

        assert (wrong.verdict, wrong.found) == (PROBLEM, f"{url}/api refuses the password (401)")
        profiles.write_text(profiles.read_text() + 'PREFECT_API_AUTH_STRING = "u:p"\n')
        well = found(check_server, home)
        assert well["server"].found == f"{url}/api answers, Prefect {version('prefect')}"
        assert well["database"].verdict == OK


def test_server_of_another_version_is_a_warning(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(version="3.0.1") as url:
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")

        assert found(check_server, home)["server"].verdict == WARNING


def test_server_without_its_database_is_a_problem(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(version=version("prefect"), ready=503) as url:
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")

        assert found(check_server, home)["database"].found == f"that of {url}/api does not answer"


def test_record_of_a_server_that_was_killed_is_no_problem(home: Home) -> None:
    folder = home.root / "prefect"
    folder.mkdir(parents=True)
    (folder / "server.json").write_text('{"pid": 1, "port": 9, "started": ""}')

    assert found(check_server, home)["server"].found == "none runs at this moment; a run starts its own"


def test_server_of_the_home_that_hangs_is_a_problem(home: Home) -> None:
    folder = home.root / "prefect"
    folder.mkdir(parents=True)
    (folder / "auth").write_text("w2s:secret")
    with (folder / "server.json").open("w") as record:
        fcntl.flock(record, fcntl.LOCK_EX)  # as a server that lives
        record.write('{"pid": 77, "port": 9, "started": ""}')
        record.flush()

        wrong = found(check_server, home)["server"]

    assert wrong.verdict == PROBLEM
    assert wrong.advice is not None
    assert wrong.advice.startswith("kill 77; ")


# The Hub


def test_offline_is_a_warning_until_it_is_unset(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")

        wrong = found(check_hub, home)["hub"]

        assert wrong.verdict == WARNING
        assert wrong.advice == "unset HF_HUB_OFFLINE for a grid with data or models from the Hub"
        monkeypatch.delenv("HF_HUB_OFFLINE")
        assert found(check_hub, home)["hub"] == Finding(
            "hub", OK, f"{url} answers; without a token, which gated data and models need"
        )


def test_hub_that_cannot_be_reached_is_a_warning(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    assert found(check_hub, home)["hub"].verdict == WARNING


def test_answer_of_something_else_than_the_hub_is_a_warning(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as url:
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setenv("HF_ENDPOINT", f"{url}/elsewhere")

        wrong = found(check_hub, home)["hub"]

    assert (wrong.verdict, wrong.found) == (WARNING, f"{url}/elsewhere answers 404")


def test_token_that_the_hub_refuses_is_a_warning_until_a_valid_one_is_set(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(password="Bearer valid") as url:
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_TOKEN", "stale")

        wrong = found(check_hub, home)["hub"]

        assert (wrong.verdict, wrong.found) == (WARNING, f"{url} refuses the token")
        monkeypatch.setenv("HF_TOKEN", "valid")
        assert found(check_hub, home)["hub"].verdict == OK


def test_nothing_says_a_secret(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(version=version("prefect")) as url:
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "u:secret")
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setenv("HF_TOKEN", "secret")
        said = [*found(check_server, home).values(), *found(check_hub, home).values()]

    assert [finding.verdict for finding in said] == [OK, OK, OK]
    assert "secret" not in repr(said)
