"""Who may import whom, and what the light commands may load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from graphlib import TopologicalSorter
from pathlib import Path

from artifacts.results.build import build
from flows.home import output_kinds
from tests.places import ROOT
from tests.toy_grid import ToyGrid, rights

STDLIB = set(sys.stdlib_module_names)
ALLOWED = {
    "w2s_core": STDLIB
    | {
        "w2s_core", "numpy", "pyarrow", "pydantic", "torch", "transformers", "tokenizers", "safetensors",
        "accelerate", "peft", "huggingface_hub", "httpx", "tenacity",
    },
    "artifacts": STDLIB | {"artifacts", "pyarrow", "duckdb", "pydantic", "pydantic_core", "tenacity"},
    "tasks": STDLIB | {"tasks", "prefect", "artifacts", "w2s_core", "pyarrow", "pydantic"},
    "flows": STDLIB
    | {
        "flows", "tasks", "prefect", "artifacts", "w2s_core", "pydantic", "pydantic_core", "typer", "rich", "pyarrow",
        "httpx", "coolname",
    },
}  # fmt: skip
LAZY = {
    ("w2s_core/data/cards.py", "yaml"),
    ("w2s_core/data/hub.py", "datasets"),
    ("w2s_core/data/images.py", "PIL"),
    ("w2s_core/models/images.py", "PIL"),
    ("w2s_core/offline/pictures.py", "PIL"),
    ("w2s_core/data/moves.py", "chess"),
    ("w2s_core/rules.py", "chess"),
    ("w2s_core/offline/moves.py", "chess"),
    ("w2s_core/offline/positions.py", "chess"),
    ("w2s_core/methods/topology.py", "networkx"),
    ("w2s_core/training/optimizers.py", "bitsandbytes"),
    ("tasks/clusters/on_dask.py", "dask"),
    ("tasks/clusters/on_dask.py", "distributed"),
    ("tasks/clusters/on_dask.py", "prefect_dask"),
    ("tasks/clusters/on_ray.py", "prefect_ray"),
    ("tasks/clusters/on_ray.py", "ray"),
    ("tasks/workers/launcher.py", "accelerate"),
    ("tasks/workers/trackers.py", "accelerate"),
    ("tasks/workers/launcher.py", "torch"),
    ("tasks/workers/checkpoints.py", "torch"),
    ("tasks/workers/checkpoints.py", "safetensors"),
    ("flows/serve/doctor.py", "packaging"),
    ("flows/serve/doctor.py", "huggingface_hub"),
    ("flows/report/figures.py", "PIL"),
    ("flows/report/figures.py", "vl_convert"),
    ("flows/report/page/data.py", "tomli_w"),
    ("flows/report/page/page.py", "vl_convert"),
    ("flows/report/tables.py", "tabulate"),
    ("flows/report/card.py", "yaml"),
    ("flows/serve/prefect_server.py", "sqlalchemy"),
    ("artifacts/results/comparisons.py", "scipy"),
    ("artifacts/results/power.py", "scipy"),
    ("flows/serve/reports.py", "starlette"),
    ("artifacts/store/s3/objects.py", "boto3"),
    ("artifacts/store/s3/objects.py", "botocore"),
}
"""What a module may import inside a function only."""

WHOLE = {(f"flows/report/page/{name}.py", "altair") for name in ("charts", "gap_charts", "marks", "model_charts")}
"""What a module is all about, which is therefore imported inside functions only."""

FLOORS = {
    "flows": ["cli", "serve", "run", "report", "plan", "home"],
    "tasks": ["stages", "shown", "clusters", "workers", "slots", "devices", "history", "runtime"],
    "artifacts": ["results", "store", "identity", "waiting", "files", "errors"],
    "w2s_core": [
        "entries", "debate", "training", "methods", "settings", "data", "models", "offline",
        "stages", "config", "registry", "watch", "metrics", "hashes", "rules", "errors",
    ],
}  # fmt: skip
"""Folders and files of a package, top floor first: imports run downward."""

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


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules() -> dict[str, set[str]]:
    """Module of ours to those of ours that it imports, at module level or later; names for types alone included."""
    names = {module_name(path) for path in modules()}
    graph: dict[str, set[str]] = {}
    for path in modules():
        wanted = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= whole & names or {str(node.module)}
        graph[module_name(path)] = wanted & names
    return graph


def test_modules_import_only_what_their_layer_may() -> None:
    wrong = []
    for path in modules():
        relative = path.relative_to(ROOT).as_posix()
        for name, at_module_level in imports(path):
            lazy = ((relative, name) in LAZY and not at_module_level) or (relative, name) in WHOLE
            if name not in ALLOWED[relative.split("/")[0]] and not lazy:
                wrong.append(f"{relative} imports {name}")
    assert not wrong


def test_imports_run_downward_between_the_folders_of_a_package() -> None:
    wrong = []
    for module, wanted in imported_modules().items():
        package, _, rest = module.partition(".")
        floors = FLOORS.get(package)
        if floors is None or not rest:
            continue
        for other in wanted:
            other_package, _, other_rest = other.partition(".")
            if other_package == package and other_rest:
                here, there = (floors.index(name.split(".")[0]) for name in (rest, other_rest))
                if there < here:
                    wrong.append(f"{module} imports {other}")
    assert not wrong


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(imported_modules()).prepare()  # raises CycleError with the circle


def test_modules_have_fewer_than_500_lines() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert {path: n for path, n in lengths.items() if n >= 500} == {}


def loaded_after(*commands: Sequence[str], home: Path) -> set[str]:
    """Top-level packages that a process has loaded when it has carried out some commands."""
    code = (
        "import json, sys\n"
        "from flows.cli.main import main\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['w2s', *command]\n"
        "    try:\n        main()\n"
        "    except SystemExit:\n        pass\n"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PATH": "", "W2S_HOME": str(home), "HF_HUB_OFFLINE": "1"},
    )
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


def test_plan_loads_nothing_heavy(tmp_path: Path) -> None:
    assert not loaded_after(["plan", "demo"], home=tmp_path) & set(HEAVY)


LIGHT = (
    ["status"],
    ["explain", "train"],
    ["pgr"],
    ["compare"],
    ["doctor"],
    ["figures", "--grid", "toy"],
    ["report"],
    ["sql", "SELECT 1"],
    ["grids"],
    ["store", "gc"],
)


def test_light_commands_load_neither_torch_nor_prefect_with_results_or_without(tmp_path: Path) -> None:
    grid = ToyGrid(tmp_path / "toy")
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    grid.run()
    build(grid.store, grid.results, output_kinds)

    loaded = loaded_after(*LIGHT, home=tmp_path / "toy")

    assert "altair" in loaded, "figures were drawn"
    assert not loaded & {"torch", "transformers", "prefect"}
    without = [command for command in LIGHT if command != ["doctor"]]
    assert not loaded_after(*without, home=tmp_path / "empty") & {"torch", "transformers", "prefect"}
