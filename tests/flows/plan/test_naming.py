"""What a grid is called when options change it, and what is said of a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from flows.plan.load import load_grid, parse_grid
from flows.plan.naming import LONGEST, difference
from w2s_core.config import Name

TABLES = [{"name": "a", "path": "x"}, {"name": "b", "path": "y"}]


@pytest.mark.parametrize(
    ("preset", "overrides", "name"),
    [
        ("quick", {"seeds": [0, 1, 2]}, "quick-seeds-0-1-2"),
        ("demo", {"training.epochs": 4}, "demo-training.epochs-4"),
        ("nlp", {"datasets": ["sst2", "boolq"], "models": "gpt2"}, "nlp-boolq-sst2-gpt2"),
        ("nlp", {"source": "hub", "models": "pythia"}, "nlp-hub-pythia"),
        ("quick", {"self_training": True}, "quick-self_training-on"),
        ("quick", {"seeds": [1], "name": "mine"}, "mine"),
    ],
)
def test_change_names_the_grid(preset: str, overrides: dict[str, Any], name: str) -> None:
    assert load_grid(preset, overrides).name == name


@pytest.mark.parametrize(
    "overrides",
    [
        {"training.epochs": 2},
        {"datasets": ["sciq", "sst2"]},
        {"methods": ["logconf", "xent"]},
        {"pairs": [["offline-s", "offline-m"]]},
        {"runtime.workers": 1, "runtime.device": "cpu"},
        {"retention": "none", "audit": False},
    ],
)
def test_what_changes_no_number_leaves_the_name(overrides: dict[str, Any]) -> None:
    assert load_grid("quick", overrides).name == "quick"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seeds": [0, 1]}, {"seeds": [0, 2]}),
        ({"models": TABLES}, {"models": [TABLES[0], {**TABLES[1], "path": "z"}]}),
        ({"models": "gpt2"}, {"models": ["gpt2"], "self_training": True}),
        ({"models": ["gpt2"]}, {"models": "gpt2"}),
        ({"source": "/data/a b"}, {"source": "/data/a-b"}),
        ({"datasets": ["sst2"]}, {"methods": [{"name": "sst2"}]}),
    ],
)
def test_other_changes_have_other_names(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert load_grid("nlp", one).name != load_grid("nlp", other).name


def test_order_in_which_a_change_was_typed_does_not_matter() -> None:
    one = load_grid("nlp", {"seeds": [2, 10, 1], "datasets": ["sst2", "boolq"]})
    other = load_grid("nlp", {"datasets": ["boolq", "sst2"], "seeds": [10, 1, 2]})

    assert one.name == other.name == "nlp-boolq-sst2-seeds-1-2-10"


@pytest.mark.parametrize(
    "overrides",
    [
        {"seeds": list(range(100))},
        {"source": "/a/very long/path/with äöü/" + "x" * 200},
        {"training.weight_decay": 1e-5, "data.max_chars": None, "data.n_test": 77},
        {"models": TABLES},
    ],
)
def test_derived_name_is_a_short_name(overrides: dict[str, Any]) -> None:
    name = load_grid("demo", overrides).name

    assert TypeAdapter(Name).validate_python(name) == name
    assert len(name) <= LONGEST
    assert load_grid("demo", overrides).name == name


def test_option_that_completes_a_file_names_the_grid(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('models = "offline"\n')

    assert load_grid(str(path), {"datasets": ["wic"]}).name == "own-wic"


def test_difference_names_fields_with_both_values() -> None:
    before = load_grid("demo", {}).model_dump(mode="json")

    assert difference(before, load_grid("demo", {"training.epochs": 4})) == "training.epochs 3 → 4"
    assert difference(before, load_grid("demo", {"seeds": [0]})) == "seeds [0, 1] → [0]"


def test_difference_to_a_run_of_an_earlier_version_names_the_field_that_is_gone() -> None:
    config = load_grid("demo", {})
    before = config.model_dump(mode="json")
    before["training"]["momentum"] = 0.9

    assert difference(before, config) == "training.momentum 0.9 → None"


def test_same_fields_are_said_to_differ_in_what_they_stand_for() -> None:
    config = parse_grid({"datasets": ["sst2"]}, "test")

    assert difference(config.model_dump(mode="json"), config) == "its inputs, or what its stages are given"
