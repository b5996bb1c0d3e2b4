"""The text that stands for a piece of code in a fingerprint, whatever its layout and whatever Python reads it.

What the code reaches, and what the names in it stand for, is in ``fingerprint``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

Import = ast.Import | ast.ImportFrom
Function = ast.FunctionDef | ast.AsyncFunctionDef

_SKIPPED = frozenset({"ctx", "kind", "returns", "simple", "type_comment", "type_ignores"})
_BLOCKS = frozenset({"body", "orelse", "finalbody"})
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}
"""What ``_fields`` found, per kind of node."""


def normal_form(nodes: Iterable[ast.AST]) -> str:
    """The normal form of statements or expressions, in their order.

    Left out are positions, comments, docstrings and other bare constants, ``pass``, annotations (but those in class
    bodies, which are behaviour), how strings are quoted and cut, and the order of imports that follow each other.
    Empty fields are left out as well, so that a field which a later Python adds changes nothing.
    """
    out: list[str] = []
    _write_block(nodes, out, in_class=False)
    return "".join(out)


def is_inert(statement: ast.AST) -> bool:
    """Whether a statement does nothing: ``pass``, a docstring or another bare constant."""
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    if kind not in _FIELDS:
        skipped = _SKIPPED | {"annotation"} if kind is ast.arg else _SKIPPED
        _FIELDS[kind] = tuple(sorted(set(kind._fields) - skipped))
    return _FIELDS[kind]


def _write_block(nodes: Iterable[ast.AST], out: list[str], *, in_class: bool) -> None:
    imports: set[str] = set()
    for node in nodes:
        if is_inert(node):
            continue
        if isinstance(node, Import):
            imports.update(_import_lines(node))
            continue
        out.extend(sorted(imports))
        imports.clear()
        _write(node, out, in_class)
    out.extend(sorted(imports))


def _import_lines(node: Import) -> Iterator[str]:
    source = "" if isinstance(node, ast.Import) else f"{'.' * node.level}{node.module or ''}:"
    if source != "__future__:":
        for alias in node.names:
            yield f"(import {source}{alias.name} {alias.asname or ''})"


def _write(value: object, out: list[str], in_class: bool) -> None:
    if isinstance(value, ast.Constant):
        out.append(_constant(value.value))
    elif isinstance(value, ast.JoinedStr):
        _write_pieces(value, out, in_class)
    elif isinstance(value, ast.AnnAssign) and not in_class:
        if value.value is not None:
            _write(ast.Assign(targets=[value.target], value=value.value), out, in_class)
    elif isinstance(value, ast.AST):
        _write_node(value, out, in_class)
    elif isinstance(value, list):
        out.append("[")
        for item in value:
            _write(item, out, in_class)
            out.append(" ")
        out.append("]")
    else:
        out.append(str(value))


def _write_node(node: ast.AST, out: list[str], in_class: bool) -> None:
    if isinstance(node, ast.ClassDef):
        in_class = True
    elif isinstance(node, Function):
        in_class = False
    out.append(f"({type(node).__name__}")
    for name in _fields(type(node)):
        value = getattr(node, name, None)
        if value is None or value == []:
            continue
        out.append(f" {name}=")
        if name in _BLOCKS and isinstance(value, list):
            out.append("[")
            _write_block(value, out, in_class=in_class)
            out.append("]")
        else:
            _write(value, out, in_class)
    out.append(")")


def _write_pieces(string: ast.JoinedStr, out: list[str], in_class: bool) -> None:
    """An f-string: Pythons differ in how they cut its text, and in whether they keep empty pieces."""
    out.append("(JoinedStr")
    text = ""
    for piece in string.values:
        if isinstance(piece, ast.Constant):
            text += str(piece.value)
            continue
        if text:
            out.append(f" {text!a}")
            text = ""
        out.append(" ")
        if isinstance(piece, ast.FormattedValue):
            _write(piece.value, out, in_class)
            out.append(f"!{piece.conversion}")
            if isinstance(piece.format_spec, ast.JoinedStr) and piece.format_spec.values:
                out.append(":")
                _write_pieces(piece.format_spec, out, in_class)
        else:
            _write(piece, out, in_class)
    if text:
        out.append(f" {text!a}")
    out.append(")")


def _constant(value: object) -> str:
    # repr() of text depends on the Unicode tables of a Python, decimals of an integer on its digit limit.
    if isinstance(value, int) and not isinstance(value, bool):
        return f"<int {value:x}>"
    return f"<{type(value).__name__} {value!a}>"
