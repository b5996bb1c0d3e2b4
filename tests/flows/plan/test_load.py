"""What a user may type, and the one line that each mistake gets."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UsageError
from flows.cli.main import app
from flows.plan.grid import GridConfig
from flows.plan.load import load_grid, parse_grid, preset_names
from flows.plan.resolve import METHODS, resolve
from flows.plan.supervisors.supervisor import SUPERVISORS
from w2s_core.methods.losses import LOSSES

GRID = {"datasets": ["sst2"], "models": ["offline-xs", "offline-s"]}


def refusal(**changes: Any) -> str:
    """The line that a grid with these changes gets."""
    with pytest.raises(UsageError) as error:
        resolve(parse_grid({**GRID, **changes}, "grid.toml"), {})
    line = str(error.value)
    assert "\n" not in line
    return line


def test_unknown_dataset_gets_the_nearest_name() -> None:
    assert refusal(datasets=["sst3"]) == "datasets: unknown dataset 'sst3'; did you mean sst2?"


def test_field_of_an_older_grid_file_says_what_became_of_it() -> None:
    assert refusal(training={"batching": "shuffled"}) == (
        "grid.toml: training.batching is gone: every batch is a random sample of the rows; leave it out"
    )


def test_learning_rate_that_is_looked_for_in_training_is_found_elsewhere() -> None:
    assert refusal(training={"lr": 1e-3}) == (
        "grid.toml: training.lr is a field of each model; training.lr_scale multiplies that of all of them"
    )


def test_unknown_model_gets_the_nearest_names() -> None:
    assert "did you mean" in refusal(models=["offline-xs", "ofline-s"])


def test_unknown_ladder_gets_the_nearest_name() -> None:
    assert (
        refusal(models="offlin")
        == "models: unknown ladder 'offlin'; did you mean offline or offline-chess or offline-images?"
    )


def test_unknown_method_gets_the_nearest_name() -> None:
    assert refusal(methods=["logcon"]) == "methods: unknown method 'logcon'; did you mean logconf?"


def test_unknown_loss_of_a_method_lists_the_known_ones() -> None:
    line = refusal(methods=[{"name": "mine", "loss": {"loss": "xnt"}}])

    assert "methods.0.loss" in line
    assert all(repr(name) in line for name in LOSSES)


def test_part_of_a_method_may_be_a_name_that_stands_for_its_defaults() -> None:
    named = {"name": "m", "loss": "logconf", "labels": ["harden", "clip"], "stop": "fraction", "learn": "finetune"}
    told = {
        "name": "m", "loss": {"loss": "logconf"}, "labels": [{"kind": "harden"}, {"kind": "clip"}],
        "stop": {"rule": "fraction"}, "learn": {"kind": "finetune"},
    }  # fmt: skip

    one, other = (parse_grid({**GRID, "methods": [method]}, "grid.toml") for method in (named, told))

    assert one == other


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ({"loss": "logcon"}, "methods.0.loss: unknown loss 'logcon'; did you mean logconf?"),
        ({"labels": ["hardn"]}, "methods.0.labels.0: unknown label treatment 'hardn'; did you mean harden?"),
        ({"stop": "val_wek"}, "methods.0.stop: unknown stopping rule 'val_wek'; did you mean val_weak"),
    ],
)
def test_unknown_part_of_a_method_gets_the_nearest_name(part: dict[str, Any], line: str) -> None:
    assert line in refusal(methods=[{"name": "m", **part}])


def test_unknown_field_gets_the_nearest_name() -> None:
    assert refusal(trainin={}) == "grid.toml: trainin: unknown field; did you mean training?"


def test_unknown_field_of_a_table_is_named_with_its_path() -> None:
    assert refusal(data={"n_tran": 3}) == "grid.toml: data.n_tran: unknown field; did you mean n_train?"


def test_unknown_field_of_a_model_is_named_with_its_place() -> None:
    line = refusal(models=["offline-xs", {"name": "mine", "path": "a/b", "learning": 1}])

    assert line.startswith("grid.toml: models.1.learning: unknown field")


def test_value_out_of_bounds_is_shown() -> None:
    assert refusal(training={"epochs": 0}) == (
        "grid.toml: training.epochs: input should be greater than or equal to 1 (got 0)"
    )


def test_missing_datasets_are_missing() -> None:
    with pytest.raises(UsageError, match=r"^grid\.toml: datasets: missing$"):
        parse_grid({}, "grid.toml")


def test_several_mistakes_are_told_at_once() -> None:
    line = refusal(training={"epochs": 0}, sedes=[1])

    assert "training.epochs" in line
    assert "1 more: sedes: unknown field; did you mean seeds?" in line


def test_mistake_deep_in_an_item_of_a_list_is_told_alone() -> None:
    line = refusal(methods=[{"name": "m", "labels": [{"kind": "temper", "temperature": 0}]}])

    assert "temperature: input should be greater than 0 (got 0)" in line
    assert "more" not in line


def test_pair_against_the_order_of_the_ladder_is_refused() -> None:
    line = refusal(pairs=[["offline-s", "offline-xs"]])

    assert line.startswith("pairs: ['offline-s', 'offline-xs'] is against the ladder's order (offline-xs < offline-s)")


def test_pair_of_a_model_outside_the_ladder_is_refused() -> None:
    assert refusal(pairs=[["offline-xs", "gpt2"]]).startswith("pairs: unknown model of the ladder 'gpt2'")


def test_ladder_of_one_model_is_refused() -> None:
    assert refusal(models=["offline-xs"]) == "models: a ladder needs at least two models, weakest first"


def test_model_named_twice_is_refused() -> None:
    assert refusal(models=["offline-xs", "offline-xs"]).startswith("models: 'offline-xs' stands there twice")


@pytest.mark.parametrize(
    ("field", "values"),
    [("datasets", ["sst2", "sst2"]), ("seeds", [0, 1, 0]), ("pairs", [["offline-xs", "offline-s"]] * 2)],
)
def test_what_would_be_counted_twice_is_refused(field: str, values: list[Any]) -> None:
    line = refusal(**{field: values})

    assert line.startswith(f"{field}: ")
    assert line.endswith(" stands there twice; once is enough")


def test_a_name_with_a_wrong_character_gets_one_complaint_that_says_what_is_right() -> None:
    assert refusal(datasets=["sst2,sciq"]) == (
        "grid.toml: datasets.0: a name has letters, digits, dots, dashes and underscores only, a letter or digit "
        "first (got 'sst2,sciq')"
    )


def test_model_in_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    line = refusal(models=["offline-xs", {"name": "mine", "path": str(tmp_path / "nothing")}])

    assert line == f"models: mine: no folder {tmp_path / 'nothing'}"


def test_folder_without_the_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sst").mkdir()

    assert refusal(source=str(tmp_path)) == f"source: {tmp_path} has no folder 'sst2'; did you mean sst?"


def test_folder_without_a_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "train.jsonl").touch()

    line = refusal(source=str(tmp_path))

    assert line.startswith(f"source: {tmp_path / 'sst2'} must hold one of test.parquet and test.jsonl")


def test_hub_that_cannot_be_reached_is_told_with_a_way_out() -> None:
    line = refusal(source="hub")

    assert line.startswith("source: cannot get dataset stanfordnlp/sst2 from the Hub")
    assert line.endswith("set source to a folder that holds <dataset>/train.parquet and test.parquet")


def test_unknown_preset_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown grid 'dmo'; did you mean demo"):
        load_grid("dmo", {})


def test_broken_toml_is_told(tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text("datasets = [")

    with pytest.raises(UsageError, match=r"grid\.toml: not valid TOML: Invalid value"):
        load_grid(str(file), {})


@pytest.mark.parametrize("preset", preset_names())
def test_preset_is_valid(preset: str) -> None:
    config = load_grid(preset, {})

    assert resolve(config, {}).graph.nodes
    assert config.name == preset


def test_preset_methods_has_every_method_and_every_kind_of_supervisor_that_needs_no_file() -> None:
    config = load_grid("methods", {})

    assert set(config.methods) == set(METHODS)
    assert {spec.kind for spec in config.supervisors} == set(SUPERVISORS) - {"labels"}


def test_written_template_is_a_valid_grid(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"

    assert CliRunner().invoke(app, ["init", str(path)]).exit_code == 0
    assert resolve(load_grid(str(path), {}), {}).graph.nodes


def test_template_shows_defaults_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    CliRunner().invoke(app, ["init", str(path)])
    lines = [line.split("  #")[0].rstrip() for line in path.read_text().splitlines()]
    start, end = lines.index('# pairs = "all"'), lines.index("# [runtime]")
    defaults = tomllib.loads("\n".join(line.removeprefix("# ") for line in lines[start:end] if "max_chars" not in line))

    config = GridConfig(datasets=("sst2",)).model_dump(mode="json")

    assert set(defaults) > {"data", "training", "retention"}
    for name, value in defaults.items():
        known = config[name]
        assert value == ({key: known[key] for key in value} if isinstance(value, dict) else known), name
