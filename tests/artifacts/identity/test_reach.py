"""What a piece of code reaches, and what is refused because it could reach anything."""

from __future__ import annotations

import pytest

from artifacts.errors import FingerprintError
from artifacts.identity.fingerprint import changed, fingerprint
from tests.toy_code import code, parts, toy


def test_helpers_are_reached_however_deep() -> None:
    found = code(
        train="from .a import f\ndef fit(): return f()",
        a="from toy.b import g as h\ndef f(): return h()\ndef other(): ...",
        b="LIMIT = 3\ndef g(): return LIMIT",
    )
    assert set(found.parts) == {"toy.train:fit", "toy.a:f", "toy.b:g", "toy.b:LIMIT"}


@pytest.mark.parametrize(
    "train",
    {
        "call": "from .a import f\ndef fit(): f()",
        "module attribute": "from . import a\ndef fit(): a.f()",
        "import with alias": "import toy.a as other\ndef fit(): other.f()",
        "dotted import": "import toy.a\ndef fit(): toy.a.f()",
        "package attribute": "import toy\ndef fit(): toy.a.f()",
        "re-export": "from .b import f\ndef fit(): f()",
        "re-export of a package": "from .sub import f\ndef fit(): f()",
        "re-export by attribute": "from . import b\ndef fit(): b.f()",
        "import in a function": "def fit():\n    from .a import f\n    f()",
        "module import in a function": "def fit():\n    import toy.a\n    toy.a.f()",
        "import around a nested function": "def fit():\n    from . import a\n    return lambda: a.f",
        "import in a class": "class A:\n    from .a import f\ndef fit(): A",
        "module import in a class": "class A:\n    from . import a\n    x = a.f\ndef fit(): A",
        "import in a branch": "try:\n    from .a import f\nexcept ImportError:\n    f = 0\ndef fit(): f()",
        "module import in a branch": "if 1:\n    from . import a\ndef fit(): a.f()",
        "default value": "from .a import f\ndef fit(x=f): x",
        "default of a keyword": "from .a import f\ndef fit(*, x=f): x",
        "decorator": "from .a import f\n@f\ndef fit(): ...",
        "nested function": "from .a import f\ndef fit():\n    def g(): f()",
        "lambda": "from .a import f\ndef fit(): return lambda x: f(x)",
        "comprehension": "from .a import f\ndef fit(): return [f(x) for x in []]",
        "name bound by a comprehension elsewhere": ("from .a import f\ndef fit(): return [f for f in f()]"),
        "module constant": "from .a import f\nTABLE = {1: f}\ndef fit(): TABLE",
        "base class": "from .a import f\nclass A(f): ...\ndef fit(): A",
        "method": "from .a import f\nclass A:\n    def g(self): f()\ndef fit(): A.other",
        "pattern": "from .a import f\ndef fit(x):\n    match x:\n        case f(): ...",
        "exception handler": "from .a import f\ndef fit():\n    try: ...\n    except f: ...",
        "getattr with a literal": "from . import a\ndef fit(): getattr(a, 'f')",
        "module used as a value": "from . import a\ndef fit(): print(a)",
        "global statement": ("from .a import f\ndef fit(f):\n    def g():\n        global f\n        f()"),
        "shadowed elsewhere": "from .a import f\ndef fit():\n    def g(f): ...\n    f()",
    }.items(),
    ids=lambda item: item[0],
)
def test_reaches_a_helper_by(train: tuple[str, str]) -> None:
    a = "def f(): ..."
    assert "a:f" in parts(train=train[1], a=a, b="from .a import f", sub__init="from ..a import f")


def test_local_names_hide_symbols() -> None:
    text = (
        "def a(): ...\ndef b(): ...\ndef c(): ...\ndef d(): ...\n"
        "def fit(a):\n    b = 1\n    for c in a: c\n    return [d + b for d in a]"
    )
    assert parts(train=text) == {"train:fit"}


