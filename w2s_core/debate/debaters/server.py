"""A debater behind an OpenAI-compatible server, ours or somebody's.

The key for it is read when it is asked, from the environment, and kept nowhere. Requests are in
``w2s_core.debate.requests``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from w2s_core.debate.debaters.debater import DEBATERS, Asked, Debater, Sampled, Speak, Spoken
from w2s_core.errors import DataError
from w2s_core.hashes import stable_int
from w2s_core.watch import Watch

URL = r"^https?://[^@?#\s]+$"
"""Without anything in it that could be secret."""

VARIABLE = r"^\$[A-Za-z_][A-Za-z0-9_]*$"


class Server(Sampled):
    """A model behind an OpenAI-compatible server (chat completions)."""

    kind: Literal["openai"] = "openai"
    base_url: str = Field(
        pattern=rf"({URL})|({VARIABLE})",
        description="Such as http://127.0.0.1:8000/v1. It is in the key of transcripts, for another server may serve "
        "another model under the same name. Or $NAME: what the environment has under that name, of which the name "
        "alone is in the key, so that the server may move; whoever sets it vouches that it says the same there.",
    )
    model: str = Field(min_length=1, description="As the server calls it.")
    key_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The environment variable that has the key, if it needs one.",
    )
    sends_seed: bool = Field(True, description="Whether to send a seed; some servers refuse it.")
    budget_tokens: int | None = Field(
        None, ge=1, description="Refuse a grid in which one dataset and seed may need more said tokens than this."
    )

    @field_validator("base_url")
    @classmethod
    def _plain(cls, url: str) -> str:
        return url.rstrip("/")


def opened(params: Mapping[str, Any], inputs: Mapping[str, Path], watch: Watch) -> Speak:
    """See ``Server``; of ``params`` it takes ``debater`` and ``seed``.

    Raises:
        DataError: the server refuses, is not there for longer than anybody waits, or there is no key, or no URL where
            the environment should have it; one line.
    """
    # Planning looks at the settings above, and asks nobody.
    from w2s_core.debate.requests import answers

    settings, seed = params["debater"], params["seed"]
    key = watch.secret(settings["key_name"]) if settings["key_name"] else None
    if settings["key_name"] and key is None:
        raise DataError(
            f"debater: the environment has no {settings['key_name']}, to hold the key of {settings['base_url']}"
        )
    url = f"{_place(settings['base_url'], watch)}/chat/completions"

    def said(asked: Sequence[Asked]) -> Iterator[tuple[int, Spoken]]:
        requests = [_request(settings, seed, one) for one in asked]
        for place, answer in answers(url, requests, key, watch.asking):
            yield place, Spoken(answer.text, answer.is_cut, answer.n_tokens, answer.n_read)

    return said


def _place(base_url: str, watch: Watch) -> str:
    if not base_url.startswith("$"):
        return base_url
    name = base_url.removeprefix("$")
    found = watch.secret(name)
    if found is None or not re.match(URL, found):
        fault = "is not set" if found is None else "is no URL, or one with a user, a query or a fragment"
        raise DataError(f"debater: the environment's {name} {fault}; it should be such as http://127.0.0.1:8000/v1")
    return found.rstrip("/")


def _request(settings: Mapping[str, Any], seed: int, asked: Asked) -> dict[str, Any]:
    return {
        "model": settings["model"],
        "messages": [{"role": "user", "content": asked.write(asked.passage)}],
        "temperature": settings["temperature"],
        "top_p": settings["top_p"],
        "max_tokens": settings["max_tokens"],
        **({"seed": stable_int("turn", seed, asked.id, asked.turn) % 2**31} if settings["sends_seed"] else {}),
    }


DEBATERS.register(
    "openai",
    Debater(
        opened,
        Server,
        in_no_key=frozenset({"budget_tokens"}),
        asks="{model} at {base_url}",
    ),
)
