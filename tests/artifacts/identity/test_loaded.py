"""The recorded source of a package is the source that runs."""

from __future__ import annotations

import importlib
import inspect
import itertools
import py_compile
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifacts.errors import FingerprintError, SourceChanged
from artifacts.identity.fingerprint import Sources, fingerprint
from artifacts.identity.loaded import loaded, record

NUMBERS = itertools.count()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with modules ``a`` and ``b``, of a name that no other test uses."""
    folder = tmp_path / f"toy_loaded_{next(NUMBERS)}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text("def f():\n    return 1\n")
    (folder / "b.py").write_text("def f():\n    return 1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield folder
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        del sys.modules[name]


def digest(sources: Sources, package: Path, module: str = "a") -> str:
    return fingerprint(sources, f"{package.name}.{module}:f", {}).digest


def on_disk(package: Path) -> Sources:
    return Sources.on_disk(package.name, package)


def edit(package: Path, module: str = "a") -> None:
    (package / f"{module}.py").write_text("def f():\n    return 2\n")


def test_loaded_source_is_that_on_disk_when_nothing_was_edited(package: Path) -> None:
    record(package.name)
    importlib.import_module(f"{package.name}.a")
    assert loaded(package.name) is on_disk(package)


def test_an_edit_after_the_import_is_not_in_the_loaded_source(package: Path) -> None:
    record(package.name)
    before = digest(on_disk(package), package)
    importlib.import_module(f"{package.name}.a")
    edit(package)
    assert digest(loaded(package.name), package) == before != digest(on_disk(package), package)


def test_modules_that_are_not_imported_are_those_on_disk(package: Path) -> None:
    record(package.name)
    loaded(package.name)
    edit(package)
    assert digest(loaded(package.name), package) == digest(on_disk(package), package)


def test_a_module_imported_later_runs_the_source_that_was_handed_out(package: Path) -> None:
    record(package.name)
    handed_out = digest(loaded(package.name), package)
    edit(package)
    assert importlib.import_module(f"{package.name}.a").f() == 1
    assert digest(loaded(package.name), package) == handed_out


def test_compiled_files_are_not_trusted(package: Path) -> None:
    path = package / "a.py"
    py_compile.compile(str(path), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    edit(package)
    record(package.name)
    assert importlib.import_module(f"{package.name}.a").f() == 2


def test_a_module_imported_before_recording_is_named(package: Path) -> None:
    importlib.import_module(f"{package.name}.b")
    record(package.name)
    importlib.import_module(f"{package.name}.a")
    with pytest.raises(SourceChanged, match=rf"^{package.name}\.b was imported before"):
        loaded(package.name)


def test_an_empty_package_may_be_imported_before_recording(package: Path) -> None:
    importlib.import_module(package.name)
    record(package.name)
    importlib.import_module(f"{package.name}.a")
    assert digest(loaded(package.name), package) == digest(on_disk(package), package)


def test_a_package_with_code_imported_before_recording_is_named(package: Path) -> None:
    (package / "__init__.py").write_text("X = 1\n")
    importlib.import_module(package.name)
    record(package.name)
    with pytest.raises(SourceChanged, match=rf"^{package.name} was imported before"):
        loaded(package.name)


def test_recording_twice_is_recording_once(package: Path) -> None:
    record(package.name)
    finders = list(sys.meta_path)
    record(package.name)
    assert sys.meta_path == finders


def test_loaded_needs_recording(package: Path) -> None:
    with pytest.raises(RuntimeError, match="record"):
        loaded(package.name)


def test_a_module_that_failed_to_import_is_read_again(package: Path) -> None:
    record(package.name)
    (package / "a.py").write_text("def f(:\n")
    with pytest.raises(SyntaxError):
        importlib.import_module(f"{package.name}.a")
    with pytest.raises(FingerprintError, match=r"a\.py:1: "):
        digest(loaded(package.name), package)
    edit(package)
    assert digest(loaded(package.name), package) == digest(on_disk(package), package)
    assert importlib.import_module(f"{package.name}.a").f() == 2


def test_a_missing_module_is_missing(package: Path) -> None:
    record(package.name)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{package.name}.missing")


def test_tracebacks_show_the_source(package: Path) -> None:
    record(package.name)
    with pytest.raises(ZeroDivisionError) as error:
        importlib.import_module(f"{package.name}.b").f()
    assert "return 1 / 0" in "".join(traceback.format_exception(error.value))


def test_the_source_of_functions_can_be_inspected(package: Path) -> None:
    record(package.name)
    function = importlib.import_module(f"{package.name}.a").f
    assert inspect.getsource(function) == "def f():\n    return 1\n"
