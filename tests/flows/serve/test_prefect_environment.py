"""What of the user's settings reaches a Prefect server, and that wrong ones are one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from artifacts.errors import UsageError
from flows.serve.environment import (
    broken_proxies,
    only_environment,
    own_environment,
    past_proxies,
    profile_api_url,
    reaching,
)
from tests.places import ROOT

TIMEOUT_S = 600

SOCKS = "socks5://127.0.0.1:9"
PLAIN = "http://127.0.0.1:9"

FOREIGN = {
    "PREFECT_HOME": "/elsewhere",
    "PREFECT_PROFILE": "work",
    "PREFECT_PROFILES_PATH": "/elsewhere/profiles.toml",
    "PREFECT_API_KEY": "key",
    "PREFECT_DEFAULT_RESULT_STORAGE_BLOCK": "s3/nowhere",
    "prefect_results_default_storage_block": "s3/nowhere",
    "PREFECT_LOCAL_STORAGE_PATH": "/elsewhere",
    "PREFECT_LOGGING_LEVEL": "nonsense",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://elsewhere/prefect",
    "PREFECT_CLIENT_CUSTOM_HEADERS": '{"x": "y"}',
    "PREFECT_TASKS_DEFAULT_RETRIES": "9",
    "PREFECT__FLOW_RUN_ID": "a run that started this one",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_setting_of_the_users_prefect_does_not_reach_a_server_of_a_home(name: str) -> None:
    passed = own_environment({**FOREIGN, "PATH": "/bin"}, Path("/home/prefect"), {"PREFECT_KEPT"})

    assert passed.get(name) == ("/home/prefect" if name == "PREFECT_HOME" else None)
    assert passed["PATH"] == "/bin"


def test_setting_that_means_a_server_of_a_home_reaches_it() -> None:
    assert own_environment({"PREFECT_KEPT": "5"}, Path("/home"), {"PREFECT_KEPT"})["PREFECT_KEPT"] == "5"


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("value", [SOCKS, "socks5h://127.0.0.1:9", PLAIN, "127.0.0.1:9", "socks4://x", "ftp://x", "::"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:8/api", "http://localhost:8/api"])
def test_client_of_a_server_on_loopback_is_made_and_goes_past_every_proxy(name: str, value: str, url: str) -> None:
    with only_environment(past_proxies({name: value}, lambda line: None)), httpx.Client() as client:
        assert client._transport_for_url(httpx.URL(url)) is client._transport


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_proxy_stays_for_other_hosts(name: str) -> None:
    said: list[str] = []
    passed = past_proxies({name: PLAIN, "NO_PROXY": "intern.example"}, said.append)

    assert (passed[name], said) == (PLAIN, [])
    with only_environment(passed), httpx.Client() as client:
        assert client._transport_for_url(httpx.URL("https://intern.example")) is client._transport
        assert client._transport_for_url(httpx.URL("https://hub.example")) is not client._transport


def test_what_keeps_any_client_from_being_made_is_left_out_and_said() -> None:
    said: list[str] = []
    environ = {"HTTPS_PROXY": "ftp://x", "HTTP_PROXY": PLAIN, "NO_PROXY": "a.example, [::1], b.example"}

    passed = past_proxies(environ, said.append)

    assert broken_proxies(passed) == []
    assert passed["HTTPS_PROXY"] == ""
    assert passed["HTTP_PROXY"] == PLAIN
    assert [entry.strip() for entry in passed["NO_PROXY"].split(",")][:2] == ["a.example", "b.example"]
    assert [line.split(": ")[0] for line in said] == [
        "leaving 'ftp://x' out of HTTPS_PROXY",
        "leaving '[::1]' out of NO_PROXY",
    ]


def test_server_elsewhere_that_no_client_can_be_made_for_is_one_line() -> None:
    with pytest.raises(UsageError, match="ALL_PROXY: with 'ftp://x' http://lab:4200/api cannot be asked"):
        reaching("http://lab:4200/api", {"ALL_PROXY": "ftp://x"}, lambda line: None)


PROFILE = """
active = "lab"
[profiles.lab]
PREFECT_API_URL = "http://lab:4200/api"
"""

BROKEN = {
    "no TOML": b"[profiles",
    "no text": b"\xff\xfe",
    "a list for profiles": b'active = "x"\nprofiles = []',
    "a text for a profile": b'active = "x"\n[profiles]\nx = "y"',
    "a list for the active one": b'active = ["x"]\n[profiles.x]',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_profiles_that_cannot_be_read_are_one_line_until_they_are_moved_away(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "profiles.toml"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=r"no file of Prefect profiles .*; mend it, or move it away") as raised:
        profile_api_url({"PREFECT_HOME": str(tmp_path)})

    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)
    path.rename(tmp_path / "away")
    assert profile_api_url({"PREFECT_HOME": str(tmp_path)}) is None


def test_folder_in_place_of_the_profiles_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").mkdir()

    with pytest.raises(UsageError, match="Is a directory"):
        profile_api_url({"PREFECT_HOME": str(tmp_path)})


def test_profile_that_is_asked_for_and_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(PROFILE)

    with pytest.raises(UsageError, match=r"PREFECT_PROFILE: no profile 'lba' in .*; there are: lab"):
        profile_api_url({"PREFECT_HOME": str(tmp_path), "PREFECT_PROFILE": "lba"})


@pytest.mark.parametrize(
    "url", ["localhost:4200", "http://", "ftp://lab/api", "http://lab:port/api", "http://[lab/api"]
)
def test_address_of_a_server_that_is_none_is_one_line(url: str) -> None:
    with pytest.raises(UsageError, match=r"^PREFECT_API_URL: .* is no address of a server"):
        profile_api_url({"PREFECT_API_URL": url})


WRONG = {
    "a level of logging": ({"PREFECT_LOGGING_LEVEL": "nonsense"}, "", "PREFECT_LOGGING_LEVEL: 'NONSENSE' is not right"),
    "a number": ({"PREFECT_API_REQUEST_TIMEOUT": "soon"}, "", "PREFECT_API_REQUEST_TIMEOUT: 'soon' is not right"),
    "a file": ({}, "[api", "Failed to load Prefect settings from prefect.toml"),
}


@pytest.mark.parametrize(
    ("settings", "file", "line"),
    # A process each.
    [
        pytest.param(*case, id=name, marks=pytest.mark.slow if name == "a number" else ())
        for name, case in WRONG.items()
    ],
)
def test_wrong_setting_of_the_users_prefect_is_one_line(
    settings: dict[str, str], file: str, line: str, tmp_path: Path
) -> None:
    if file:
        (tmp_path / "prefect.toml").write_text(file)

    done = subprocess.run(
        [sys.executable, "-m", "flows.cli.main", "deploy"],
        cwd=tmp_path,
        env={
            **os.environ,
            **settings,
            "PREFECT_API_URL": f"{PLAIN}/api",
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert done.returncode == 2
    assert done.stderr.startswith(f"w2s: {line}")
    assert done.stderr.count("\n") == 1
