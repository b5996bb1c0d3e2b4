"""Finding and reading the source of a package."""

from __future__ import annotations

import ast
import contextlib
import sys
import threading
from pathlib import Path

import pytest

from artifacts.errors import FingerprintError
from artifacts.identity.fingerprint import fingerprint
from artifacts.identity.sources import Source, Sources, parse


def write(root: Path, **modules: str) -> None:
    root.mkdir(exist_ok=True)
    for name, text in modules.items():
        (root / f"{name}.py").write_text(text)


def test_sources_on_disk_are_found_without_importing_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "toy_on_disk", __init__="", train="def fit(): ...")
    monkeypatch.syspath_prepend(tmp_path)
    found = fingerprint(Sources.on_disk("toy_on_disk"), "toy_on_disk.train:fit", {})
    assert set(found.parts) == {"toy_on_disk.train:fit"}
    assert "toy_on_disk" not in sys.modules


def test_a_package_that_is_not_there_is_refused() -> None:
    with pytest.raises(FingerprintError, match="no package 'no_such_package'"):
        Sources.on_disk("no_such_package")


def test_the_lock_file_of_an_editor_is_no_module(tmp_path: Path) -> None:
    write(tmp_path / "toy", __init__="")
    (tmp_path / "toy" / ".#train.py").symlink_to("user@host.1:2")
    assert "toy..#train" not in Sources.on_disk("toy", tmp_path / "toy")


def test_unchanged_sources_are_not_analysed_again(tmp_path: Path) -> None:
    write(tmp_path / "toy", __init__="", train="def fit(): ...")
    first = Sources.on_disk("toy", tmp_path / "toy")
    assert Sources.on_disk("toy", tmp_path / "toy") is first
    write(tmp_path / "toy", train="def fit(): return 1")
    assert Sources.on_disk("toy", tmp_path / "toy") is not first


def test_source_that_is_no_text_is_refused() -> None:
    sources = Sources("toy", {"toy": Source(Path("toy.py"), b"\0"), "toy.b": Source(Path("b.py"), b"\xff = 1")})
    for entry, path in (("toy:fit", "toy.py:1: "), ("toy.b:fit", "b.py:1: ")):
        with pytest.raises(FingerprintError, match=path):
            fingerprint(sources, entry, {})


@pytest.mark.slow
def test_sources_are_parsed_while_other_threads_parse() -> None:
    text = "\n".join(f"def f{n}(a, b): return [a + b * {n} for _ in range(a)]" for n in range(2000))
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            with contextlib.suppress(SystemError):
                ast.parse(text)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(5):
            tree = parse(text)
            assert isinstance(tree, ast.Module)
            assert len(tree.body) == 2000
    finally:
        stop.set()
        thread.join()
