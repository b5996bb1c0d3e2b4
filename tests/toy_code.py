"""A toy package of a few lines of source, and what its entry ``fit`` reaches."""

from __future__ import annotations

from pathlib import Path

from artifacts.identity.fingerprint import Fingerprint, fingerprint
from artifacts.identity.sources import Source, Sources


def toy(**modules: str) -> Sources:
    """A package ``toy`` with these modules; ``a__b`` is ``toy.a.b``, ``init`` the package itself."""
    sources = {"toy": Source(Path("toy/__init__.py"), b"")}
    for name, text in modules.items():
        parts = name.split("__")
        if parts[-1] == "init":
            path = Path("toy", *parts[:-1], "__init__.py")
            sources[".".join(["toy", *parts[:-1]])] = Source(path, text.encode())
        else:
            sources[".".join(["toy", *parts])] = Source(Path("toy", *parts).with_suffix(".py"), text.encode())
    return Sources("toy", sources)


def code(params: dict | None = None, **modules: str) -> Fingerprint:
    """The fingerprint of ``fit`` in ``toy.train``."""
    return fingerprint(toy(**modules), "toy.train:fit", params or {})


def parts(params: dict | None = None, **modules: str) -> set[str]:
    """What ``fit`` in ``toy.train`` reaches, without ``toy.``."""
    return {part.removeprefix("toy.") for part in code(params, **modules).parts}
