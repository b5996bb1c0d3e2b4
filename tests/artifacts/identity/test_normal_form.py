"""What of the text of a piece of code counts."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from artifacts.identity.fingerprint import changed
from artifacts.identity.normal_form import normal_form
from tests.places import GOLDEN
from tests.toy_code import code

FIXTURE = GOLDEN / "fixture_pkg"

ORIGINAL = '''
"""Module."""
import json
from math import log, pi as number

SCALE: int = 3


def fit(x: int = 1, *, y: str = "a") -> float:
    """Docstring."""
    z: float = log(x) * SCALE
    return [z, "b" "c", number, json.dumps(y)]
'''


@pytest.mark.parametrize(
    "edited",
    {
        "comment": ORIGINAL.replace("SCALE: int = 3", "SCALE: int = 3  # three"),
        "docstring": ORIGINAL.replace("Docstring", "Other"),
        "no docstring": ORIGINAL.replace('"""Docstring."""', ""),
        "blank lines": ORIGINAL.replace("\n", "\n\n"),
        "formatting": ORIGINAL.replace("log(x) * SCALE", "(\n        log( x )*SCALE)"),
        "quotes": ORIGINAL.replace('"a"', "'a'"),
        "cut of a string": ORIGINAL.replace('"b" "c"', '"bc"'),
        "parameter annotation": ORIGINAL.replace("x: int", "x: float"),
        "return annotation": ORIGINAL.replace("-> float", "-> list"),
        "local annotation": ORIGINAL.replace("z: float", "z"),
        "module annotation": ORIGINAL.replace("SCALE: int", "SCALE"),
        "type comment": ORIGINAL.replace("SCALE: int = 3", "SCALE = 3  # type: int"),
        "pass": ORIGINAL.replace("    z:", "    pass\n    z:"),
        "import order": ORIGINAL.replace(
            "import json\nfrom math import log, pi as number",
            "from math import pi as number\nfrom math import log\nimport json",
        ),
        "unused import": ORIGINAL.replace("import json", "import json, sys"),
        "unused symbol": ORIGINAL + "OTHER = SCALE\ndef other(): return fit()\n",
        "order of symbols": ORIGINAL.replace("SCALE: int = 3\n", "") + "SCALE = 3\n",
        "future import": "from __future__ import annotations\n" + ORIGINAL,
        "line ends": ORIGINAL.replace("\n", "\r\n"),
    }.items(),
    ids=lambda item: item[0],
)
def test_does_not_count(edited: tuple[str, str]) -> None:
    assert code(train=edited[1]) == code(train=ORIGINAL)


@pytest.mark.parametrize(
    "edited",
    {
        "constant": ORIGINAL.replace("SCALE: int = 3", "SCALE: int = 4"),
        "type of constant": ORIGINAL.replace("SCALE: int = 3", "SCALE: int = 3.0"),
        "operator": ORIGINAL.replace("log(x) *", "log(x) +"),
        "default value": ORIGINAL.replace("x: int = 1", "x: int = 2"),
        "string": ORIGINAL.replace('"c"', '"d"'),
        "order of statements": ORIGINAL.replace("    return", "    z = 1\n    return"),
        "kind of parameter": ORIGINAL.replace("*, y", "y"),
        "decorator": ORIGINAL.replace("def fit", "@json.loads\ndef fit"),
        "module of an external name": ORIGINAL.replace(
            "from math import log, pi as number", "from numpy import log\nfrom math import pi as number"
        ),
        "external name behind an alias": ORIGINAL.replace("pi as number", "e as number"),
        "external module behind an alias": ORIGINAL.replace("import json", "import toml as json"),
    }.items(),
    ids=lambda item: item[0],
)
def test_counts(edited: tuple[str, str]) -> None:
    assert changed(code(train=ORIGINAL).parts, code(train=edited[1]).parts)


def test_annotations_in_class_bodies_count() -> None:
    text = "class Row:\n    size: {}\n    def f(self, x: {}): ...\ndef fit(): return Row()"
    before = code(train=text.format("int", "int"))
    assert code(train=text.format("int", "float")) == before
    assert code(train=text.format("float", "int")) != before


def test_every_single_edit_counts() -> None:
    tree = ast.parse((FIXTURE / "syntax.py").read_text())
    docstring = tree.body[0].value
    original = normal_form(tree.body)
    n_edits = 0
    for node in list(ast.walk(tree)):
        match node:
            case ast.Constant():
                field, edited = "value", "edited"
            case ast.Name():
                field, edited = "id", "edited"
            case ast.Attribute():
                field, edited = "attr", "edited"
            case ast.arg():
                field, edited = "arg", "edited"
            case ast.stmt(body=[_, _, *_]):
                field, edited = "body", node.body[:-1]
            case _:
                continue
        value = getattr(node, field)
        setattr(node, field, edited)
        assert (normal_form(tree.body) == original) == (node is docstring), ast.dump(node)
        setattr(node, field, value)
        n_edits += 1
    assert n_edits > 150


@pytest.mark.parametrize("package", ["json", "email", "logging", "tomllib"])
def test_rewriting_a_source_from_its_syntax_tree_changes_nothing(package: str) -> None:
    for path in sorted(Path(json.__file__).parents[1].glob(f"{package}/*.py")):
        tree = ast.parse(path.read_bytes())
        assert normal_form(ast.parse(ast.unparse(tree)).body) == normal_form(tree.body), path
