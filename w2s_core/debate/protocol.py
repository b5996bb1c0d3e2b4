"""What a debate is: who speaks, for which side, after what prompt, and what of it a judge reads. Data and strings only.

Protocols are files (``protocols/*.toml``, or a user's), and all that they say is in the keys of what is made by them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError, model_validator

from w2s_core.config import Frozen
from w2s_core.hashes import stable_int
from w2s_core.registry import unknown_name

FOLDER = Path(__file__).with_name("protocols")
TASKS = Path(__file__).with_name("tasks.toml")

RoleName = Annotated[str, Field(pattern=r"^[A-Za-z]{1,20}$")]

PLACES = ("task", "text", "claim", "other_claim", "transcript", "role")
"""What a prompt may have in braces."""

LINE_PLACES = ("role", "side", "claim", "text")
"""What a line of a transcript may have."""

LAST = "last"
"""Whose accuracies are of whoever spoke last; no role's name."""

_PLACE = re.compile(r"\{(\w*)\}")


class Role(Frozen):
    """One who speaks."""

    side: Literal["random", "other", "unchosen", 0, 1] = Field(
        description="The class that it argues for: random by a hash of row and seed, the other one than that, the one "
        "that the plain supervisor did not choose, or always 0 or 1."
    )
    opening: str = Field(min_length=1, description="Its prompt where nobody has spoken.")
    reply: str | None = Field(None, min_length=1, description="Its prompt later; default: the same.")


class Hearing(Frozen):
    """What a judge reads of a transcript; changing it makes no new transcripts."""

    line: str = Field("{role} {side}: {text}", min_length=1, description="One turn.")
    sees: tuple[RoleName, ...] | None = Field(None, min_length=1, description="Whose turns; default: everybody's.")
    transcript: Literal["own", "unrelated"] = Field(
        "own", description="'unrelated': that of another row, of about the same length; a control."
    )


class Protocol(Frozen):
    """A way to debate."""

    about: str = ""
    n_turns: int = Field(ge=1, le=20, description="Roles speak in their order, again and again.")
    roles: dict[RoleName, Role] = Field(min_length=1)
    hearing: Hearing = Hearing()

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        for name, role in self.roles.items():
            for prompt in (role.opening, role.reply or ""):
                _check_places(f"roles.{name}", prompt, PLACES)
        _check_places("hearing.line", self.hearing.line, LINE_PLACES)
        if LAST in self.roles:
            raise ValueError(f"roles: {LAST!r} stands for whoever speaks last in the results; call the role otherwise")
        for name in self.hearing.sees or ():
            if name not in self.roles:
                raise ValueError(f"hearing.sees: {unknown_name('role', name, list(self.roles))}")
        return self


def _check_places(where: str, template: str, known: Sequence[str]) -> None:
    for name in _PLACE.findall(template):
        if name not in known:
            raise ValueError(f"{where}: {{{name}}} is no place; there are {', '.join(f'{{{n}}}' for n in known)}")


class Task(NamedTuple):
    """What the rows of a dataset ask, in words."""

    task: str
    """What the text is."""
    claims: tuple[str, str]
    """That class 0, and that class 1, is right."""


def protocol_names() -> list[str]:
    """The protocols that come with this package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_protocol(name: str) -> Protocol:
    """A protocol by its name here, or from a TOML file.

    Raises:
        ValueError: there is none, or it says something else than a protocol; one line.
    """
    if name.endswith(".toml"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ValueError(f"no file {path}; a protocol is a TOML file, or one of {', '.join(protocol_names())}")
    elif name in protocol_names():
        path = FOLDER / f"{name}.toml"
    else:
        raise ValueError(f"{unknown_name('protocol', name, protocol_names())} (or the path of a TOML file)")
    try:
        return Protocol.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        told = str(first["msg"]).removeprefix("Value error, ")
        raise ValueError(f"{path}: {field + ': ' if field else ''}{told}") from None


def task_of(dataset: str) -> Task:
    """What a dataset's rows ask; in general words where ``tasks.toml`` does not have it."""
    known = tomllib.loads(TASKS.read_text(encoding="utf-8"))
    said = known.get(dataset, known["any"])
    return Task(said["task"], (said["claims"][0], said["claims"][1]))


def role_of(roles: Sequence[Mapping[str, Any]], turn: int) -> Mapping[str, Any]:
    """Who speaks in a turn, from 0 on: they take turns in their order."""
    return roles[turn % len(roles)]


def side_of(rule: str | int, id: str, seed: int, chosen: int | None) -> int:
    """The class that a role argues for.

    Args:
        rule: a ``Role.side``.
        id: of the row.
        seed: of the transcript.
        chosen: the class that the plain supervisor chose, where the rule asks for it.
    """
    if isinstance(rule, int):
        return rule
    if rule == "unchosen":
        assert chosen is not None
        return 1 - chosen
    drawn = stable_int("side", seed, id) % 2
    return drawn if rule == "random" else 1 - drawn


def filled(template: str, values: Mapping[str, str]) -> str:
    """A template with its places filled; what stands in the values is text, and is not looked at again."""
    return _PLACE.sub(lambda match: values[match[1]], template)


def one_line(text: str) -> str:
    """A turn on one line, so that no text can begin the line of another speaker."""
    return " ".join(text.split())


def lines_of(turns: Sequence[Mapping[str, Any]], line: str, claims: Sequence[str]) -> str:
    """A transcript as it is read, a turn a line.

    Args:
        turns: ``role``, ``side`` and ``text`` of each.
        line: the form of a line.
        claims: in words, of class 0 and of class 1.
    """
    return "\n".join(
        filled(
            line,
            {
                "role": turn["role"],
                "side": str(turn["side"]),
                "claim": claims[turn["side"]],
                "text": one_line(turn["text"]),
            },
        )
        for turn in turns
    )
