"""The README is true: its links lead somewhere, and its commands run as written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import PACKAGES
from tests.places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The commands of the tour, in order: lines of console blocks that start with a prompt."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).exists()


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) <= set(targets)


def test_page_on_architecture_names_folders_and_modules_that_there_are() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(\w+)\.(?:py|sql)", page))
    present = {path.stem for package in PACKAGES for path in (ROOT / package).rglob("*.*")}
    folders = set(re.findall(r"^\| `([\w/]+)` \|", page, re.MULTILINE))
    of_packages = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_dir()
    }

    assert named - {"test_imports"} <= present
    assert folders <= of_packages | {"w2s_core"}


@pytest.mark.slow
def test_tour_runs_as_written(tmp_path: Path) -> None:
    environ = {**os.environ, "W2S_HOME": str(tmp_path / "home")}

    def run(command: str) -> str:
        program, *arguments = shlex.split(command)
        assert program == ".venv/bin/w2s"
        done = subprocess.run(
            [Path(sys.executable).with_name("w2s"), *arguments],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    output = run(".venv/bin/w2s run demo")  # what `make demo` does
    assert len(re.findall(r"^(?:sst2|sciq|boolq) .* (?:xent|logconf) ", output, re.MULTILINE)) == 18
    assert "results.duckdb" in output
    first, *others = commands()
    assert first == ".venv/bin/w2s run demo"
    assert run(first).startswith("nothing to do: all 141 stages of demo are fresh")
    for command in others:
        assert run(command).strip() or "--output" in command
