"""What a piece of code refers to: the symbols of ours that it reaches, and what its names stand for.

Looks at one piece of code at a time; ``fingerprint`` follows the references from an entry.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import NamedTuple, NoReturn

from artifacts.errors import FingerprintError
from artifacts.normal_form import Function, Import
from artifacts.sources import (
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


class Symbol(NamedTuple):
    """A name at the level of a module of ours."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


class OurModule(NamedTuple):
    """A module of ours."""

    name: str

    def __str__(self) -> str:
        return self.name


class External(NamedTuple):
    """Something that is not ours, or is data; identified by its name alone."""

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
            return [External(full_name)]
        raise FingerprintError(f"{place}: cannot find {name!r} in {target.name} ({table.path})")

    def _module(self, name: str, place: str) -> OurModule | External:
        if self.is_code(name):
            return OurModule(name)
        package = self.sources.package
        if name not in self.sources and f"{name}.".startswith(f"{package}."):
            raise FingerprintError(f"{place}: cannot find the module {name}")
        return External(name)


class Reader(ast.NodeVisitor):
    """Collects what code at the level of one module refers to, by visiting it.

    Attributes:
        reached: the symbols of ours.
        meanings: ``"written=meaning"`` of every name that stands for something outside the code.
    """

    def __init__(self, names: Names, table: Module) -> None:
        self.reached: set[Symbol] = set()
        self.meanings: set[str] = set()
        self._names = names
        self._table = table
        self._scope: Mapping[str, list[Imported]] = {}
        """Names of the functions around, with what they stand for where imports bind them."""
        self._in_class = False

    def use(self, written: str, targets: Iterable[Target]) -> None:
        """Note what a written name stands for."""
        for target in targets:
            self.meanings.add(f"{written}={target}")
            if isinstance(target, Symbol):
                self.reached.add(target)
            elif isinstance(target, OurModule):
                self.reached.add(Symbol(target.name, EVERYTHING))

    def load(self, modules: Iterable[str]) -> None:
        """Note that modules, where they are ours, are imported."""
        self.reached.update(Symbol(name, EFFECTS) for name in modules if self._names.is_code(name))

    def targets(self, node: ast.AST) -> list[Target]:
        """What a name or a chain of attributes stands for; nothing for builtins and local objects."""
        names = dotted_names(node)
        if names is None:
            return []
        place = self._place(node)
        if names[0] not in self._scope:
            return self._names.dotted(self._table.name, names, place)
        targets = [t for i in self._scope[names[0]] for t in self._names.imported(i, place)]
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
        self._use(node, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        names = dotted_names(node)
        if names is None:
            self.generic_visit(node)
            return
        if not isinstance(node.ctx, ast.Load):
            self._check_no_module(node.value, f"assignment to {'.'.join(names)}")
        self._use(node, ".".join(names))

    def _use(self, node: ast.expr, written: str) -> None:
        targets = self.targets(node)
        for target in targets:
            if isinstance(target, External) and target.name in _FORBIDDEN:
                self._refuse(node, f"{target.name} hides which code is reached")
        self.use(written, targets)

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
        modules = [target for target in self.targets(owner) if isinstance(target, OurModule)]
        for module in modules:
            match function, arguments:
                case "getattr", [ast.Constant(value=str(name)), *_]:
                    targets = self._names.attributes([module], [name], self._place(owner))
                    self.use(f"{module}.{name}", targets)
                case _:
                    self._refuse(owner, f"{function} with a computed name hides what of {module} it is")
        return bool(modules)

    # ---- imports inside functions, classes and branches are statements that run

    def visit_Import(self, node: ast.Import) -> None:
        self._run_import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._run_import(node)

    def _run_import(self, node: Import) -> None:
        place = self._place(node)
        for imported in imported_by(node, self._table):
            self.load([imported.module])
            for target in self._names.imported(imported, place):
                if isinstance(target, OurModule):
                    self.load([target.name])
                elif isinstance(target, Symbol):
                    self.reached.add(target)
        if self._in_class:  # the names of a class body are in no scope that is looked at here
            for name, imported in bound_by(node, self._table):
                self.use(name, self._names.imported(imported, place))

    # ---- scopes

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def _visit_function(self, node: Function) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._visit_body(node.args, node.body)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_body(node.args, [node.body])

    def _visit_body(self, arguments: ast.arguments, body: Iterable[ast.AST]) -> None:
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self.visit(default)
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        parameters += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
        own = bindings(body, self._table)
        around, in_class = self._scope, self._in_class
        self._scope = {
            **{name: imports for name, imports in around.items() if name not in own.outer},
            **{parameter.arg: [] for parameter in parameters},
            **own.names,
        }
        self._in_class = False
        for node in body:
            self.visit(node)
        self._scope, self._in_class = around, in_class

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for outside in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(outside)
        in_class, self._in_class = self._in_class, True
        for statement in node.body:
            self.visit(statement)
        self._in_class = in_class

    def _visit_comprehension(self, node: _Comprehension) -> None:
        self.visit(node.generators[0].iter)  # the one part that runs in the scope around
        around = self._scope
        targets = [n for g in node.generators for n in ast.walk(g.target)]
        self._scope = {**around, **{n.id: [] for n in targets if isinstance(n, ast.Name)}}
        self.generic_visit(node)
        self._scope = around

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    # ---- annotations

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)
        if self._in_class:
            self.visit(node.annotation)
            for inner in ast.walk(node.annotation):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    self._visit_quoted(inner.value, self._place(node))

    def _visit_quoted(self, annotation: str, place: str) -> None:
        try:
            expression = parse(annotation, mode="eval")
        except SyntaxError:  # text that is no code, as in Literal["..."]
            return
        for node in ast.walk(expression):
            if isinstance(node, ast.Name):
                self.use(node.id, self._names.dotted(self._table.name, [node.id], place))


_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
