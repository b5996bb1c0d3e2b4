"""The fingerprint of the code that a stage runs: all source of ours that its entry reaches, by name.

Reach is over-approximate: a name that may stand for a symbol of ours reaches it, a class is reached whole, and a
module used as a value is reached whole. It stops at a registry, and goes on into the entries that the parameters
name, and at ``<package>.config``, which is data. Code that could reach something by another way is refused. What
counts of a piece of code is in ``normal_form``, which statements a module consists of in ``sources``, what a
piece of code refers to in ``reach``.
"""

from __future__ import annotations

import ast
import copy
import difflib
import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from artifacts.errors import FingerprintError
from artifacts.keys import JSON, json_digest
from artifacts.normal_form import Function, normal_form
from artifacts.reach import EFFECTS, EVERYTHING, Names, OurModule, Reader, Symbol
from artifacts.sources import Module, Sources, registration

__all__ = ["Fingerprint", "Sources", "changed", "fingerprint"]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the code of a stage is."""

    digest: str
    """64 hexadecimal digits, of the entry's name and ``parts``."""
    parts: dict[str, str]
    """``"module:name"`` of everything reached, to 16 hexadecimal digits of its own code."""


def fingerprint(sources: Sources, entry: str, params: Mapping[str, JSON]) -> Fingerprint:
    """The fingerprint of what ``entry`` reaches under ``params``.

    Args:
        sources: the package that the entry belongs to.
        entry: ``"module:function"``.
        params: the stage's parameters; only those that registries name are looked at.

    Raises:
        FingerprintError: code within reach is missing, cannot be parsed, or reaches other code in a way that
            names do not show; or the parameters name no registered entry.
    """
    return _code(sources).fingerprint(entry, params)


