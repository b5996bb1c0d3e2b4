"""The source of one package, and per module which statements make up each of its names.

Nothing is imported and no reference is followed here: that is ``fingerprint``.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from artifacts.errors import FingerprintError
from artifacts.identity.normal_form import Function, Import, is_inert

PARSING = threading.Lock()
PARSE_ATTEMPTS = 50


class Source(NamedTuple):
    """One source file, as read."""

    path: Path
    text: bytes


class Imported(NamedTuple):
    """What an import binds a name to: a module, or a name of a module."""

    module: str
    name: str | None = None


@dataclass(slots=True)
class Module:
    """What the statements at the level of one module do."""

    name: str
    path: Path
    imports: dict[str, list[Imported]] = field(default_factory=lambda: defaultdict(list))
    """Names that imports bind, also those in branches."""
    loads: set[str] = field(default_factory=set)
    """Whatever importing this module imports, as far as its own statements show."""
    symbols: dict[str, list[ast.stmt]] = field(default_factory=lambda: defaultdict(list))
    """Names that other statements bind, to every statement that binds or changes them."""
    effects: list[ast.stmt] = field(default_factory=list)
    """Statements that may change something other than a name of this module."""
    registrations: list[ast.Call] = field(default_factory=list)
    """Statements of the form ``X.register("literal", …)``; what ``X`` is, is not known here."""
    steps: list[ast.stmt] = field(default_factory=list)
    """Effects, and statements that bind or change names of more than one: what runs earlier may see other values."""
    star_line: int | None = None
    """Line of a star import."""

    @property
    def is_package(self) -> bool:
        """Whether relative imports start at this module itself."""
        return self.path.name == "__init__.py"

    def n_steps(self, node: ast.stmt | ast.expr, own: Sequence[ast.AST]) -> int:
        """How many steps but those in ``own`` are made before a node runs; 0 where it runs nothing."""
        if isinstance(node, Function):
            runs = bool(node.decorator_list or node.args.defaults or any(node.args.kw_defaults))
        else:
            runs = any(isinstance(inner, ast.Name | ast.Call) for inner in ast.walk(node))
        at = node.lineno, node.col_offset
        return sum((step.lineno, step.col_offset) < at and step not in own for step in self.steps) if runs else 0


class Sources:
    """The source of every module of one package, parsed when asked for.

    Args:
        package: name of the package.
        modules: full name of each module to its file.
    """

    def __init__(self, package: str, modules: Mapping[str, Source]) -> None:
        self.package = package
        self._sources = dict(modules)
        self._modules: dict[str, Module] = {}

    @classmethod
    def on_disk(cls, package: str, root: Path | None = None) -> Sources:
        """The package as it lies on disk now; nothing of it is imported.

        Args:
            package: name of the package.
            root: its folder; by default where an import would find it.

        Raises:
            FingerprintError: there is no such package.
        """
        return shared_sources(package, read_package(package, root))

    def __contains__(self, module: object) -> bool:
        return module in self._sources

    def inside(self, package: str) -> list[str]:
        """The modules of a package, without those of packages in it."""
        return [name for name in self._sources if name.rpartition(".")[0] == package]

    def module(self, name: str) -> Module:
        """The table of the module called ``name``.

        Raises:
            KeyError: the package has no such module.
            FingerprintError: its source cannot be parsed.
        """
        if name not in self._modules:
            self._modules[name] = _tabulate(name, self._sources[name])
        return self._modules[name]


def read_package(package: str, root: Path | None = None) -> dict[str, Source]:
    """Every source file of a package, by the full name of its module.

    Raises:
        FingerprintError: there is no such package, or a file cannot be read.
    """
    if root is None:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise FingerprintError(f"there is no package {package!r} to fingerprint")
        root = Path(spec.submodule_search_locations[0])
    modules = {}
    for path in sorted(root.rglob("*.py")):
        if not path.is_file():  # the lock of an editor, a link to nowhere, has such a name
            continue
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        try:
            modules[".".join((package, *parts))] = Source(path, path.read_bytes())
        except OSError as error:
            raise FingerprintError(f"{path}:1: cannot be read: {error.strerror}") from error
    return modules


def shared_sources(package: str, modules: Mapping[str, Source]) -> Sources:
    """Sources with this content: the same object for the same content, so that nothing is analysed twice."""
    return _shared_sources(package, tuple(sorted(modules.items())))


@functools.lru_cache(maxsize=8)
def _shared_sources(package: str, modules: tuple[tuple[str, Source], ...]) -> Sources:
    return Sources(package, dict(modules))


def imported_by(node: Import, module: Module) -> list[Imported]:
    """What each name in an import statement of ``module`` stands for, relative imports resolved."""
    if isinstance(node, ast.Import):
        return [Imported(alias.name) for alias in node.names]
    source = node.module or ""
    if node.level:
        parents = module.name.split(".")
        n_kept = len(parents) - node.level + module.is_package
        source = ".".join([*parents[: max(n_kept, 0)], *source.split(".")]).strip(".")
    return [Imported(source, alias.name) for alias in node.names]


def bound_by(node: Import, module: Module) -> Iterator[tuple[str, Imported]]:
    """Each name that an import statement binds, with what it stands for."""
    for alias, imported in zip(node.names, imported_by(node, module), strict=True):
        if alias.asname is None and isinstance(node, ast.Import):
            top = alias.name.partition(".")[0]
            yield top, Imported(top)
        else:
            yield alias.asname or alias.name, imported


class Bindings(NamedTuple):
    """Names that a scope binds."""

    names: dict[str, list[Imported | None]]
    """Each name, with everything that binds it: what an import does, or None."""
    outer: set[str]
    """Names declared global."""


def bindings(statements: Iterable[ast.AST], module: Module) -> Bindings:
    """The names that statements bind in their own scope, without those of functions and classes in them."""
    names: dict[str, list[Imported | None]] = defaultdict(list)
    outer: set[str] = set()
    foreign: set[str] = set()
    for node in _own_nodes(statements):
        match node:
            case (
                ast.FunctionDef(name=str(name)) | ast.AsyncFunctionDef(name=str(name)) | ast.ClassDef(name=str(name))
                | ast.Name(id=str(name), ctx=ast.Store() | ast.Del()) | ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name))
            ):  # fmt: skip
                names[name].append(None)
            case ast.Import() | ast.ImportFrom():
                for name, imported in bound_by(node, module):
                    names[name].append(imported)
            case ast.Global():
                outer.update(node.names)
            case ast.Nonlocal():
                foreign.update(node.names)
    return Bindings({name: names[name] for name in names.keys() - outer - foreign}, outer)


def _own_nodes(statements: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Every node but those that have a scope of their own; targets of comprehensions are among these."""
    pending = list(statements)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.comprehension):
            pending += [node.iter, *node.ifs]
        elif not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            pending += ast.iter_child_nodes(node)