def test_only_what_is_used_of_a_module_is_reached() -> None:
    assert parts(train="from . import a\ndef fit(): a.f()", a="def f(): ...\ndef g(): ...") == {
        "train:fit",
        "a:f",
    }


def test_a_module_used_as_a_value_is_reached_whole() -> None:
    found = parts(train="from . import a\ndef fit(): print(a)", a="X = 1\nfrom .b import f", b="def f(): ...")
    assert found == {"train:fit", "a:*", "a:X", "b:f"}


def test_swapping_what_two_names_stand_for_counts() -> None:
    a = "def f(): ...\ndef g(): return 1"
    train = "from .b import x, y\ndef fit(): return x() - y()"
    before = code(train=train, a=a, b="from .a import f as x, g as y")
    after = code(train=train, a=a, b="from .a import f as y, g as x")
    assert before.parts.keys() == after.parts.keys()
    assert before.digest != after.digest


def test_an_import_in_a_function_counts() -> None:
    text = "def fit():\n    import {}\n    return 1"
    assert code(train=text.format("json")) != code(train=text.format("math"))


def test_order_of_imports_in_a_function_does_not_count() -> None:
    a = "def fit():\n    import json, math\n    from sys import path\n    return path, math, json"
    b = "def fit():\n    from sys import path\n    import math\n    import json\n    return path, math, json"
    assert code(train=a) == code(train=b)


def test_imports_for_type_checkers_break_nothing() -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import Missing\ndef fit(x: Missing): ..."
    assert parts(train=text, a="") == {"train:fit"}


def test_config_is_data() -> None:
    train = "from .config import Size\nfrom . import config\ndef fit(): return Size(config.LIMIT)"
    before = code(train=train, config="LIMIT = 1\nclass Size: ...")
    assert set(before.parts) == {"toy.train:fit", "toy.config:Size", "toy.config:LIMIT"}
    assert code(train=train, config="def broken(") == before


PARAMS = "from .config import Frozen\nclass Base(Frozen): ...\nclass Params(Base):\n    alpha: float = 1\n"


def test_a_class_made_of_config_is_data_wherever_it_stands() -> None:
    train = "from .{} import Params\ndef fit(): return Params()"
    before = code(train=train.format("a"), a=PARAMS, config="class Frozen: ...")
    edited = code(train=train.format("a"), a=PARAMS.replace("1", "2"), config="class Frozen: ...")
    moved = code(train=train.format("config"), config="class Frozen: ...\nclass Params(Frozen): ...")
    assert before.digest == edited.digest == moved.digest


@pytest.mark.parametrize("edit", [("Params()", "Other()"), ("(Base)", "(dict)"), ("= 1", "= 1\nParams = dict(Params)")])
def test_what_data_is_in_use_and_whether_it_is_data_counts(edit: tuple[str, str]) -> None:
    a = PARAMS + "class Other(Base): ...\ndef fit(): return Params()"
    assert code(train=a, config="class Frozen: ...").digest != code(train=a.replace(*edit), config="").digest


