"""Fingerprints as a whole: recorded values, other Pythons, comparison, registries."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from artifacts.errors import FingerprintError
from artifacts.identity.fingerprint import Fingerprint, Sources, changed, fingerprint
from tests.places import GOLDEN, ROOT
from tests.toy_code import code, parts, toy

RECORDED = GOLDEN / "fingerprints.json"
FIXTURE = GOLDEN / "fixture_pkg"
FIXTURE_CASES = {
    "squared": ("fixture_pkg.train:fit", {"loss": {"name": "squared"}}),
    "cubed": ("fixture_pkg.train:fit", {"loss": {"name": "cubed"}}),
    "both": ("fixture_pkg.train:fit", {"loss": {"name": ["squared", "cubed"]}}),
    "syntax": ("fixture_pkg.train:show", {}),
}
REGISTRY = "class Registry:\n    def __init__(self, kind, *, param, modules): ...\n"


# ---- golden fingerprints


def fixture_fingerprints() -> dict[str, dict[str, object]]:
    """The fingerprint of every case of the fixture package."""
    sources = Sources.on_disk("fixture_pkg", FIXTURE)
    found = {name: fingerprint(sources, *case) for name, case in FIXTURE_CASES.items()}
    return {name: {"digest": f.digest, "parts": f.parts} for name, f in found.items()}


def write_golden() -> None:
    """Record the fingerprints anew: ``make golden``.

    Every stored artifact is made again where these values change; say so in CHANGELOG under Cache.
    """
    RECORDED.write_text(json.dumps(fixture_fingerprints(), indent=2) + "\n")


def test_fingerprints_are_the_recorded_ones() -> None:
    assert fixture_fingerprints() == json.loads(RECORDED.read_text())


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_fingerprints_are_the_same_on_other_pythons(version: str) -> None:
    python = other_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    script = (
        "import json, sys, pathlib\n"
        "root, fixture, cases = json.loads(sys.argv[1])\n"
        "sys.path.insert(0, root)\n"
        "from artifacts.identity.fingerprint import Sources, fingerprint\n"
        "sources = Sources.on_disk('fixture_pkg', pathlib.Path(fixture))\n"
        "print(json.dumps({n: fingerprint(sources, *c).digest for n, c in cases.items()}))\n"
    )
    argument = json.dumps([str(ROOT), str(FIXTURE), FIXTURE_CASES])
    done = subprocess.run([python, "-I", "-B", "-c", script, argument], capture_output=True, text=True, check=True)
    golden = json.loads(RECORDED.read_text())
    assert json.loads(done.stdout) == {name: case["digest"] for name, case in golden.items()}


def other_python(version: str) -> str | None:
    """An interpreter of this version, from PATH or pyenv."""
    candidates = [shutil.which(f"python{version}")]
    candidates += map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in candidates:
        # A pyenv shim exists for versions that are not selected, and fails.
        if candidate and not subprocess.run([candidate, "-V"], capture_output=True).returncode:
            return candidate
    return None


# ---- comparison and entries


def test_an_edited_helper_is_the_part_that_changed() -> None:
    train = "from .a import f\ndef fit(): return f()"
    before = code(train=train, a="def f(): return 1")
    after = code(train=train, a="def f(): return 2")
    assert changed(before.parts, after.parts) == ["toy.a:f"]
    assert before.digest != after.digest


CALLERS = "def a(): return 1\ndef b(): return 2\nN = 0\ndef fit(): return a() - b() - N\n"


@pytest.mark.parametrize(
    ("edits", "parts"),
    {
        "another order of helpers called": ({"a() - b()": "b() - a()"}, ["fit"]),
        "a helper that came": ({"a() - b()": "a() - b(c())", "N =": "def c(): ...\nN ="}, ["fit", "c"]),
        "a helper that went": ({"- b() ": ""}, ["fit", "b"]),
        "names exchanged": ({"a()": "x()", "b()": "a()", "x()": "b()", "N = 0": "N = 1"}, ["N"]),
        "bodies exchanged": ({"return 1": "return 3", "return 2": "return 1", "return 3": "return 2"}, ["a", "b"]),
        "a helper renamed, another edited": ({"a()": "c()", "return 2": "return 3"}, ["b"]),
        "a helper renamed and edited": ({"a()": "c()", "return 1": "return 3"}, ["c"]),
    }.values(),
)  # fmt: skip
def test_changed_parts_are_named_but_for_names(edits: dict[str, str], parts: list[str]) -> None:
    edited = functools.reduce(lambda text, edit: text.replace(*edit), edits.items(), CALLERS)
    before, after = code(train=CALLERS), code(train=edited)
    assert before.digest != after.digest
    assert changed(before.parts, after.parts) == [f"toy.train:{part}" for part in parts]


def test_all_parts_of_another_kind_of_fingerprint_are_named() -> None:
    assert changed({"a": "1", "b": "2"}, {"b": "3 1", "c": "4"}) == ["b", "a", "c"]
    assert changed({}, {"a": "1"}) == ["a"]


@pytest.mark.parametrize("entry", ["toy.train:missing", "toy.missing:fit", "other.train:fit"])
def test_a_missing_entry_is_refused(entry: str) -> None:
    with pytest.raises(FingerprintError, match=f"entry {entry}: "):
        fingerprint(toy(train="def fit(): ..."), entry, {})


def test_packages_of_others_can_be_fingerprinted() -> None:
    found = fingerprint(Sources.on_disk("json"), "json:dumps", {})
    assert {"json:dumps", "json.encoder:JSONEncoder", "json.encoder:ESCAPE_DCT"} <= found.parts.keys()
    assert "json.decoder:JSONDecodeError" not in found.parts


# ---- registries

DATASETS = (
    "from .registry import Registry\n"
    "DATASETS: Registry[int] = Registry('dataset', param='data.name', modules=('toy.nlp', 'toy.more'))"
)
NLP = (
    "from .datasets import DATASETS\n"
    "def _x(row): return 1\n"
    "DATASETS.register('x', dict(f=_x))\n"
    "@DATASETS.register('y')\n"
    "def y(row): return 2\n"
)
MORE = "from . import datasets\ndatasets.DATASETS.register('z', value=3)\n"
FIT = "from .datasets import DATASETS\ndef fit(params): return DATASETS.get(params)"


def with_registry(name: object, **edits: str) -> Fingerprint:
    modules = {"train": FIT, "registry": REGISTRY, "datasets": DATASETS, "nlp": NLP, "more": MORE}
    return code({"data": {"name": name}}, **{**modules, **edits})


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("x", {"toy.nlp:DATASETS[x]", "toy.nlp:_x"}),
        ("y", {"toy.nlp:y"}),
        ("z", {"toy.more:DATASETS[z]"}),
        (["y", "z"], {"toy.nlp:y", "toy.more:DATASETS[z]"}),
    ],
)
def test_reach_goes_on_into_the_entry_that_the_parameters_name(name: object, entry: set[str]) -> None:
    found = with_registry(name)
    assert found.parts.keys() == {"toy.train:fit", "toy.datasets:DATASETS"} | entry


def test_entry_counts_by_what_it_is_and_not_by_its_name_which_is_a_parameter() -> None:
    entries = "".join(f"DATASETS.register('{name}', {value})\n" for name, value in {"x": 1, "y": 1, "v": 2}.items())
    nlp = f"from .datasets import DATASETS\n{entries}"
    x, y, v = (with_registry(name, nlp=nlp) for name in "xyv")
    assert x.digest == y.digest != v.digest


def test_parameters_name_entries_in_a_list_of_tables() -> None:
    modules = {"train": FIT, "registry": REGISTRY, "datasets": DATASETS, "nlp": NLP, "more": MORE}
    tables = code({"data": [{"name": "y"}, {"name": "z"}]}, **modules)
    assert tables.parts == with_registry(["y", "z"]).parts


def test_adding_an_entry_changes_nothing() -> None:
    more = MORE + "def _new(row): ...\ndatasets.DATASETS.register('new', _new)\n"
    assert with_registry("x", more=more) == with_registry("x")


def test_editing_an_entry_changes_only_who_chose_it() -> None:
    nlp = NLP.replace("return 1", "return 10")
    assert with_registry("y", nlp=nlp) == with_registry("y")
    assert changed(with_registry("x").parts, with_registry("x", nlp=nlp).parts) == ["toy.nlp:_x"]


def test_editing_the_registry_class_changes_nothing() -> None:
    assert with_registry("x", registry=REGISTRY + "    def get(self): exec('')\n") == with_registry("x")


def test_a_registered_function_can_be_called_by_name() -> None:
    assert parts(train="from .nlp import y\ndef fit(): y()", registry=REGISTRY, datasets=DATASETS, nlp=NLP) == {
        "train:fit",
        "nlp:y",
    }


def test_a_missing_parameter_is_refused() -> None:
    with pytest.raises(FingerprintError, match=r"datasets\.py:2: .*train:fit .*'data\.name'"):
        code(train=FIT, registry=REGISTRY, datasets=DATASETS, nlp=NLP, more=MORE)


def test_an_unknown_entry_is_refused_with_the_known_ones() -> None:
    with pytest.raises(FingerprintError, match=r"datasets\.py:2: no 'q' .*there is x, y, z"):
        with_registry("q")


def test_a_registry_with_computed_modules_is_refused() -> None:
    datasets = "from .registry import Registry\nM = ()\nDATASETS = Registry('d', param='p', modules=M)"
    with pytest.raises(FingerprintError, match=r"datasets\.py:3: .*literals"):
        with_registry("x", datasets=datasets)


def test_register_of_another_object_is_an_effect() -> None:
    assert "train:<module>" in parts(train="import atexit\natexit.register('x', 1)\ndef fit(): ...")


def test_the_same_choice_gives_the_same_object() -> None:
    modules = {"train": FIT, "registry": REGISTRY, "datasets": DATASETS, "nlp": NLP, "more": MORE}
    sources = toy(**modules)
    first = fingerprint(sources, "toy.train:fit", {"data": {"name": "x"}, "seed": 0})
    assert fingerprint(sources, "toy.train:fit", {"data": {"name": "x"}, "seed": 1}) is first
    assert fingerprint(sources, "toy.train:fit", {"data": {"name": "y"}}) != first
