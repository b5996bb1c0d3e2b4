"""Who may import whom, and what the light commands may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.results import build
from tests.toy_grid import ToyGrid, rights

ROOT = Path(__file__).parent.parent
STDLIB = set(sys.stdlib_module_names)
ALLOWED = {
    "w2s_core": STDLIB
    | {
        "w2s_core", "numpy", "pyarrow", "pydantic", "torch", "transformers", "tokenizers", "safetensors",
        "accelerate", "peft", "huggingface_hub",
    },
    "artifacts": STDLIB | {"artifacts", "pyarrow", "duckdb", "fsspec", "pydantic", "tenacity"},
    "tasks": STDLIB | {"tasks", "prefect", "artifacts", "w2s_core", "pyarrow"},
    "flows": STDLIB
    | {
        "flows", "tasks", "prefect", "artifacts", "w2s_core", "pydantic", "pydantic_core", "typer", "rich", "pyarrow",
        "httpx",
    },
}  # fmt: skip
LAZY = {
    ("w2s_core/hub.py", "datasets"),
    ("w2s_core/optimizers.py", "bitsandbytes"),
    ("tasks/on_dask.py", "dask"),
    ("tasks/on_dask.py", "distributed"),
    ("tasks/on_dask.py", "prefect_dask"),
    ("tasks/on_ray.py", "prefect_ray"),
    ("tasks/on_ray.py", "ray"),
    ("tasks/launcher.py", "accelerate"),
    ("tasks/trackers.py", "accelerate"),
    ("tasks/launcher.py", "torch"),
    ("tasks/checkpoints.py", "torch"),
    ("tasks/checkpoints.py", "safetensors"),
    ("flows/doctor.py", "packaging"),
    ("flows/doctor.py", "huggingface_hub"),
    ("flows/figures.py", "matplotlib"),
    ("flows/figures.py", "PIL"),
    ("flows/drawing.py", "matplotlib"),
    ("artifacts/s3/objects.py", "boto3"),
    ("artifacts/s3/objects.py", "botocore"),
}
"""What a module may import inside a function only."""

HEAVY = ("torch", "transformers", "prefect", "datasets", "duckdb", "pyarrow")


def imports(path: Path) -> list[tuple[str, bool]]:
    """(top-level package, whether at module level) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_module_level = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [node.module or ""]
        else:
            continue
        found += [(name.split(".")[0], id(node) in at_module_level) for name in names]
    return found


def modules() -> list[Path]:
    return [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_imports_only_what_its_layer_may(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    package = relative.split("/")[0]
    for name, at_module_level in imports(path):
        lazy = (relative, name) in LAZY and not at_module_level
        assert name in ALLOWED[package] or lazy, f"{relative} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_has_fewer_than_500_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 500


def loaded_after(*arguments: str, home: Path) -> set[str]:
    """Top-level packages that a command has loaded when it ends."""
    code = (
        "import sys\n"
        "sys.argv = ['w2s', *sys.argv[1:]]\n"
        "from flows.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PATH": "", "W2S_HOME": str(home), "HF_HUB_OFFLINE": "1"},
    )
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


def test_plan_loads_nothing_heavy(tmp_path: Path) -> None:
    assert not loaded_after("plan", "demo", home=tmp_path) & set(HEAVY)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["explain", "train"],
        ["pgr"],
        ["doctor"],
        ["figures", "--grid", "demo"],
        ["sql", "SELECT 1"],
        ["grids"],
        ["store", "gc"],
    ],
)
def test_light_command_loads_neither_torch_nor_prefect(arguments: list[str], tmp_path: Path) -> None:
    assert not loaded_after(*arguments, home=tmp_path) & {"torch", "transformers", "prefect"}


def test_figures_load_neither_torch_nor_prefect(tmp_path: Path) -> None:
    grid = ToyGrid(tmp_path)
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    grid.run()
    build(grid.store, grid.results)

    loaded = loaded_after("figures", "--grid", "toy", home=tmp_path)

    assert "matplotlib" in loaded
    assert not loaded & {"torch", "transformers", "prefect"}
