"""What a piece of code refers to: the symbols of ours that it reaches, and what its names stand for.

Looks at one piece of code at a time; ``fingerprint`` follows the references from an entry.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, NoReturn

from artifacts.errors import FingerprintError
from artifacts.identity.normal_form import Function, Import, Piece, Symbol, normal_form
from artifacts.identity.sources import (
    Imported,
    Module,
    Sources,
    bindings,
    bound_by,
    dotted_names,
    imported_by,
    parse,
)

EFFECTS = "<module>"
"""Stands, in place of a symbol's name, for what importing the module does."""
EVERYTHING = "*"
"""Stands, in place of a symbol's name, for all names of the module."""

_FORBIDDEN_BUILTINS = frozenset({"__import__", "eval", "exec", "globals"})
_FORBIDDEN = frozenset(
    {f"builtins.{name}" for name in _FORBIDDEN_BUILTINS}
    | {"importlib.__import__", "importlib.import_module", "importlib.reload", "sys.modules"}
)
_ATTRIBUTE_FUNCTIONS = frozenset({"delattr", "getattr", "setattr", "vars"})
_MODULE_ATTRIBUTES = frozenset({"__doc__", "__file__", "__name__", "__package__", "__path__"})


class OurModule(NamedTuple):
    """A module of ours."""

    name: str

    def __str__(self) -> str:
        return self.name


class External(NamedTuple):
    """Something that is not ours; identified by its name alone."""

    name: str

    def __str__(self) -> str:
        return self.name


Target = Symbol | OurModule | External


