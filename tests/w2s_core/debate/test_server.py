"""Debaters behind a server that is busy, slow, gone or wrong."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.chat_server import completion, serving
from w2s_core.debate import requests
from w2s_core.debate.debaters.debater import DEBATERS, Asked, Spoken
from w2s_core.debate.debaters.server import Server
from w2s_core.errors import DataError
from w2s_core.watch import Asking, Silent

KEY = "sk-very-secret"

URLS: dict[str, str] = {}


class WithKey(Silent):
    def secret(self, name: str) -> str | None:
        return {"THE_KEY": KEY, "WRONG": f"http://u:{KEY}@x/v1", **URLS}.get(name)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(requests, "MOST_WAIT_S", 0.0)


def asked(n: int) -> list[Asked]:
    return [Asked(f"row-{i}", 0, 1, "", "q", lambda passage, i=i: f"prompt {i}", 1) for i in range(n)]


def spoken(
    url: str, n: int = 5, patience_s: float = 30.0, timeout_s: float = 10.0, **settings: Any
) -> dict[int, Spoken]:
    server = Server(base_url=url, model="m", key_name="THE_KEY", **settings)
    params = {"debater": server.model_dump(), "seed": 3}
    watch = WithKey(asking=Asking(n_at_once=3, timeout_s=timeout_s, patience_s=patience_s))
    said = list(DEBATERS.get("openai").open(params, {}, watch)(asked(n)))
    assert len(dict(said)) == len(said)
    return dict(said)


def echo(request: dict[str, Any]) -> str:
    return f"about {request['messages'][0]['content']}"


def test_every_prompt_is_answered_once_with_what_it_cost() -> None:
    with serving(lambda request, n: (200, {}, completion(echo(request), "length"))) as (url, got):
        said = spoken(url, max_tokens=9, temperature=0.5)

    assert said == {i: Spoken(f"about prompt {i}", True, 3, 7) for i in range(5)}
    request, key = got[0]
    assert key == f"Bearer {KEY}"
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("m", 9, 0.5)
    # Rows have seeds of their own, the same each time.
    assert len({request["seed"] for request, _ in got}) == 5


@pytest.mark.parametrize(
    "trouble",
    [(429, {"Retry-After": "0"}, KEY), (503, {}, KEY), (0, {}, "")],
    ids=["busy", "down", "gone"],
)
def test_busy_server_is_asked_again(trouble: tuple[int, dict[str, str], str]) -> None:
    with serving(lambda request, n: trouble if n < 2 else (200, {}, completion(echo(request)))) as (url, got):
        said = spoken(url)

    assert {i: one.text for i, one in said.items()} == {i: f"about prompt {i}" for i in range(5)}
    assert len(got) == 15


def test_server_that_says_nothing_in_time_is_asked_again() -> None:
    over = threading.Event()

    def answer(request: dict[str, Any], n: int) -> tuple[int, dict[str, str], str]:
        if n == 0 and echo(request).endswith(("1", "3")):
            over.wait(30.0)
            return 0, {}, ""
        return 200, {}, completion(echo(request))

    with serving(answer) as (url, got):
        said = spoken(url, timeout_s=0.5)
        over.set()

    assert {i: one.text for i, one in said.items()} == {i: f"about prompt {i}" for i in range(5)}
    assert len(got) >= 7


def test_answers_that_came_are_given_before_a_refusal_is_raised() -> None:
    def answer(request: dict[str, Any], n: int) -> tuple[int, dict[str, str], str]:
        if echo(request).endswith("2"):
            return 401, {}, f"Incorrect API key provided: {KEY}.\nSee there."
        return 200, {}, completion(echo(request))

    said: dict[int, str] = {}
    with serving(answer) as (url, _):
        params = {"debater": Server(base_url=url, model="m", key_name="THE_KEY").model_dump(), "seed": 0}
        speak = DEBATERS.get("openai").open(params, {}, WithKey(asking=Asking(n_at_once=1)))
        with pytest.raises(DataError) as refusal:
            said.update((place, one.text) for place, one in speak(asked(3)))

    assert said == {0: "about prompt 0", 1: "about prompt 1"}
    assert str(refusal.value).endswith("status 401: Incorrect API key provided: [key]. See there.")
    assert KEY not in repr(refusal.getrepr(style="long"))


def test_server_that_stays_away_is_one_line_without_the_key() -> None:
    with pytest.raises(DataError, match=r"^http://127.0.0.1:1/v1/chat/completions: no answer in 0 s: ConnectError"):
        spoken("http://127.0.0.1:1/v1", n=1, patience_s=0)


@pytest.mark.parametrize("body", ["<html>", "[]", '{"choices": []}', '{"choices": [{"message": null}]}'])
def test_what_is_no_completion_is_one_line(body: str) -> None:
    with serving(lambda request, n: (200, {}, body)) as (url, _), pytest.raises(DataError, match="no chat completion"):
        spoken(url, n=1)


def test_key_that_is_echoed_gets_into_no_answer() -> None:
    with serving(lambda request, n: (200, {}, completion(f"your key is {KEY}"))) as (url, _):
        assert spoken(url, n=1)[0].text == "your key is [key]"


def test_key_that_is_not_there_is_told_by_name() -> None:
    params = {"debater": Server(base_url="http://x/v1", model="m", key_name="OTHER").model_dump(), "seed": 0}

    with pytest.raises(DataError, match="the environment has no OTHER"):
        DEBATERS.get("openai").open(params, {}, WithKey())


def test_url_may_be_in_the_environment_so_that_a_server_can_move(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda request, n: (200, {}, completion(echo(request)))) as (url, _):
        monkeypatch.setitem(URLS, "DEBATER", f"{url}/")
        assert len(spoken("$DEBATER")) == 5


@pytest.mark.parametrize(("name", "told"), [("NOWHERE", "NOWHERE is not set"), ("WRONG", "WRONG is no URL")])
def test_url_that_the_environment_lacks_or_has_wrong_is_one_line_without_it(name: str, told: str) -> None:
    with pytest.raises(DataError, match=f"the environment's {told}") as refusal:
        spoken(f"${name}")
    assert KEY not in str(refusal.value)


def test_server_may_ask_for_a_time_in_seconds_or_as_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests.time, "time", lambda: 1_000_000_000.0)

    assert requests._after_s("12") == 12.0
    assert requests._after_s("Sun, 09 Sep 2001 01:47:10 GMT") == 30.0
    assert requests._after_s("Sun, 09 Sep 2000 01:47:10 GMT") == 0.0
    assert [requests._after_s(header) for header in (None, "soon", "-3")] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("url", ["ftp://x/v1", "http://user:pass@x/v1", "https://x/v1?key=1", "$", "$A B"])
def test_url_that_is_none_or_has_a_secret_in_it_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Server(base_url=url, model="m")
