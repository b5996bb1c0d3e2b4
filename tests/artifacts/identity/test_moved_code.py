"""Code that moves is the same code: edits of a copy of ours, and the nodes of a grid that they reach."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from artifacts.identity.fingerprint import Fingerprint, changed, fingerprint
from artifacts.identity.sources import Source, Sources, read_package
from flows.plan.graph import Node
from flows.plan.load import load_grid
from flows.plan.resolve import resolve
from w2s_core.stages import STAGES

Modules = dict[str, str]
"""Full name of each module to its text."""


@cache
def nodes() -> list[Node]:
    return list(resolve(load_grid("demo", {}), {}).graph.nodes.values())


def prints(modules: Modules) -> dict[str, Fingerprint]:
    """Node id to its fingerprint with this code."""
    paths = {name: source.path for name, source in read_package("w2s_core").items()}
    texts = {name: Source(paths.get(name, Path("new.py")), text.encode()) for name, text in modules.items()}
    sources = Sources("w2s_core", texts)
    return {node.id: fingerprint(sources, STAGES[node.stage].entry, node.params) for node in nodes()}


@cache
def before() -> dict[str, Fingerprint]:
    return prints(ours())


def ours() -> Modules:
    return {name: source.text.decode() for name, source in read_package("w2s_core").items()}


def stale(modules: Modules) -> dict[str, list[str]]:
    """Nodes whose fingerprint is another with this code, with what the plan says of each."""
    return {
        id: changed(before()[id].parts, found.parts)
        for id, found in prints(modules).items()
        if found.digest != before()[id].digest
    }


def reaching(*symbols: str) -> set[str]:
    """Nodes that reach any of these symbols of ours as it is."""
    return {id for id, found in before().items() if found.parts.keys() & {f"w2s_core.{symbol}" for symbol in symbols}}


def edited(modules: Modules, module: str, *edits: tuple[str, str]) -> Modules:
    """With texts of a module replaced, all of which are there."""
    text = modules[f"w2s_core.{module}"]
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return {**modules, f"w2s_core.{module}": text}


def everywhere(modules: Modules, pattern: str, new: str) -> Modules:
    """With a pattern replaced in every module."""
    return {name: re.sub(pattern, new, text) for name, text in modules.items()}


def cut(text: str, name: str) -> tuple[str, str]:
    """The source of a function, and what is left without it."""
    lines = text.splitlines(keepends=True)
    [found] = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name]
    assert found.end_lineno is not None
    return "".join(lines[found.lineno - 1 : found.end_lineno]), "".join(
        lines[: found.lineno - 1] + lines[found.end_lineno :]
    )


def move_a_function() -> Modules:
    modules = ours()
    function, rest = cut(modules["w2s_core.metrics"], "harden")
    modules["w2s_core.metrics"] = rest.replace(
        "import numpy as np\n", "import numpy as np\nfrom w2s_core.hashes import harden\n"
    )
    modules["w2s_core.hashes"] += f"\n\nimport numpy\n\n\n{function.replace('np.', 'numpy.')}"
    return edited(
        modules, "settings.answers",
        (", harden, of_truth", ", of_truth"),
        ("from w2s_core.metrics", "from w2s_core.hashes import harden\nfrom w2s_core.metrics"),
    )  # fmt: skip


def rename_a_module() -> Modules:
    modules = everywhere(ours(), r"w2s_core\.hashes\b", "w2s_core.stable")
    return {name.replace("w2s_core.hashes", "w2s_core.stable"): text for name, text in modules.items()}


def split_a_file() -> Modules:
    modules = ours()
    function, rest = cut(modules["w2s_core.metrics"], "auroc")
    head = "from __future__ import annotations\n\nimport numpy as np\n\n\n"
    modules |= {"w2s_core.metrics": rest, "w2s_core.ranks": head + function}
    modules = edited(modules, "data.leaks", ("from w2s_core.metrics import auroc", "from w2s_core.ranks import auroc"))
    return edited(
        modules, "settings.reports",
        ("accuracy, auroc, brier", "accuracy, brier"),
        ("from w2s_core.metrics", "from w2s_core import ranks\nfrom w2s_core.metrics"),
        ("auroc(", "ranks.auroc("),
    )  # fmt: skip


def rename_a_helper() -> Modules:
    return everywhere(ours(), r"\bstable_int\b", "stable_number")


def import_another_way() -> Modules:
    names = "from w2s_core.hashes import stable_hash, stable_int\n"
    modules = edited(ours(), "entries.prepare", (names, "import w2s_core.hashes as h\n"))
    text = modules["w2s_core.entries.prepare"]
    return {**modules, "w2s_core.entries.prepare": re.sub(r"\b(stable_hash|stable_int)\b", r"h.\1", text)}


def swap_two_functions() -> Modules:
    modules = ours()
    function, rest = cut(modules["w2s_core.hashes"], "stable_hash")
    return {**modules, "w2s_core.hashes": f"{rest}\n\n{function}"}


def import_in_a_function() -> Modules:
    return edited(
        ours(), "entries.prepare",
        ("import stable_hash, stable_int\n", "import stable_hash\n"),
        ("return stable_int(", "from w2s_core import hashes\n\n    return hashes.stable_int("),
    )  # fmt: skip


def exchange_names_and_bodies() -> Modules:
    exchanged = {"stable_int": "stable_unit", "stable_unit": "stable_int"}
    text = r"\b(stable_int|stable_unit)\b"
    return {name: re.sub(text, lambda match: exchanged[match[0]], code) for name, code in ours().items()}


EDITS: Mapping[Callable[[], Modules], tuple[str, str, str, str]] = {
    move_a_function: ("hashes", "0.5", "0.6", "metrics:harden"),
    rename_a_module: ("stable", "[:20]", "[:21]", "hashes:stable_hash"),
    split_a_file: ("ranks", "return None", "return 0.5", "metrics:auroc"),
    rename_a_helper: ("hashes", ", 16)", ", 17)", "hashes:stable_int"),
    import_another_way: ("hashes", "[:20]", "[:21]", "hashes:stable_hash"),
    import_in_a_function: ("hashes", "[:20]", "[:21]", "hashes:stable_hash"),
    swap_two_functions: ("hashes", "2.0**80", "2.0**79", "hashes:stable_unit"),
    exchange_names_and_bodies: ("hashes", "[:20]", "[:21]", "hashes:stable_hash"),
}
"""Each edit to a constant that may be changed on the way: its module then, old and new, and the symbol as it is."""


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_code_that_moves_is_the_same_code(edit: Callable[[], Modules]) -> None:
    assert not stale(edit())


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_constant_changed_on_the_way_makes_those_stale_that_reach_it(edit: Callable[[], Modules]) -> None:
    module, old, new, symbol = EDITS[edit]
    found = stale(edited(edit(), module, (old, new)))
    assert found.keys() == reaching(symbol)
    # And it alone is named, by its name of now, though others have moved.
    [part] = {part for parts in found.values() for part in parts}
    assert part.startswith(f"w2s_core.{module}:")


def test_helpers_that_exchange_their_bodies_make_those_stale_that_reach_them() -> None:
    exchanged = edited(
        ours(), "hashes",
        ("def stable_int", "def other"), ("def stable_unit", "def stable_int"), ("def other", "def stable_unit"),
    )  # fmt: skip
    assert stale(exchanged).keys() == reaching("hashes:stable_int", "hashes:stable_unit")
