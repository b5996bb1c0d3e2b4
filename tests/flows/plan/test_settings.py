"""Settings are no business of a plan: every method and supervisor is built alike on a dataset of any."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import UsageError
from flows.plan.graph import Graph
from flows.plan.load import load_grid, parse_grid
from flows.plan.resolve import resolve
from tests.places import ROOT
from w2s_core.data.datasets import DATASETS
from w2s_core.methods.losses import LOSSES
from w2s_core.methods.mistakes import STRUCTURES
from w2s_core.methods.stopping import STOPS
from w2s_core.methods.treatments import TREATMENTS
from w2s_core.settings.setting import KINDS, LEAKS, SETTINGS, VIEWS

OF_SETTINGS = {DATASETS.get(name).setting: name for name in reversed(DATASETS.names())}
"""A dataset of each."""

OF_CLASSES = [
    name
    for name in OF_SETTINGS
    if SETTINGS.get(name).decode is None and DATASETS.get(OF_SETTINGS[name]).shows == "text"
]
"""Settings that language models read, for two classes."""
OF_TEXTS = [name for name in OF_SETTINGS if SETTINGS.get(name).decode is not None]


def built(dataset: str, **fields: Any) -> Graph:
    return resolve(load_grid("methods", {"datasets": [dataset], "seeds": [0], "audit": True, **fields}), {}).graph


def shape(graph: Graph) -> tuple[Counter[str], list[tuple[Any, ...]]]:
    """Nodes by stage, and the pairs with what they are compared with."""
    pairs = [(p.weak, p.strong, p.method, p.weak_score.stage, p.transfer_score.stage) for p in graph.pairs]
    return Counter(node.stage for node in graph.nodes.values()), pairs


def test_a_setting_is_in_all_registries() -> None:
    assert set(SETTINGS) == set(VIEWS) == set(LEAKS) == set(KINDS) == set(OF_SETTINGS)


@pytest.mark.parametrize("setting", OF_CLASSES)
def test_every_method_and_supervisor_is_built_as_for_two_classes(setting: str) -> None:
    graph = built(OF_SETTINGS[setting])
    assert shape(graph) == shape(built("sst2"))
    told = {node.params.get("setting") for node in graph.nodes.values() if node.stage != "pretrain"}
    assert told == {setting}


@pytest.mark.parametrize("setting", OF_CLASSES)
def test_every_loss_treatment_rule_and_structure_of_errors_is_planned(setting: str) -> None:
    treatments = [{"name": f"t-{kind}", "labels": [{"kind": kind}]} for kind in TREATMENTS if kind not in NEEDS]
    treatments += [{"name": f"t-{kind}", "labels": [{"kind": kind, **fields}]} for kind, fields in NEEDS.items()]
    rules = [{"name": f"r-{rule}", "stop": {"rule": rule}} for rule in STOPS]
    supervisors = [{"name": f"s-{kind}", "kind": "simulated", "accuracy": 0.75, "errors": kind} for kind in STRUCTURES]
    grid = {
        "datasets": [OF_SETTINGS[setting]],
        "models": ["offline-s", "offline-m"],
        "methods": [*LOSSES, *treatments, *rules],
        "supervisors": supervisors,
        "pairs": [["offline-s", "offline-m"], *([spec["name"], "offline-m"] for spec in supervisors)],
    }
    graph = resolve(parse_grid(grid, "test"), {}).graph
    assert len(graph.pairs) == len(grid["methods"]) * len(grid["pairs"])


IMAGES = {"datasets": ["cifar10"], "models": "offline-images", "seeds": [0]}


def test_what_is_defined_for_several_classes_is_planned_on_images() -> None:
    losses = [name for name in LOSSES if LOSSES.get(name).most_classes(LOSSES.get(name).params()) is None]
    ensemble = {"name": "two", "kind": "ensemble", "models": ["offline-convnet"], "n_seeds": 2}
    grid = {**IMAGES, "methods": [*losses, *TREATMENTS, "probe", "val_weak"], "supervisors": [ensemble]}
    graph = resolve(parse_grid(grid, "test"), {}).graph
    assert losses == list(LOSSES)
    assert len(graph.pairs) == 2 * len(grid["methods"])
    params = [node.params for node in graph.nodes.values() if "setting" in node.params]
    told = {(each["setting"], each["n_classes"]) for each in params}
    assert told == {("image", 10)}
    assert [node.params["tokenizers"] for node in graph.nodes.values() if node.stage == "audit"] == [[]]


BUFFER = {"name": "b", "loss": {"loss": "logconf", "threshold": "buffer"}}
SIMULATED = {"name": "s", "kind": "simulated", "accuracy": 0.75, "errors": "uniform"}
CLIPPED = {"name": "c", "labels": [{"kind": "clip", "least": 0.2}]}
DEBATE = {"name": "d", "kind": "debate", "judge": "offline-convnet", "debater": "offline"}
BOOSTED = {"name": "b", "kind": "boosted", "model": "offline-convnet"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"methods": [BUFFER]}, r"^methods: 'b': its loss, as it stands, is for at most 2 classes, and cifar10 has 10"),
        ({"methods": [CLIPPED]}, r"^methods: 'c': clip, as it stands, is for at most 5 classes, and cifar10 has 10"),
        ({"supervisors": [SIMULATED]}, r"^supervisors: 's', as it stands, is for at most 2 classes"),
        (
            {"datasets": ["images"], "supervisors": [DEBATE]},
            r"^supervisors: 'd', as it stands, is for at most 2 classes",
        ),
        ({"supervisors": [BOOSTED]}, r"^supervisors: 'b', as it stands, is for at most 2 classes"),
        ({"methods": ["prompt"]}, r"^methods: 'prompt' asks a language model in words, and cifar10 shows images"),
        ({"methods": ["adapted"]}, r"^methods: 'adapted' adapts a language model to texts, and cifar10 shows images"),
        ({"models": "offline"}, r"^models: 'offline-xs' reads text, and cifar10 shows images; choose models"),
        ({"datasets": ["sst2"]}, r"^models: 'offline-convnet' reads images, and sst2 shows text; choose models"),
        ({"salience": True}, r"^salience, as it stands, is for at most 2 classes"),
    ],
)
def test_what_images_or_several_classes_cannot_give_is_refused_in_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(parse_grid({**IMAGES, **fields}, "test"), {})


@pytest.mark.parametrize("setting", OF_TEXTS)
def test_methods_that_need_no_classes_are_built_where_answers_are_texts(setting: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,answer\n")
    graph = built(
        OF_SETTINGS[setting],
        methods=["xent", "val_weak", "adapted", "zero_shot", "prompt"],
        supervisors=[
            {"name": "file", "kind": "labels", "path": str(tmp_path / "labels.csv")},
            {"name": "chain", "kind": "student", "of": "offline-xs", "models": ["offline-s"]},
        ],
        models=["offline-xs", "offline-s", "offline-m"],
        pairs=[["offline-xs", "offline-m"], ["file", "offline-m"], ["chain", "offline-m"]],
        data={"n_parts": 2},
    )
    assert len(graph.pairs) == 15
    asked = DATASETS.get(OF_SETTINGS[setting]).asked
    assert all(asked.items() <= node.params.items() for node in graph.nodes.values() if node.stage != "pretrain")


@pytest.mark.parametrize("setting", OF_TEXTS)
@pytest.mark.parametrize(
    ("field", "what"),
    [
        *(("methods", name) for name in LOSSES if LOSSES.get(name).needs == "probabilities"),
        ("methods", {"name": "smoothed", "loss": {"loss": "xent", "smoothing": 0.1}}),
        ("methods", "harden"),
        ("methods", "probe"),
        ("supervisors", {"name": "both", "kind": "ensemble", "models": ["offline-s", "offline-m"]}),
        ("supervisors", {"name": "coin", "kind": "simulated", "accuracy": 0.75, "errors": "uniform"}),
    ],
)
def test_what_needs_probabilities_is_refused_in_one_line_where_answers_are_texts(
    setting: str, field: str, what: Any
) -> None:
    fields = {"methods": ["xent"], "supervisors": [], "pairs": "all", field: [what]}
    name = what if isinstance(what, str) else what["name"]
    with pytest.raises(UsageError, match=f"{field}: {name!r}.*needs probabilities.*'{OF_SETTINGS[setting]}'"):
        built(OF_SETTINGS[setting], **fields)


NEEDS: dict[str, dict[str, Any]] = {}
"""Treatments with a field that has no default."""


def test_no_setting_is_known_by_name_above_the_science() -> None:
    files = [file for folder in ("flows", "tasks", "artifacts") for file in (ROOT / folder).rglob("*.py")]
    assert files
    named = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in SETTINGS
        if f'"{name}"' in (text := file.read_text(encoding="utf-8")) or f"settings.{name}" in text
    ]
    assert named == []


def test_salience_is_refused_where_answers_are_texts() -> None:
    grid = {"datasets": ["arithmetic"], "models": "offline", "methods": ["xent"], "seeds": [0], "salience": True}
    with pytest.raises(UsageError, match=r"^salience: it needs probabilities of classes.*'arithmetic'"):
        resolve(parse_grid(grid, "test"), {})
