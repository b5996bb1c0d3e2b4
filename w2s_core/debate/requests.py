"""Requests to an OpenAI-compatible server, many at a time, repeated where it is busy, slow or gone.

The key stands in no message and in no answer. What is asked is in ``w2s_core.debate.debaters.server``.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import httpx
import tenacity

from w2s_core.errors import DataError
from w2s_core.watch import Asking

FIRST_WAIT_S = 0.5
MOST_WAIT_S = 60.0
"""Between two tries, unless the server asks for more."""

BUSY = (408, 409, 425, 429)
"""Answers that stand for "later", besides those from 500 on."""

LONGEST_REASON = 200


class Answer(NamedTuple):
    """A chat completion."""

    text: str
    is_cut: bool
    n_tokens: int
    """Said; 0 where the server does not tell."""
    n_read: int


class _Later(Exception):
    """The server says that it may answer later."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


def answers(
    url: str, requests: Sequence[Mapping[str, Any]], key: str | None, asking: Asking
) -> Iterator[tuple[int, Answer]]:
    """The answer to each request, with its place, as they come.

    Args:
        url: of the chat completions.
        requests: JSON of each.
        key: sent with each, if there is one.
        asking: how many at a time, and for how long.

    Raises:
        DataError: the server refuses one, or gives no answer for longer than anybody waits; those that came before were
            given.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=asking.n_at_once)
    with (
        httpx.Client(headers=headers, timeout=asking.timeout_s, limits=limits) as client,
        ThreadPoolExecutor(asking.n_at_once) as threads,
    ):
        pending = {threads.submit(_ask, client, url, one, key, asking.patience_s): i for i, one in enumerate(requests)}
        failure: DataError | None = None
        for done in as_completed(pending):
            if done.cancelled():
                continue
            try:
                answer = done.result()
            except DataError as error:
                failure = failure or error
                # Those under way are waited for: they may have been paid for.
                threads.shutdown(wait=False, cancel_futures=True)
                continue
            yield pending[done], answer
        if failure is not None:
            raise failure


def _ask(client: httpx.Client, url: str, request: Mapping[str, Any], key: str | None, patience_s: float) -> Answer:
    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Later),
        wait=_wait,
        stop=tenacity.stop_after_delay(patience_s),
        reraise=True,
    )
    try:
        return tries(_once, client, url, request, key)
    except _Later as error:
        raise DataError(f"{url}: no answer in {patience_s:g} s: {error}") from None


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.after_s if isinstance(error, _Later) else 0.0
    return max(asked_s, tenacity.wait_random_exponential(multiplier=FIRST_WAIT_S, max=MOST_WAIT_S)(state))


def _once(client: httpx.Client, url: str, request: Mapping[str, Any], key: str | None) -> Answer:
    try:
        response = client.post(url, json=request)
    except httpx.TransportError as error:
        raise _Later(_told(f"{type(error).__name__}: {error}", key)) from None
    if response.status_code in BUSY or response.status_code >= 500:
        raise _Later(f"status {response.status_code}", _after_s(response.headers.get("Retry-After")))
    if response.status_code != 200:
        raise DataError(f"{url}: status {response.status_code}: {_told(response.text, key)}")
    try:
        answer = response.json()
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        text = choice["message"]["content"] or ""
        return Answer(
            text.replace(key, "[key]") if key else text,
            choice.get("finish_reason") == "length",
            int(usage.get("completion_tokens") or 0),
            int(usage.get("prompt_tokens") or 0),
        )
    except (LookupError, TypeError, AttributeError, ValueError):
        raise DataError(f"{url}: no chat completion: {_told(response.text, key)}") from None


def _told(text: str, key: str | None) -> str:
    """A reason on one line, without the key, which servers like to repeat."""
    return " ".join((text.replace(key, "[key]") if key else text).split())[:LONGEST_REASON]


def _after_s(header: str | None) -> float:
    """Seconds from now that a ``Retry-After`` asks for: a number, or a date."""
    if not header:
        return 0.0
    try:
        return max(float(header), 0.0)
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0
