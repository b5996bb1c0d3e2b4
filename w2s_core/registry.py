"""The one registry class, by which stages find datasets, sources and losses by name.

Nothing in here knows what is registered. Code fingerprints stop at a registry and go on into the one entry that a
stage's parameters name, so an entry can be added without invalidating anything.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownNameError(KeyError):
    """A name that no registry entry has; the message lists the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])


def unknown_name(kind: str, name: str, known: list[str]) -> str:
    """One line saying that ``name`` is no ``kind``, with the nearest valid names."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
    return f"unknown {kind} {name!r}; {hint}"


class Registry(Generic[T]):
    """Entries of one kind by name.

    Declare it at module level with literal arguments, and register entries at module level with a literal name,
    either ``NAMES.register("x", value)`` or ``@NAMES.register("x")``: fingerprints read both from the source.

    Args:
        kind: what an entry is, for messages.
        param: dotted path, in the parameters of a stage, of the entry's name (``"loss.name"``).
        modules: modules that register entries, ``"package.*"`` for all of a package; imported at the first lookup.
    """

    def __init__(self, kind: str, *, param: str, modules: tuple[str, ...]) -> None:
        self.kind = kind
        self.param = param
        self.modules = modules
        self._entries: dict[str, T] = {}

    def register(self, name: str, value: T | None = None) -> Callable[[T], T]:
        """Register ``value``, or the decorated object, as ``name``.

        Raises:
            ValueError: the name is taken.
        """

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        if value is not None:
            add(value)
        return add

    def get(self, name: str) -> T:
        """The entry called ``name``.

        Raises:
            UnknownNameError: no such entry.
        """
        self._load()
        if name not in self._entries:
            raise UnknownNameError(unknown_name(self.kind, name, list(self._entries)))
        return self._entries[name]

    def names(self) -> list[str]:
        """All names, in order of registration."""
        self._load()
        return list(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _load(self) -> None:
        for name in self.modules:
            package = name.removesuffix(".*")
            module = importlib.import_module(package)
            if name != package:
                for found in pkgutil.iter_modules(module.__path__):
                    importlib.import_module(f"{package}.{found.name}")
