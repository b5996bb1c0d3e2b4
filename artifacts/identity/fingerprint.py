"""The fingerprint of the code that a stage runs: all source of ours that its entry reaches.

Reach is over-approximate: a name that may stand for a symbol of ours reaches it, a class is reached whole, and a
module used as a value is reached whole. It stops at a registry, and goes on into the entries that the parameters
name, and at ``<package>.config`` and classes made of it, which are data. Code that could reach something by another
way is refused.

Names, modules and ways of importing are in no digest: what is reached is numbered in the order in which references
lead to it from the entry, and where code refers to something of ours, its number stands for the name. So the digest is
of a graph, circles and all, and not of a tree, whose digests could not tell two things apart that are written alike:
another exception, another cache. What counts of a piece of code is in ``normal_form``, which statements a module
consists of in ``sources``, what a piece of code refers to in ``reach``.
"""

from __future__ import annotations

import ast
import copy
import difflib
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from artifacts.errors import FingerprintError
from artifacts.identity.keys import JSON, json_digest
from artifacts.identity.normal_form import Function, Piece, Symbol, normal_form
from artifacts.identity.reach import EFFECTS, EVERYTHING, Names, OurModule, Reader
from artifacts.identity.sources import Module, Sources, registration

__all__ = ["Fingerprint", "Sources", "changed", "fingerprint"]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the code of a stage is."""

    digest: str
    """64 hexadecimal digits, of the values of ``parts``."""
    parts: dict[str, str]
    """``"module:name"`` of everything reached, by number from 0, the entry, to what it is: 16 hexadecimal digits of its
    own code, whatever this refers to, and the numbers of what this refers to. The names are for people."""


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
    """The parts that differ between two fingerprints, but for names: edited ones first, then those that came or went.

    Follows the references of both from the entry, so that a part is compared with what it was under another name.
    """
    before, after = list(old), list(new)
    own_before, own_after = ({name: parts[name].partition(" ")[0] for name in parts} for parts in (old, new))
    staying = {name for name in before if own_before[name] == own_after.get(name)}
    was: dict[str, str] = {}
    became: dict[str, str] = {}
    edited: set[str] = set()
    # What no reference leads to from both is found by name, else by its code.
    pending = [(then, now, "") for now in after for then in before if own_before[then] == own_after[now]]
    pending += [(name, name, "") for name in after if name in old]
    pending += list(zip(before[:1], after[:1], [""], strict=False))
    while pending:
        then, now, referring = pending.pop()
        is_edited = own_before[then] != own_after[now]
        if is_edited:
            can_be = then == now or not (then in new or now in old)
        else:
            can_be = then == now or staying.isdisjoint((then, now))
        if can_be and now not in was and then not in became:
            was[now], became[then] = then, now
            if is_edited:
                edited.add(now)
            else:
                places = zip(old[then].split()[1:], new[now].split()[1:], strict=False)
                pending += [(before[int(place)], after[int(other)], now) for place, other in places]
        elif was.get(now) != then and referring:
            edited.add(referring)
    return [*sorted(edited), *sorted((new.keys() - was.keys()) | (old.keys() - became.keys()))]


class _Item(NamedTuple):
    """The analysis of one symbol."""

    own: str
    """Digest of its own code, in which a number stands for each name of ours."""
    references: tuple[Symbol, ...] = ()
    """What these numbers stand for."""
    loads: frozenset[str] = frozenset()
    """Modules of ours that are imported where it stands and where it runs."""


def _item(code: Iterable[Piece], loads: Iterable[str]) -> _Item:
    numbers: dict[Symbol, int] = {}
    # No text of a normal form has a null character.
    texts = (p if isinstance(p, str) else f"\0{numbers.setdefault(p, len(numbers))}\0" for p in code)
    return _Item(json_digest("".join(texts))[:16], tuple(numbers), frozenset(loads))


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
        self._effects: dict[str, frozenset[Symbol]] = {}
        self._entries: dict[str, dict[tuple[Symbol, str], list[Symbol]]] = {}
        self._known: dict[str, dict[_Names, dict[tuple[_Names | None, ...], Fingerprint]]] = {}
        """Entry, to paths of the parameters that decided, to their values, to the fingerprint."""

    def fingerprint(self, entry: str, params: Mapping[str, JSON]) -> Fingerprint:
        """See the function of this name; the same object for the same values of the parameters met."""
        known = self._known.setdefault(entry, {})
        for paths, by_values in known.items():
            same = by_values.get(tuple(_chosen(params, path) for path in paths))
            if same is not None:
                return same
        choices: dict[str, _Names] = {}

        def item(symbol: Symbol) -> _Item:
            registry = self._registry(symbol)
            if registry is None:
                return self._item(symbol)
            names = choices[registry.param] = self._choice(entry, params, symbol, registry)
            return _item(["registry", *(s for name in names for s in self._registered(symbol, registry, name))], ())

        found = _follow(self._entry(entry), item, {})
        while effects := {e for i in found.values() for m in i.loads for e in self._effects_of(m)} - found.keys():
            # In an order that names decide only between those that are alike.
            for effect in sorted(effects, key=lambda effect: (_numbered(_follow(effect, item, {})), effect)):
                _follow(effect, item, found)
        values = _numbered(found)
        parts = dict(zip(map(str, found), values, strict=True))
        known.setdefault(tuple(choices), {})[tuple(choices.values())] = made = Fingerprint(json_digest(values), parts)
        return made

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
            self._items[symbol] = self._analyse(symbol)
        return self._items[symbol]

    def _analyse(self, symbol: Symbol) -> _Item:
        if self._names.is_data(symbol):
            return _item([f"data {symbol.name}"], ())  # nothing else tells it from other data
        table = self._names.table(symbol.module)
        if symbol.name == EFFECTS:
            return self._read(self._effects_in(table), table)
        if symbol.name == EVERYTHING:
            return self._everything(table)
        if symbol.name not in table.symbols:  # one that every module has
            return _item([symbol.name], [table.name])
        statements = table.symbols[symbol.name]
        return self._read([self._without_registration(s, table) for s in statements], table, statements)

    def _read(self, nodes: Sequence[ast.AST], table: Module, running: Sequence[ast.stmt | ast.expr] = ()) -> _Item:
        """The analysis of code; ``running`` is what importing the module runs of it."""
        reader = Reader(self._names, table)
        reader.load([table.name])
        reader.read(nodes)
        times = [table.n_steps(node, running) for node in running]
        code = normal_form(nodes, reader.meanings)
        return _item([f"after {times}", *code] if any(times) else code, reader.loads)

    def _effects_in(self, table: Module) -> list[ast.AST]:
        return [*table.effects, *(call for call in table.registrations if self._registration(call, table) is None)]

    def _effects_of(self, module: str) -> frozenset[Symbol]:
        """What runs when a module is imported, and with it its package and other modules."""
        if module not in self._effects:
            seen: set[str] = set()
            pending = [module]
            while pending:
                name = pending.pop()
                if name not in seen and self._names.is_code(name):
                    seen.add(name)
                    pending += [name.rpartition(".")[0], *self._sources.module(name).loads]
            symbols = (Symbol(name, EFFECTS) for name in seen if self._effects_in(self._sources.module(name)))
            self._effects[module] = frozenset(symbols)
        return self._effects[module]

    def _everything(self, table: Module) -> _Item:
        reader = Reader(self._names, table)
        code: list[Piece] = []
        for name in sorted({*table.symbols, *table.imports}):
            targets = self._names.dotted(table.name, [name], str(table.path))
            code += [name, *reader.pieces(t for t in targets if not isinstance(t, OurModule))]
        return _item(code, [table.name])

    # ---- registries

    def _registry(self, symbol: Symbol) -> _Registry | None:
        """The declaration of a symbol that is a registry."""
        if symbol not in self._registries:
            self._registries[symbol] = self._read_registry(symbol)
        return self._registries[symbol]

    def _read_registry(self, symbol: Symbol) -> _Registry | None:
        if self._names.is_data(symbol):
            return None
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
        for module in self._modules_of(registry):
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

    def _modules_of(self, registry: _Registry) -> list[str]:
        """Its modules, and for ``package.*`` all of the package."""
        found = []
        for name in registry.modules:
            package = name.removesuffix(".*")
            if package not in self._sources:
                raise FingerprintError(f"{registry.place}: cannot find the module {package}")
            found += [package] if name == package else self._sources.inside(package)
        return found

    def _registrations(self, module: str) -> dict[tuple[Symbol, str], list[Symbol]]:
        """What a module registers: registry and name, to the symbols that make up the entry."""
        if module not in self._entries:
            entries: dict[tuple[Symbol, str], list[Symbol]] = defaultdict(list)
            table = self._names.table(module)
            for call in table.registrations:
                if (key := self._registration(call, table)) is not None:
                    symbol = Symbol(module, f"{key[0].name}[{key[1]}]")
                    self._items[symbol] = self._read([*call.args[1:], *call.keywords], table, [call])
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


def _follow(root: Symbol, item: Callable[[Symbol], _Item], found: dict[Symbol, _Item]) -> dict[Symbol, _Item]:
    """Add to ``found`` what can be reached from ``root``, in the order in which references lead there."""
    pending = [root]
    for symbol in pending:
        if symbol not in found:
            found[symbol] = item(symbol)
            pending += found[symbol].references
    return found


def _numbered(found: Mapping[Symbol, _Item]) -> list[str]:
    """The values of ``Fingerprint.parts``."""
    numbers = {symbol: str(number) for number, symbol in enumerate(found)}
    return [" ".join([item.own, *(numbers[symbol] for symbol in item.references)]) for item in found.values()]


def _chosen(params: Mapping[str, JSON], path: str) -> _Names | None:
    """The names that the parameter at a dotted path gives, through lists of tables too; None when it gives none."""
    value: JSON = params
    for step in path.split("."):  # the usual way, which a plan takes for every node
        if not isinstance(value, dict):
            break
        value = value.get(step)
    else:
        if isinstance(value, str):
            return (value,)
    values: list[JSON] = [params]
    for step in path.split("."):
        inner = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
        values = [item.get(step) if isinstance(item, Mapping) else None for item in inner]
    names = [name for value in values for name in (value if isinstance(value, list | tuple) else [value])]
    return tuple(names) if all(isinstance(name, str) for name in names) else None


def _texts(nodes: list[ast.expr]) -> _Names | None:
    texts = tuple(n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return texts if len(texts) == len(nodes) else None
