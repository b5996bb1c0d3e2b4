"""The package as it is installed: all of it is in the wheel, and runs where there is no checkout."""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.places import ROOT

TIMEOUT_S = 600


def setuptools() -> dict[str, Any]:
    """What the project tells setuptools of itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tables: dict[str, Any] = project["tool"]["setuptools"]
    return tables


def in_wheel(path: Path) -> bool:
    """Whether a file of the checkout is in the wheel, by the rules of ``packages.find`` and ``package-data``."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    is_found = any(fnmatch.fnmatchcase(package, pattern) for pattern in setuptools()["packages"]["find"]["include"])
    data = setuptools()["package-data"].get("*", [])
    return is_found and (path.suffix == ".py" or any(fnmatch.fnmatchcase(path.name, pattern) for pattern in data))


def of_the_program() -> list[Path]:
    """Every file in a folder beside which the tests lie, and that is not of the tests, the benchmarks or the docs."""
    folders = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in files if "__pycache__" not in path.parts]


def test_every_file_of_the_program_is_in_the_wheel() -> None:
    files = of_the_program()

    assert {"artifacts", "flows", "tasks", "w2s_core"} <= {path.relative_to(ROOT).parts[0] for path in files}
    assert {path.suffix for path in files} >= {".py", ".toml", ".sql"}
    assert [path for path in files if not in_wheel(path)] == []


def test_pinned_versions_are_what_each_other_needs() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}

    unmet = []
    for needing, version in pinned.items():
        try:
            distribution = metadata.distribution(needing)
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here
        if distribution.version.partition("+")[0] != version:
            continue  # what another version needs is not known here
        for needed in map(Requirement, distribution.requires or []):
            there = pinned.get(canonicalize_name(needed.name))
            is_meant = needed.marker is None or needed.marker.evaluate({"extra": ""})
            if is_meant and there is not None and not needed.specifier.contains(there, prereleases=True):
                unmet.append(f"{needing} {version} needs {needed}, pinned is {there}")

    assert "prefect" in pinned
    assert unmet == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel in it, which sees the other packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    source, wheels, environment = folder / "source", folder / "wheels", folder / "environment"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for path in of_the_program():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, source], check=True)
    shutil.rmtree(source)
    [wheel] = wheels.glob("*.whl")
    assert_holds(wheel, {path.relative_to(ROOT).as_posix() for path in of_the_program()})
    venv.create(environment, symlinks=True)
    [packages] = environment.glob("lib/python*/site-packages")
    subprocess.run([*pip, "--python", environment / "bin" / "python", "install", "--no-deps", wheel], check=True)
    # As plain paths: what makes this checkout importable here is not followed there.
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "others.pth").write_text("\n".join(others))
    return environment / "bin"


def assert_holds(wheel: Path, files: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == files


@pytest.mark.slow
def test_quick_grid_runs_from_the_wheel_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    def run(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [installed / program, *arguments],
            cwd=tmp_path,
            env={name: os.environ[name] for name in ("PATH", "HF_HUB_OFFLINE")} | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    modules = "artifacts.store.s3, flows.grids, tasks, w2s_core.data.nlp, w2s_core.offline as last"
    code = f"import {modules}; print(last.__path__[0])"
    assert run("python", "-c", code).startswith(str(installed.parent))

    assert "quick" in run("w2s", "grids")
    assert "to run" in run("w2s", "run", "quick")
    assert "sciq" in run("w2s", "pgr")
    assert "nothing to do" in run("w2s", "run", "quick")
    run("w2s", "init", "mine.toml")
    assert "pretrain" in run("w2s", "plan", "mine.toml")