@pytest.mark.parametrize("kind", ["class {}(Exception): ...", "{} = object()", "{} = []", "def {}(): ..."])
def test_what_is_written_alike_is_not_the_same(kind: str) -> None:
    alike = "\n".join(kind.format(name) for name in "AB")
    text = alike + "\ndef g(x=A): return x\ndef fit():\n    try: g()\n    except {}: ...\n"
    assert code(train=text.format("A")).digest != code(train=text.format("B")).digest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def fit():\n    return f()", "def fit():\n    from .a import f as g\n    return g()"),
        ("def fit():\n    return math.pi", "def fit():\n    import math as m\n    return m.pi"),
        ("def fit():\n    return math.pi", "from math import pi\ndef fit():\n    return pi"),
        ("N = 0\ndef fit():\n    global N\n    N = 1", "M = 0\ndef fit():\n    global M\n    M = 1"),
        ("class A: ...\nclass R:\n    x: 'list[A]'\ndef fit(): R",
         "class B: ...\nclass S:\n    x: 'list[B]'\ndef fit(): S"),
        ("def fit():\n    return a.__file__", "from . import b\ndef fit():\n    return b.__file__"),
    ],
)  # fmt: skip
def test_another_name_or_import_is_the_same_code(before: str, after: str) -> None:
    head = "import math\nfrom . import a\nfrom .a import f\n"
    modules = {"a": "def f(): ...", "b": ""}
    assert code(train=head + before, **modules).digest == code(train=head + after, **modules).digest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from .a import f\n    y = f()\n    from .b import f", "from .a import f\n    from .b import f\n    y = f()"),
        ("from .a import f as y, f as z\n    z = 2", "from .a import f as y, f as z\n    y = 2"),
        ("if x:\n        from .a import f as x\n    y = x", "from .a import f as x\n    if x: ...\n    y = x"),
        ("try:\n        import json\n    except x: ...\n    import math\n    y = json, math",
         "try:\n        import math\n    except x: ...\n    import json\n    y = json, math"),
    ],
)  # fmt: skip
def test_order_in_which_imports_bind_a_name_counts(before: str, after: str) -> None:
    text, modules = "def fit(x):\n    {}\n    return y", {"a": "def f(): ...", "b": "def f(): ..."}
    assert code(train=text.format(before), **modules).digest != code(train=text.format(after), **modules).digest


@pytest.mark.parametrize("reading", ["X = TABLE[0]", "X = g()", "@g\ndef X(): ...", "class X:\n    n = g()"])
@pytest.mark.parametrize("changing", ["TABLE.append(2)", "TABLE = [2]", "print(2)"])
def test_order_in_which_a_module_changes_and_reads_a_constant_counts(reading: str, changing: str) -> None:
    text = "TABLE = [1]\ndef g(*_): return TABLE\n{}\n{}\ndef fit(): return X"
    before, after = code(train=text.format(reading, changing)), code(train=text.format(changing, reading))
    assert before.digest != after.digest


@pytest.mark.parametrize(
    "statement",
    [
        "TABLE['b'] = {}",
        "TABLE.update(b={})",
        "TABLE.b = {}",
        "TABLE |= {{'b': {}}}",
        "TABLE = {{'b': {}}}",
        "del TABLE[{}]",
        "if True:\n    TABLE['b'] = {}",
        "try:\n    TABLE = {}\nexcept ValueError:\n    pass",
        "for x in range({}):\n    TABLE[x] = x",
        "with open('x') as x:\n    TABLE.update({})",
    ],
)
def test_every_statement_that_changes_a_constant_counts_for_it_alone(statement: str) -> None:
    text = "TABLE = {{}}\n" + statement + "\nOTHER = 1\ndef fit(): TABLE\ndef other(): OTHER"
    before, after = toy(train=text.format(1)), toy(train=text.format(2))
    entry, other = "toy.train:fit", "toy.train:other"
    parts = changed(fingerprint(before, entry, {}).parts, fingerprint(after, entry, {}).parts)
    assert "toy.train:TABLE" in parts
    assert fingerprint(before, other, {}) == fingerprint(after, other, {})


@pytest.mark.parametrize(
    "effect",
    [
        "setup({})",
        "np.random.seed({})",
        "assert np.x == {}",
        "for x in range({}):\n    setup(x)",
        "alias = np.random\nalias.seed({})",
        "alias = OTHER\nalias.append({})",
        "OTHER_OBJECT['x'] = {}",
    ],
)
def test_effects_of_a_module_count_for_all_that_is_reached_in_it(effect: str) -> None:
    text = "import numpy as np\nfrom os import OTHER_OBJECT\nOTHER = []\ndef setup(n): ...\n{}\ndef f(): ..."
    train = "from .a import f\ndef fit(): f()"
    before, after = (code(train=train, a=text.format(effect.format(n))) for n in (1, 2))
    assert changed(before.parts, after.parts)[0] == "toy.a:<module>"


def test_code_that_an_effect_calls_is_reached() -> None:
    assert "train:setup" in parts(train="def setup(): ...\nsetup()\ndef fit(): ...")


