"""The form of a grid: its fields and choices, and the grid that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UsageError
from flows.cli.main import app
from flows.home import Home
from flows.plan.forms import UNCHANGED, GridForm, held
from flows.plan.grid import GridConfig
from flows.plan.load import load_grid, preset_names
from flows.plan.resolve import METHODS
from flows.plan.supervisors.supervisor import SUPERVISORS
from flows.run.session import Session
from w2s_core.data.datasets import DATASETS

SCHEMA: dict[str, Any] = GridForm.model_json_schema()
FIELDS: dict[str, Any] = SCHEMA["properties"]


def box(name: str) -> dict[str, Any]:
    """The fields of a nested box."""
    [reference] = [form["$ref"].rsplit("/", 1)[1] for form in FIELDS[name]["anyOf"] if "$ref" in form]
    fields: dict[str, Any] = SCHEMA["$defs"][reference]["properties"]
    return fields


def untouched(fields: dict[str, Any]) -> dict[str, Any]:
    """What the UI sends for fields that nobody touched."""
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if field.get("type") != "array":
            values[name] = field.get("default") if name != "file" else ""
    return values


def test_few_fields_come_first_and_boxes_last() -> None:
    names = sorted(FIELDS, key=lambda name: FIELDS[name]["position"])

    assert names[:5] == ["preset", "datasets", "models", "methods", "seeds"]
    assert names[-4:] == ["data", "training", "runtime", "more"]


@pytest.mark.parametrize("name", ["data", "training", "runtime", "more"])
def test_boxes_are_closed(name: str) -> None:
    assert FIELDS[name]["anyOf"][0] == {"type": "null"}
    assert "default" not in FIELDS[name]


@pytest.mark.parametrize("preset", preset_names())
def test_opened_boxes_that_nobody_touched_are_the_preset(preset: str) -> None:
    opened = {name: untouched(box(name)) for name in ("data", "training", "runtime", "more")}

    assert GridForm.model_validate({"preset": preset, **opened}).to_config() == load_grid(preset, {})


def test_form_has_every_field_of_a_grid_but_what_is_left_to_files() -> None:
    assert set(FIELDS) - {"preset", "file", "more"} | set(box("more")) == set(GridConfig.model_fields) - {"world"}


def test_names_are_chosen_from_lists() -> None:
    assert FIELDS["preset"]["enum"] == preset_names()
    assert FIELDS["datasets"]["items"]["enum"] == list(DATASETS)
    assert FIELDS["methods"]["items"]["enum"] == list(METHODS)
    assert {"ladder: gpt2", "gpt2"} < set(FIELDS["models"]["items"]["enum"])


def test_bounds_and_descriptions_are_those_of_the_grid() -> None:
    assert box("data")["n_train"]["minimum"] == 4
    assert box("data")["n_train"]["description"].startswith("Rows of both halves together. At least 4. Presets: ")
    assert "More than 0, less than 1." in box("data")["weak_fraction"]["description"]
    assert box("training")["schedule"]["enum"] == [UNCHANGED, "cosine", "linear", "constant"]


def test_descriptions_say_what_presets_hold() -> None:
    assert "sst2, sciq (quick)" in FIELDS["datasets"]["description"]
    assert "22 of them (nlp)" in FIELDS["datasets"]["description"]
    assert held("training.beta1") == "Presets: 0.9."
    assert held("runtime.cluster") == ""


@pytest.mark.parametrize("preset", preset_names())
def test_untouched_form_is_the_preset(preset: str) -> None:
    form = GridForm.model_validate({**untouched(FIELDS), "preset": preset})

    assert form.to_config() == load_grid(preset, {})


def test_what_is_chosen_replaces_the_presets() -> None:
    form = GridForm.model_validate(
        {
            "preset": "nlp",
            "datasets": ["sciq", "boolq"],
            "methods": ["xent"],
            "seeds": [3, 4],
            "audit": "no",
            "data": {"n_train": 50, "balance_test": "yes"},
        }
    )

    overrides = {
        "datasets": ["sciq", "boolq"],
        "methods": ["xent"],
        "seeds": [3, 4],
        "audit": False,
        "data.n_train": 50,
        "data.balance_test": True,
    }
    assert form.to_config() == load_grid("nlp", overrides)


def test_supervisors_are_a_kind_with_its_settings() -> None:
    chosen = [{"kind": "ensemble", "name": "three", "settings": {"models": ["offline-s"], "n_seeds": 3}}]

    form = GridForm.model_validate({"supervisors": chosen, "pairs": [{"weak": "three", "strong": "offline-m"}]})

    table = {"kind": "ensemble", "name": "three", "models": ["offline-s"], "n_seeds": 3}
    overrides = {"supervisors": [table], "pairs": [["three", "offline-m"]]}
    assert form.to_config() == load_grid("quick", overrides)
    assert SCHEMA["$defs"]["SupervisorForm"]["properties"]["kind"]["enum"] == list(SUPERVISORS)


def test_supervisor_with_a_wrong_setting_gives_the_line_of_the_command_line() -> None:
    chosen = [{"kind": "ensemble", "name": "one", "settings": {"models": ["offline-s"]}}]

    with pytest.raises(UsageError, match=r"supervisors\.0\.ensemble: an ensemble needs at least two members"):
        GridForm.model_validate({"supervisors": chosen}).to_config()


@pytest.mark.parametrize(
    ("chosen", "models"),
    [
        (["ladder: gpt2"], "gpt2"),
        (["offline-xs", "gpt2"], ("offline-xs", "gpt2")),
        (["offline-xs", "ladder: qwen"], ("offline-xs", "qwen3-0.6b", "qwen3-1.7b", "qwen3-4b")),
    ],
)
def test_models_are_a_ladder_or_names(chosen: list[str], models: object) -> None:
    assert GridForm.model_validate({"models": chosen}).to_config().models == models


def test_file_is_read_in_place_of_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('datasets = ["wic"]\nmodels = "offline"\n')

    config = GridForm.model_validate({"preset": "nlp", "file": str(path), "methods": ["xent"]}).to_config()

    assert (config.name, config.datasets, config.methods) == ("own-xent", ("wic",), ("xent",))


def test_two_forms_of_one_preset_with_other_models_are_two_grids() -> None:
    gpt2 = GridForm.model_validate({"preset": "nlp", "models": ["ladder: gpt2"]}).to_config()
    pythia = GridForm.model_validate({"preset": "nlp", "models": ["ladder: pythia"]}).to_config()

    assert (gpt2.name, pythia.name) == ("nlp-gpt2", "nlp-pythia")


def test_typed_name_is_the_name() -> None:
    assert GridForm.model_validate({"preset": "nlp", "seeds": [5], "name": "mine"}).to_config().name == "mine"


def test_wrong_combination_gives_the_line_of_the_command_line(tmp_path: Path) -> None:
    form = GridForm.model_validate({"preset": "quick", "pairs": [{"weak": "offline-m", "strong": "offline-s"}]})
    with pytest.raises(UsageError) as refused:
        Session.open(form.to_config(), Home(tmp_path))

    typed = CliRunner().invoke(app, ["plan", "quick", "--set", 'pairs=[["offline-m", "offline-s"]]'])
    assert str(refused.value) == str(typed.exception)
    assert "against the ladder's order" in str(refused.value)