def changed(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The parts that differ between two fingerprints: edited ones first, then those that came or went."""
    different = {part for part in old.keys() | new.keys() if old.get(part) != new.get(part)}
    return sorted(different, key=lambda part: (not (part in old and part in new), part))


class _Item(NamedTuple):
    """The analysis of one symbol."""

    part: str | None
    """Digest of its code and of what the names in it stand for; None when there is no code to count."""
    reached: frozenset[Symbol]


class _Registry(NamedTuple):
    """How a registry is declared."""

    param: str
    modules: tuple[str, ...]
    place: str


_Names = tuple[str, ...]


@functools.lru_cache(maxsize=8)
def _code(sources: Sources) -> _Code:
    return _Code(sources)


class _Code:
    """Everything found out about one state of the sources."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._names = Names(sources)
        self._registry_class = Symbol(f"{sources.package}.registry", "Registry")
        self._items: dict[Symbol, _Item] = {}
        self._registries: dict[Symbol, _Registry | None] = {}
        self._entries: dict[str, dict[tuple[Symbol, str], list[Symbol]]] = {}
        self._known: dict[str, dict[_Names, dict[tuple[_Names | None, ...], Fingerprint]]] = {}
        """Entry, to paths of the parameters that decided, to their values, to the fingerprint."""

    def fingerprint(self, entry: str, params: Mapping[str, JSON]) -> Fingerprint:
        """See the function of this name; the same object for the same values of the parameters met."""
        known = self._known.setdefault(entry, {})
        for paths, by_values in known.items():
            found = by_values.get(tuple(_chosen(params, path) for path in paths))
            if found is not None:
                return found
        parts: dict[str, str] = {}
        choices: dict[str, _Names] = {}
        seen: set[Symbol] = set()
        pending = [self._entry(entry)]
        while pending:
            symbol = pending.pop()
            if symbol in seen:
                continue
            seen.add(symbol)
            registry = self._registry(symbol)
            if registry is not None:
                names = choices[registry.param] = self._choice(entry, params, symbol, registry)
                parts[str(symbol)] = _short(repr(sorted(names)))
                for name in names:
                    pending += self._registered(symbol, registry, name)
                continue
            item = self._item(symbol)
            if item.part is not None:
                parts[str(symbol)] = item.part
            pending += item.reached
        digest = json_digest({"entry": entry, "parts": parts})
        found = Fingerprint(digest, dict(sorted(parts.items())))
        known.setdefault(tuple(choices), {})[tuple(choices.values())] = found
        return found

    def _entry(self, entry: str) -> Symbol:
        module, _, name = entry.partition(":")
        place = f"entry {entry}"
        if not self._names.is_code(module):
            raise FingerprintError(f"{place}: {self._sources.package} has no module {module}")
        for target in self._names.attributes([OurModule(module)], [name], place):
            if isinstance(target, Symbol):
                return target
        raise FingerprintError(f"{place}: {name} is no function of {self._sources.package}")

    # ---- what single symbols consist of

    def _item(self, symbol: Symbol) -> _Item:
        if symbol not in self._items:
            if symbol.name == EFFECTS:
                self._items[symbol] = self._effects(symbol.module)
            elif symbol.name == EVERYTHING:
                self._items[symbol] = self._everything(symbol.module)
            else:
                table = self._names.table(symbol.module)
                statements = table.symbols[symbol.name]
                self._items[symbol] = self._read(
                    [self._without_registration(statement, table) for statement in statements], table
                )
        return self._items[symbol]

    def _read(self, nodes: Iterable[ast.AST], table: Module) -> _Item:
        nodes = list(nodes)
        reader = Reader(self._names, table)
        reader.load([table.name])
        for node in nodes:
            reader.visit(node)
        text = "\n".join([normal_form(nodes), *sorted(reader.meanings)])
        return _Item(_short(text), frozenset(reader.reached))

    def _effects(self, module: str) -> _Item:
        """What importing a module does: import its package and other modules, and its own effects."""
        table = self._sources.module(module)
        reader = Reader(self._names, table)
        reader.load([module.rpartition(".")[0], *table.loads])
        effects: list[ast.AST] = [
            *table.effects,
            *(call for call in table.registrations if self._registration(call, table) is None),
        ]
        if not effects:
            return _Item(None, frozenset(reader.reached))
        part, reached = self._read(effects, table)
        return _Item(part, reached | reader.reached)

    def _everything(self, module: str) -> _Item:
        table = self._names.table(module)
        reader = Reader(self._names, table)
        for name, imports in table.imports.items():
            for imported in imports:
                targets = self._names.imported(imported, str(table.path))
                reader.use(name, [t for t in targets if not isinstance(t, OurModule)])
        reader.reached.update(Symbol(module, name) for name in [*table.symbols, EFFECTS])
        return _Item(_short("\n".join(sorted(reader.meanings))), frozenset(reader.reached))

    # ---- registries

    def _registry(self, symbol: Symbol) -> _Registry | None:
        """The declaration of a symbol that is a registry."""
        if symbol not in self._registries:
            self._registries[symbol] = self._read_registry(symbol)
        return self._registries[symbol]

    def _read_registry(self, symbol: Symbol) -> _Registry | None:
        table = self._sources.module(symbol.module)
        for statement in table.symbols.get(symbol.name, ()):
            call = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
            if not isinstance(call, ast.Call):
                continue
            made_by = call.func.value if isinstance(call.func, ast.Subscript) else call.func
            if self._registry_class not in Reader(self._names, table).targets(made_by):
                continue
            place = f"{table.path}:{statement.lineno}"
            arguments = {keyword.arg: keyword.value for keyword in call.keywords}
            match arguments.get("param"), arguments.get("modules"):
                case ast.Constant(value=str(param)), ast.Tuple(elts=[*modules]) if names := _texts(modules):
                    return _Registry(param, names, place)
            raise FingerprintError(f"{place}: registry {symbol.name} must give param and modules as literals")
        return None

    def _choice(self, entry: str, params: Mapping[str, JSON], symbol: Symbol, registry: _Registry) -> _Names:
        names = _chosen(params, registry.param)
        if names is None:
            raise FingerprintError(
                f"{registry.place}: {entry} reaches the registry {symbol.name}, so its parameter "
                f"{registry.param!r} must be a name or a list of names; there is none"
            )
        return names

    def _registered(self, symbol: Symbol, registry: _Registry, name: str) -> list[Symbol]:
        """The symbols that make up one entry of a registry."""
        known: list[str] = []
        found: list[Symbol] = []
        for module in registry.modules:
            if module not in self._sources:
                raise FingerprintError(f"{registry.place}: cannot find the module {module}")
            for (owner, entry), symbols in self._registrations(module).items():
                if owner == symbol:
                    known.append(entry)
                    found += symbols if entry == name else []
        if not found:
            near = ", ".join(difflib.get_close_matches(name, known) or sorted(known))
            raise FingerprintError(
                f"{registry.place}: no {name!r} ({registry.param}) is registered in {symbol.name}; "
                f"there is {near or 'nothing at all'}"
            )
        return found

    def _registrations(self, module: str) -> dict[tuple[Symbol, str], list[Symbol]]:
        """What a module registers: registry and name, to the symbols that make up the entry."""
        if module not in self._entries:
            entries: dict[tuple[Symbol, str], list[Symbol]] = defaultdict(list)
            table = self._names.table(module)
            for call in table.registrations:
                if (key := self._registration(call, table)) is not None:
                    symbol = Symbol(module, f"{key[0].name}[{key[1]}]")
                    self._items[symbol] = self._read([*call.args[1:], *call.keywords], table)
                    entries[key].append(symbol)
            for name, statements in table.symbols.items():
                for statement in statements:
                    for decorator in getattr(statement, "decorator_list", ()):
                        if (key := self._registration(decorator, table)) is not None:
                            entries[key].append(Symbol(module, name))
            self._entries[module] = entries
        return self._entries[module]

    def _registration(self, call: ast.AST, table: Module) -> tuple[Symbol, str] | None:
        """The registry and the name of ``REGISTRY.register("name", …)``; None for any other call."""
        parts = registration(call)
        if parts is not None:
            for target in Reader(self._names, table).targets(parts[0]):
                if isinstance(target, Symbol) and self._registry(target) is not None:
                    return target, parts[1]
        return None

    def _without_registration(self, statement: ast.stmt, table: Module) -> ast.stmt:
        if not isinstance(statement, Function | ast.ClassDef) or not statement.decorator_list:
            return statement
        bare = copy.copy(statement)
        bare.decorator_list = [
            decorator for decorator in statement.decorator_list if self._registration(decorator, table) is None
        ]
        return bare


def _chosen(params: Mapping[str, JSON], path: str) -> _Names | None:
    """The names that the parameter at a dotted path gives; None when it gives none."""
    value: JSON = params
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    return None


def _texts(nodes: list[ast.expr]) -> _Names | None:
    texts = tuple(n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return texts if len(texts) == len(nodes) else None


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