def test_effects_of_packages_and_of_imported_modules_count() -> None:
    found = parts(
        train="from .sub.a import f\ndef fit(): f()",
        sub__init="print(1)",
        sub__a="import toy.b\ndef f(): ...",
        b="print(2)",
        c="print(3)",
    )
    assert found == {"train:fit", "sub.a:f", "sub:<module>", "b:<module>"}


def test_names_in_annotations_of_classes_are_reached_even_when_quoted() -> None:
    text = "class A: ...\nclass B: ...\nclass Row:\n    a: A\n    b: 'list[B]'\ndef fit(): Row"
    assert parts(train=text) == {"train:A", "train:B", "train:Row", "train:fit"}


def test_a_literal_in_an_annotation_is_no_code() -> None:
    text = "from typing import Literal\nclass Row:\n    a: Literal['eval', 'a b', 'no.such']\ndef fit(): Row"
    assert parts(train=text) == {"train:Row", "train:fit"}


def test_names_in_annotations_of_functions_are_not_reached() -> None:
    assert parts(train="class A: ...\ndef fit(x: A) -> A:\n    y: A = x") == {"train:fit"}


# ---- refusals


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("getattr(a, name)", "getattr with a computed name"),
        ("getattr(a, f'{name}', None)", "getattr with a computed name"),
        ("setattr(a, 'f', 1)", "setattr changes toy.a"),
        ("setattr(math, name, 1)", "setattr changes math"),
        ("delattr(a, 'f')", "delattr changes toy.a"),
        ("vars(a)", "vars with a computed name"),
        ("a.__dict__", "cannot find '__dict__' in toy.a"),
        ("exec('x')", "exec hides"),
        ("e = eval", "eval hides"),
        ("globals()", "globals hides"),
        ("__import__('x')", "__import__ hides"),
        ("importlib.import_module(name)", "importlib.import_module hides"),
        ("sys.modules[name]", "sys.modules hides"),
        ("a.f = 1", "assignment to a.f changes toy.a"),
        ("a.f += 1", "assignment to a.f changes toy.a"),
        ("del a.f", "assignment to a.f changes toy.a"),
        ("math.pi = 3", "assignment to math.pi changes math"),
        ("math.x.y = 3", "assignment to math.x.y changes math.x"),
        ("from . import missing", "cannot find 'missing' in toy"),
        ("import toy.missing", "cannot find the module toy.missing"),
        ("a.missing()", "cannot find 'missing' in toy.a"),
        ("from .broken import f", "toy/broken.py:2: "),
        ("from .star import f", "toy/star.py:1: a star import"),
        ("from .circle import f", "cannot find 'f' in toy.circle"),
    ],
)
def test_refuses(line: str, message: str) -> None:
    train = f"import importlib, math, sys\nfrom . import a\ndef fit(name):\n    {line}\n"
    with pytest.raises(FingerprintError) as error:
        code(
            train=train,
            a="def f(): ...",
            broken="x = 1\ndef f(:",
            star="from .a import *",
            circle="from .train2 import f",
            train2="from .circle import f",
        )
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    place = message if message.startswith("toy/") else "toy/train.py:4: "
    assert str(error.value).startswith(place)


@pytest.mark.parametrize(
    "line",
    [
        "getattr(x, name)",
        "setattr(x, name, 1)",
        "getattr(math, name)",
        "x.attribute = 1",
        "A.attribute = 1",
        "x.eval()",
        "vars(x)",
        "eval = x\n    eval(1)",
        "a = x\n    a.f = 1",
    ],
)
def test_allows(line: str) -> None:
    train = f"import math\nfrom . import a\nclass A: ...\ndef fit(x, name):\n    {line}\n"
    assert "train:fit" in parts(train=train, a="def f(): ...")


def test_dynamic_code_out_of_reach_is_allowed() -> None:
    assert parts(train="def fit(): ...\ndef other(): exec('x')", broken="def f(:") == {"train:fit"}
