"""Which settings of the user reach a Prefect server and its clients, and what is said of those that are wrong.

A server of the user's own is used as the user's Prefect would use it. One of a home is on loopback and nobody else's
business: of the user's settings of Prefect only a few reach it. Servers are started in ``flows.serve.server``.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from artifacts.errors import UsageError

if TYPE_CHECKING:
    from prefect.settings import Settings

BUILT_IN = ("ephemeral", "local", "cloud", "test")
"""Profiles that Prefect brings."""

PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""In capitals or not."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def profile_api_url(environ: Mapping[str, str]) -> str | None:
    """The API URL of the user's Prefect environment or active profile.

    Raises:
        UsageError: it is no URL, or the profiles cannot be read.
    """
    url = profile_setting(environ, "PREFECT_API_URL")
    if url is not None and not _is_url(url):
        raise UsageError(
            f"PREFECT_API_URL: {url!r} is no address of a server, such as http://127.0.0.1:4200/api; mend it, or unset "
            "it, in the environment or the Prefect profile, to use a server of this home"
        )
    return url


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none
        return False


def profile_setting(environ: Mapping[str, str], name: str) -> str | None:
    """A setting of the user's Prefect environment or active profile, read without importing Prefect.

    Raises:
        UsageError: the profiles cannot be read, or the one that is asked for is not there.
    """
    if environ.get(name):
        return environ[name]
    home = Path(environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    path = Path(environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml")).expanduser()
    try:
        file = tomllib.loads(path.read_text(encoding="utf-8"))
        profiles, active = file.get("profiles", {}), environ.get("PREFECT_PROFILE") or file.get("active")
        profile = profiles.get(active, {})
        value = profile.get(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise UsageError(f"{path}: no file of Prefect profiles ({reason}); mend it, or move it away") from None
    if environ.get("PREFECT_PROFILE") and active not in profiles and active not in BUILT_IN:
        there = ", ".join(profiles) or "none"
        raise UsageError(f"PREFECT_PROFILE: no profile {active!r} in {path}; there are: {there}")
    return None if value is None else str(value)


def load_settings() -> Settings:
    """What Prefect, which this imports, finds set in the environment, the profile and files of the current folder.

    Raises:
        UsageError: one of them is wrong.
    """
    # It would print what it says again as an error.
    with contextlib.redirect_stderr(io.StringIO()) if "prefect" not in sys.modules else contextlib.nullcontext():
        from prefect.settings import get_current_settings
    try:
        return get_current_settings()
    except ValueError as error:  # pydantic's, and that of a file that cannot be read
        raise UsageError(f"{_wrong_setting(error)}; mend or unset it") from None


def _wrong_setting(error: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    first = error.errors()[0]
    value = str(first["input"])
    names = [name for name in os.environ if _is_prefects(name) and os.environ[name].upper() == value.upper()]
    place = names[0] if names else f"{error.title} of Prefect, {'.'.join(map(str, first['loc']))}"
    return f"{place}: {value!r} is not right ({first['msg']})"


def own_environment(environ: Mapping[str, str], folder: Path, kept: Collection[str]) -> dict[str, str]:
    """The environment of a server on loopback that lives in ``folder``, and of its clients.

    Args:
        environ: that of the user.
        folder: Prefect's home.
        kept: which settings of the user's Prefect mean this server, too.
    """
    return {
        **{name: value for name, value in environ.items() if name in kept or not _is_prefects(name)},
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    }


def reaching(url: str, environ: Mapping[str, str], report: Callable[[str], None]) -> dict[str, str]:
    """``environ`` for clients of the server of the user's profile, at ``url``.

    Raises:
        UsageError: a setting of proxies keeps them from being made.
    """
    if urlsplit(url).hostname in LOOPBACK:
        return past_proxies(environ, report)
    for name, value, reason in broken_proxies(environ):
        raise UsageError(f"{name}: with {value!r} {url} cannot be asked ({reason}); mend or unset it")
    return dict(environ)


def past_proxies(environ: Mapping[str, str], report: Callable[[str], None]) -> dict[str, str]:
    """``environ`` for what talks to a server on loopback, and to others as before.

    Args:
        environ: that of the user.
        report: told what is left out: an HTTP client that knows of it could not be made, not even for loopback.
    """
    passed = dict(environ)
    for name, value, reason in broken_proxies(environ):
        report(f"leaving {value!r} out of {name}: {reason}")
        passed[name] = ",".join(entry for entry in passed[name].split(",") if entry.strip() != value)
    for name in ("NO_PROXY", "no_proxy"):
        # Where both are there, the one in small letters counts.
        others = passed.get("no_proxy") or passed.get("NO_PROXY")
        passed[name] = ",".join(filter(None, [others, *LOOPBACK]))
    return passed


class Broken(NamedTuple):
    """A proxy, or a host that goes past it, that no HTTP client here can take."""

    name: str
    value: str
    reason: str


def broken_proxies(environ: Mapping[str, str]) -> list[Broken]:
    """What in the environment's settings of proxies keeps any HTTP client from being made."""
    names = [name for name in environ if name.upper() in PROXIES and environ[name]]
    if not names:
        return []
    import httpx  # what Prefect asks its server with

    broken = []
    for name in names:
        values = environ[name].split(",") if name.upper() == "NO_PROXY" else [environ[name]]
        for value in map(str.strip, values):
            with only_environment({name: value}):
                try:
                    httpx.Client(verify=False).close()
                except (ImportError, ValueError, httpx.InvalidURL) as error:
                    broken.append(Broken(name, value, str(error).partition(". ")[0]))
    return broken


def _is_prefects(name: str) -> bool:
    return name.upper().startswith("PREFECT_")  # it reads them in any spelling


@contextlib.contextmanager
def only_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """Nothing else is in the environment of this process for the length of the block."""
    before = dict(os.environ)
    _set_environment(environment)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
