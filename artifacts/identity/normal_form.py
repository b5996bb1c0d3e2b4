"""The text that stands for a piece of code in a fingerprint, whatever its layout and whatever Python reads it.

What its names stand for is found in ``reach``, and written in their place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

Import = ast.Import | ast.ImportFrom
Function = ast.FunctionDef | ast.AsyncFunctionDef

_SKIPPED = frozenset({"ctx", "kind", "returns", "simple", "type_comment", "type_ignores"})
_BLOCKS = frozenset({"body", "orelse", "finalbody"})
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}
"""What ``_fields`` found, per kind of node."""


class Symbol(NamedTuple):
    """A name at the level of a module of ours."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


Piece = str | Symbol
"""Text, or what stands in it for a name of ours."""
Meanings = Mapping[int, tuple[Piece, ...]]
"""``id`` of a node to what stands for it; of a function or class, for its name. Nothing is written for an empty one."""


def normal_form(nodes: Iterable[ast.AST], meanings: Meanings = MappingProxyType({})) -> list[Piece]:
    """The normal form of statements or expressions, in their order: texts, with what ``meanings`` has between them.

    Left out are positions, comments, docstrings and other bare constants, ``pass``, annotations (but those in class
    bodies, which are behaviour), and how strings are quoted and cut. Empty fields are left out as well, so that a field
    which a later Python adds changes nothing.
    """
    writer = _Writer(meanings)
    writer.block(nodes, in_class=False)
    return writer.pieces


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


class _Writer:
    def __init__(self, meanings: Meanings) -> None:
        self.pieces: list[Piece] = []
        self._meanings = meanings

    def block(self, nodes: Iterable[ast.AST], *, in_class: bool) -> None:
        for node in nodes:
            if not is_inert(node) and self._meanings.get(id(node)) != ():
                self.write(node, in_class)

    def write(self, value: object, in_class: bool) -> None:
        out = self.pieces
        named = isinstance(value, Function | ast.ClassDef)
        if not named and isinstance(value, ast.AST) and (meaning := self._meanings.get(id(value))) is not None:
            self._meaning(meaning)
        elif isinstance(value, ast.Constant):
            out.append(_constant(value.value))
        elif isinstance(value, ast.JoinedStr):
            self._pieces_of(value, in_class)
        elif isinstance(value, ast.AnnAssign) and not in_class:
            if value.value is not None:
                self.write(ast.Assign(targets=[value.target], value=value.value), in_class)
        elif isinstance(value, ast.AST):
            self._node(value, in_class)
        elif isinstance(value, list):
            out.append("[")
            for item in value:
                self.write(item, in_class)
                out.append(" ")
            out.append("]")
        else:
            out.append(str(value))

    def _node(self, node: ast.AST, in_class: bool) -> None:
        meaning = self._meanings.get(id(node))
        if isinstance(node, ast.ClassDef):
            in_class = True
        elif isinstance(node, Function):
            in_class = False
        self.pieces.append(f"({type(node).__name__}")
        for name in _fields(type(node)):
            value = getattr(node, name, None)
            if value is None or value == []:
                continue
            self.pieces.append(f" {name}=")
            if name == "name" and meaning is not None:
                self._meaning(meaning)
            elif name in _BLOCKS and isinstance(value, list):
                self.pieces.append("[")
                self.block(value, in_class=in_class)
                self.pieces.append("]")
            else:
                self.write(value, in_class)
        self.pieces.append(")")

    def _meaning(self, meaning: Iterable[Piece]) -> None:
        self.pieces.append("<")
        for piece in meaning:
            self.pieces += (" ", piece)
        self.pieces.append(">")

    def _pieces_of(self, string: ast.JoinedStr, in_class: bool) -> None:
        """An f-string: Pythons differ in how they cut its text, and in whether they keep empty pieces."""
        out = self.pieces
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
                self.write(piece.value, in_class)
                out.append(f"!{piece.conversion}")
                if isinstance(piece.format_spec, ast.JoinedStr) and piece.format_spec.values:
                    out.append(":")
                    self._pieces_of(piece.format_spec, in_class)
            else:
                self.write(piece, in_class)
        if text:
            out.append(f" {text!a}")
        out.append(")")


def _constant(value: object) -> str:
    # repr() of text depends on the Unicode tables of a Python, decimals of an integer on its digit limit.
    if isinstance(value, int) and not isinstance(value, bool):
        return f"<int {value:x}>"
    return f"<{type(value).__name__} {value!a}>"