class Names:
    """What names stand for in the modules of one package.

    Every method raises ``FingerprintError`` for a name that should be ours and cannot be found; ``place`` is the
    file and line that refers to it.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._resolving: set[Symbol] = set()
        self._data: dict[Symbol, bool] = {}

    def table(self, module: str) -> Module:
        """The names of a module of ours whose code is reached."""
        table = self.sources.module(module)
        if table.star_line is not None:
            raise FingerprintError(
                f"{table.path}:{table.star_line}: a star import hides what names stand for; import names"
            )
        return table

    def is_code(self, module: str) -> bool:
        """Whether a module is ours and there, and is not the one that holds configuration."""
        return module in self.sources and module != f"{self.sources.package}.config"

    def dotted(self, module: str, names: list[str], place: str) -> list[Target]:
        """What ``a.b.c`` stands for at the level of ``module``; nothing for builtins and unknown names.

        Several targets where branches differ in what they import.
        """
        table = self.table(module)
        targets: list[Target] = []
        if names[0] in table.symbols:
            targets.append(Symbol(module, names[0]))
        for imported in table.imports.get(names[0], ()):
            targets += self.imported(imported, place)
        return self.attributes(targets, names[1:], place)

    def is_data(self, symbol: Symbol) -> bool:
        """Whether a symbol is configuration, or a class made of it."""
        if not self.is_code(symbol.module):
            return True
        if symbol not in self._data:
            self._data[symbol] = False  # of a class that is made of itself
            table = self.sources.module(symbol.module)
            match table.symbols.get(symbol.name):
                case [ast.ClassDef(bases=bases)]:
                    self._data[symbol] = any(
                        isinstance(target, Symbol) and self.is_data(target)
                        for base in bases
                        if (names := dotted_names(base)) is not None
                        for target in self.dotted(symbol.module, names, str(table.path))
                    )
        return self._data[symbol]

    def imported(self, imported: Imported, place: str) -> list[Target]:
        """What an import stands for, through any number of modules of ours that pass it on."""
        module = self._module(imported.module, place)
        return self.attributes([module], [] if imported.name is None else [imported.name], place)

    def attributes(self, targets: list[Target], names: list[str], place: str) -> list[Target]:
        """What ``.a.b`` of any of ``targets`` stands for."""
        for name in names:
            targets = [found for target in targets for found in self._attribute(target, name, place)]
        return targets

    def _attribute(self, target: Target, name: str, place: str) -> list[Target]:
        if isinstance(target, Symbol):
            return [target]  # an attribute of a symbol is part of the symbol
        if isinstance(target, External):
            return [External(f"{target.name}.{name}")]
        symbol = Symbol(target.name, name)
        if not self.is_code(target.name):
            return [symbol]
        table = self.table(target.name)
        if (name in table.symbols or name in table.imports) and symbol not in self._resolving:
            self._resolving.add(symbol)
            try:
                return self.dotted(target.name, [name], place)
            finally:
                self._resolving.discard(symbol)
        full_name = f"{target.name}.{name}"
        if full_name in self.sources:
            return [self._module(full_name, place)]
        if name in _MODULE_ATTRIBUTES:
            return [symbol]
        raise FingerprintError(f"{place}: cannot find {name!r} in {target.name} ({table.path})")

    def _module(self, name: str, place: str) -> OurModule | External:
        if name in self.sources:
            return OurModule(name)
        if f"{name}.".startswith(f"{self.sources.package}."):
            raise FingerprintError(f"{place}: cannot find the module {name}")
        return External(name)


class Reader(ast.NodeVisitor):
    """Collects what code at the level of one module refers to, by visiting it.

    Args:
        names: of the package.
        table: the module.

    Attributes:
        meanings: for ``normal_form``: what stands for names of ours and of others, whatever they are called here.
        loads: modules of ours that are imported.
    """

    def __init__(self, names: Names, table: Module) -> None:
        self.meanings: dict[int, tuple[Piece, ...]] = {}
        self.loads: set[str] = set()
        self._names = names
        self._table = table
        self._scope: Mapping[str, list[Imported | None]] = {}
        """Names of the functions around, see ``Bindings``."""
        self._class: Iterable[str] | None = None
        """Names that the class bound whose body this is."""
        self._is_inside = False
        """Whether a function or class is around."""
        self._others: set[str] = set()
        """What is in use of others."""
        self._imports: list[tuple[Import, External]] = []
        """Imports of others for which names in use may speak."""

    def read(self, nodes: Iterable[ast.AST]) -> None:
        """Visit all code of one symbol."""
        for node in nodes:
            self.visit(node)
        for node, other in self._imports:
            if not any(f"{used}.".startswith(f"{other}.") for used in self._others):
                self.meanings[id(node)] += (f"import {other}",)

    def pieces(self, targets: Iterable[Target]) -> tuple[Piece, ...]:
        """What stands for a name that is one of these, as branches have it."""
        return tuple(self._piece(target) for target in dict.fromkeys(targets))

    def _piece(self, target: Target) -> Piece:
        match target:
            case External(name):
                self._others.add(name)
                return f"other {name}"
            case OurModule(name):
                return Symbol(name, EVERYTHING)
        return target

    def load(self, modules: Iterable[str]) -> None:
        """Note that modules, where they are ours, are imported."""
        self.loads.update(name for name in modules if self._names.is_code(name))

    def targets(self, node: ast.AST) -> list[Target]:
        """What a name or a chain of attributes stands for; nothing for builtins and local objects."""
        names = dotted_names(node)
        if names is None:
            return []
        place = self._place(node)
        if names[0] not in self._scope:
            return self._names.dotted(self._table.name, names, place)
        targets = [t for i in self._scope[names[0]] if i is not None for t in self._names.imported(i, place)]
        return self._names.attributes(targets, names[1:], place)

    def _place(self, node: ast.AST) -> str:
        return f"{self._table.path}:{getattr(node, 'lineno', 1)}"

    def _refuse(self, node: ast.AST, why: str) -> NoReturn:
        raise FingerprintError(f"{self._place(node)}: {why}")

    def _is_builtin(self, name: str) -> bool:
        table = self._table
        return not (name in self._scope or name in table.symbols or name in table.imports)

    # ---- names

    def visit_Name(self, node: ast.Name) -> None:
        is_read = isinstance(node.ctx, ast.Load)
        if is_read and node.id in _FORBIDDEN_BUILTINS and self._is_builtin(node.id):
            self._refuse(node, f"{node.id} hides which code is reached")
        self._use(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        names = dotted_names(node)
        if names is None:
            self.generic_visit(node)
            return
        if not isinstance(node.ctx, ast.Load):
            self._check_no_module(node.value, f"assignment to {'.'.join(names)}")
        self._use(node)

    def _use(self, node: ast.expr) -> None:
        targets = self.targets(node)
        for target in targets:
            if isinstance(target, External) and target.name in _FORBIDDEN:
                self._refuse(node, f"{target.name} hides which code is reached")
        if not targets:
            return
        # Attributes of a symbol are part of it, and are written as they are.
        while isinstance(node, ast.Attribute):
            inner = self.targets(node.value)
            if not inner or not all(isinstance(target, Symbol) for target in inner):
                break
            node, targets = node.value, inner
        names = dotted_names(node) or [""]
        may_be_other = names[0] in (self._class or ()) or len(set(self._scope.get(names[0], ()))) > 1
        self.meanings[id(node)] = (*([".".join(names)] if may_be_other else []), *self.pieces(targets))

    def _check_no_module(self, owner: ast.expr, what: str) -> None:
        for target in self.targets(owner):
            if not isinstance(target, Symbol):
                self._refuse(owner, f"{what} changes {target} for code that does not show it")

    def visit_Call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Name(id=function), args=[owner, *rest]) if (
                function in _ATTRIBUTE_FUNCTIONS and self._is_builtin(function)
            ):
                if not self._is_attribute_of_module(function, owner, rest):
                    self.visit(owner)
                for argument in (*rest, *node.keywords):
                    self.visit(argument)
            case _:
                self.generic_visit(node)

    def _is_attribute_of_module(self, function: str, owner: ast.expr, arguments: list[ast.expr]) -> bool:
        """Whether ``getattr`` or its like is called on a module of ours; its literal name is then in use."""
        if function in ("setattr", "delattr"):
            self._check_no_module(owner, function)
        modules = [t for t in self.targets(owner) if isinstance(t, OurModule) and self._names.is_code(t.name)]
        for module in modules:
            match function, arguments:
                case "getattr", [ast.Constant(value=str(name)), *_]:
                    targets = self._names.attributes([module], [name], self._place(owner))
                    self.meanings[id(owner)] = self.pieces(targets)
                case _:
                    self._refuse(owner, f"{function} with a computed name hides what of {module} it is")
        return bool(modules)

    # ---- imports inside functions, classes and branches are statements that run

    def _visit_import(self, node: Import, *, is_plain: bool = False) -> None:
        """Note an import; for a plain one, outside of any branch, the names in use speak that it alone binds."""
        pieces: list[Piece] = []
        for imported, (name, _) in zip(imported_by(node, self._table), bound_by(node, self._table), strict=True):
            targets = self._names.imported(imported, self._place(node))
            self.load([imported.module, *(target.name for target in targets if isinstance(target, OurModule))])
            if is_plain and len(set(self._scope.get(name, ()))) == 1:
                self._imports += [(node, target) for target in targets if isinstance(target, External)]
                continue
            if self._class is None:  # of a module, names in use say what of it is used
                targets = [target for target in targets if not isinstance(target, OurModule)]
            pieces += ["import", name, *self.pieces(targets)]
        self.meanings[id(node)] = tuple(pieces)

    visit_Import = visit_ImportFrom = _visit_import

    def visit_Global(self, node: ast.Global) -> None:
        pieces: list[Piece] = ["global"]
        for name in node.names:
            pieces += self.pieces(self._names.dotted(self._table.name, [name], self._place(node))) or (name,)
        self.meanings[id(node)] = tuple(pieces)

    # ---- scopes

    def _visit_function(self, node: Function) -> None:
        self._name(node)
        for decorator in node.decorator_list:
            self.visit(decorator)
        is_inside, self._is_inside = self._is_inside, True
        self._visit_body(node.args, node.body)
        self._is_inside = is_inside

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function

    def _name(self, node: Function | ast.ClassDef) -> None:
        if not self._is_inside:  # it binds a symbol
            self.meanings[id(node)] = self.pieces([Symbol(self._table.name, node.name)])

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_body(node.args, [node.body])

    def _visit_body(self, arguments: ast.arguments, body: Iterable[ast.AST]) -> None:
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self.visit(default)
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        parameters += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
        own = bindings(body, self._table)
        for parameter in parameters:
            own.names.setdefault(parameter.arg, []).append(None)
        around = self._scope, self._class
        self._scope = {name: bound for name, bound in self._scope.items() if name not in own.outer} | own.names
        self._class = None
        for node in body:
            if isinstance(node, Import):
                self._visit_import(node, is_plain=True)
            else:
                self.visit(node)
        self._scope, self._class = around

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._name(node)
        for outside in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(outside)
        around = self._class, self._is_inside
        self._class, self._is_inside = bindings(node.body, self._table).names, True
        for statement in node.body:
            self.visit(statement)
        self._class, self._is_inside = around

    def _visit_comprehension(self, node: _Comprehension) -> None:
        self.visit(node.generators[0].iter)  # the one part that runs in the scope around
        around = self._scope
        targets = [n for g in node.generators for n in ast.walk(g.target)]
        self._scope = {**around, **{n.id: [None] for n in targets if isinstance(n, ast.Name)}}
        self.generic_visit(node)
        self._scope = around

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    # ---- annotations

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)
        if self._class is not None:
            self.visit(node.annotation)
            self._read_quoted(node.annotation)

    def _read_quoted(self, annotation: ast.expr) -> None:
        """Let quoted parts of an annotation count by what they say, but for texts that are values."""
        match annotation:
            case ast.Constant(value=str(text)):
                with contextlib.suppress(SyntaxError):  # text that is no code
                    quoted = parse(text, mode="eval")
                    inner = Reader(self._names, self._table)
                    inner.visit(quoted)
                    self.meanings[id(annotation)] = ("quoted", *normal_form([quoted], inner.meanings))
            case ast.Call() | ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal")):
                pass
            case _:
                for part in ast.iter_child_nodes(annotation):
                    if isinstance(part, ast.expr):
                        self._read_quoted(part)


_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