def dotted_names(node: ast.AST) -> list[str] | None:
    """``["a", "b", "c"]`` for the expression ``a.b.c``; None for what does not start with a name."""
    attributes = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return [node.id, *reversed(attributes)] if isinstance(node, ast.Name) else None


def registration(call: ast.AST) -> tuple[ast.expr, str] | None:
    """The object and the literal of ``X.register("literal", …)``."""
    match call:
        case ast.Call(
            func=ast.Attribute(value=registry, attr="register"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return registry, name
    return None


def parse(text: str | bytes, mode: Literal["exec", "eval"] = "exec") -> ast.mod:
    """``ast.parse``, which CPython 3.11 may refuse while another thread parses.

    All threads count the depth of their trees in one place there (https://github.com/python/cpython/issues/106905).
    A tree that comes back is right.
    """
    for _ in range(PARSE_ATTEMPTS):
        # Other threads of ours wait; Prefect and inspect parse, too, and do not.
        with PARSING, contextlib.suppress(SystemError):
            return ast.parse(text, mode=mode)
    return ast.parse(text, mode=mode)


@functools.lru_cache(maxsize=256)
def _tabulate(name: str, source: Source) -> Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is the importer's business
            tree = parse(source.text)
        assert isinstance(tree, ast.Module)
    except SyntaxError as error:
        raise FingerprintError(f"{source.path}:{error.lineno or 1}: {error.msg}") from error
    except ValueError as error:  # null bytes, before Python 3.12
        raise FingerprintError(f"{source.path}:1: {error}") from error
    module = Module(name, source.path)
    statements = []
    for statement in _top_level(tree.body, module):
        match statement:
            case ast.Import() | ast.ImportFrom():
                _note_import(statement, module)
            case ast.Expr(value=ast.Call() as call) if registration(call) and _n_arguments(call) > 1:
                module.registrations.append(call)
            case _ if not is_inert(statement):
                statements.append(statement)
    _assign_statements(statements, module)
    return module


def _top_level(body: Iterable[ast.stmt], module: Module) -> Iterator[ast.stmt]:
    """The statements of a module; what only type checkers see binds names, but is no branch and loads nothing."""
    for statement in body:
        match statement:
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"), orelse=[]):
                for inner in statement.body:
                    if isinstance(inner, Import):
                        for bound, imported in bound_by(inner, module):
                            module.imports[bound].append(imported)
                    else:
                        yield inner
            case _:
                yield statement


def _n_arguments(call: ast.Call) -> int:
    return len(call.args) + len(call.keywords)


def _note_import(node: Import, module: Module) -> None:
    if isinstance(node, ast.ImportFrom) and node.module == "__future__":
        return
    if node.names[0].name == "*":
        module.star_line = node.lineno
    for imported in imported_by(node, module):
        module.loads.add(imported.module)
        if imported.name is not None:
            module.loads.add(f"{imported.module}.{imported.name}")
    for name, imported in bound_by(node, module):
        module.imports[name].append(imported)


def _assign_statements(statements: list[ast.stmt], module: Module) -> None:
    """Give each statement to the names that it binds or changes, and to the effects where it may do more."""
    bound = [set(bindings([statement], module).names) for statement in statements]
    local = set().union(*bound)
    own = _own_objects(statements, bound)
    for statement, names in zip(statements, bound, strict=True):
        changed: set[str] = set()
        is_check = False
        for node in _own_nodes([statement]):
            if isinstance(node, Import):
                _note_import(node, module)
            elif isinstance(node, ast.Assert | ast.Raise):
                is_check = True
            elif (root := _changed_by(node)) is not None:
                changed.add(root)
        for name in names | (changed & local):
            module.symbols[name].append(statement)
        if is_check or changed - own or not (names or changed):
            module.effects.append(statement)
    several = [s for name, s in module.symbols.items() if len(s) + len(module.imports.get(name, ())) > 1]
    module.steps = [s for s in statements if s in module.effects or any(s in others for others in several)]


def _changed_by(node: ast.AST) -> str | None:
    """The name whose object a node changes in place; ``""`` where it may be any object."""
    match node:
        case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
            return _root(node)
        case ast.AugAssign(target=ast.Name(id=name)):
            return name
        case ast.Expr(value=ast.Call(func=ast.Attribute() as method)):
            return _root(method)
        case ast.Expr() if not is_inert(node):
            return ""
    return None


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _own_objects(statements: list[ast.stmt], bound: list[set[str]]) -> set[str]:
    """Names whose object is made here, so that changing it changes nothing that has another name."""
    made: set[str] = set()
    other: set[str] = set()
    for statement, names in zip(statements, bound, strict=True):
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.AugAssign():
                made |= names
            case ast.Assign(targets=[ast.Name()]) | ast.AnnAssign() if not isinstance(statement.value, _ALIASING):
                made |= names
            case _:
                other |= names
    return made - other


_ALIASING = (
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.IfExp,
    ast.BoolOp,
    ast.NamedExpr,
    ast.Tuple,
)
"""Expressions whose value may have another name as well."""
