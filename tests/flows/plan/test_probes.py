"""Probes in a grid: what they read, what is shared, and what their names say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import UsageError
from flows.plan.graph import FromNode, Graph, Node, Pair
from flows.plan.load import parse_grid
from flows.plan.resolve import resolve
from tests.tiny_models import tiny_base
from w2s_core.stages import ADDED

MODELS = ["offline-s", "offline-m", "offline-l"]


def probe(features: str, **fields: Any) -> dict[str, Any]:
    return {"name": f"on-{features}", "learn": {"kind": "probe", "features": features}, **fields}


def graph_of(*methods: Any, **fields: Any) -> Graph:
    grid = {"datasets": ["sst2"], "models": MODELS, "audit": False, "methods": list(methods), **fields}
    return resolve(parse_grid(grid, "test"), {}).graph


def pair_of(graph: Graph, weak: str = MODELS[0], strong: str = MODELS[1], method: str | None = None) -> Pair:
    return next(p for p in graph.pairs if (p.weak, p.strong) == (weak, strong) and method in (None, p.method))


def parent(node: Node, name: str) -> Node:
    source = node.inputs[name]
    assert isinstance(source, FromNode)
    return source.node


def probe_of(score: Node | None) -> Node:
    assert score is not None
    assert score.stage == "judge"
    return parent(score, "labels")


def seen_by(score: Node | None) -> Node:
    """What the features of a score's probe are of."""
    features = parent(probe_of(score), "features.train")
    return parent(features, "model" if "model" in features.inputs else "base")


def counts(graph: Graph) -> Counter[str]:
    return Counter(node.stage for node in graph.nodes.values())


def test_probe_on_the_base_model_learns_the_weak_labels() -> None:
    pair = pair_of(graph_of("probe"))

    student = probe_of(pair.transfer_score)
    assert seen_by(pair.transfer_score).stage == "pretrain"
    assert seen_by(pair.transfer_score).labels["model"] == "offline-m"
    for name in ("labels", "validation_labels"):
        assert parent(parent(student, name), "model") is parent(pair.weak_score, "model")
    assert (pair.transfer_score.labels["kind"], pair.transfer_score.labels["supervisor"]) == ("w2s", "offline-s")


def test_probe_on_weak_features_sees_the_student_of_the_same_method_without_it() -> None:
    graph = graph_of("xent", probe("weak"))

    finetuned = parent(pair_of(graph, method="xent").transfer_score, "model")
    assert seen_by(pair_of(graph, method="on-weak").transfer_score) is finetuned


def test_weak_features_are_of_a_model_trained_by_the_methods_labels_loss_and_stop() -> None:
    method = probe("weak", labels=[{"kind": "harden"}], loss={"loss": "logconf"}, stop={"rule": "val_weak"})
    pair = pair_of(graph_of(method))

    student = probe_of(pair.transfer_score)
    model = seen_by(pair.transfer_score)
    assert model.params["loss"]["loss"] == "logconf"
    assert parent(model, "labels") is parent(student, "labels")
    assert parent(student, "labels").stage == "treat"
    source = parent(student, "features.train").inputs["model"]
    assert isinstance(source, FromNode)
    assert source.output == "model.val_weak"


def test_probe_on_features_of_the_truth_sees_the_ceiling_and_learns_weak_labels() -> None:
    pair = pair_of(graph_of(probe("truth")))

    assert pair.ceiling_plain_score is not None
    assert seen_by(pair.transfer_score) is parent(pair.ceiling_plain_score, "model")
    assert "labels" in probe_of(pair.transfer_score).inputs


@pytest.mark.parametrize("features", ["base", "weak", "truth"])
def test_ceiling_is_a_probe_with_the_truth_on_the_same_features(features: str) -> None:
    pair = pair_of(graph_of(probe(features)))

    ceiling, student = probe_of(pair.ceiling_score), probe_of(pair.transfer_score)
    for split in ("train", "validation", "test"):
        assert ceiling.inputs[f"features.{split}"] == student.inputs[f"features.{split}"]
    assert not {"labels", "validation_labels"} & ceiling.inputs.keys()
    assert ceiling.name != student.name
    assert pair.ceiling_plain_score is not None
    assert pair.ceiling_plain_score.stage == "score"


def test_ceiling_on_the_other_half_reads_its_features_and_the_student_does_not() -> None:
    pair = pair_of(graph_of("probe", ceiling_half="weak_train"))

    ceiling, student = probe_of(pair.ceiling_score), probe_of(pair.transfer_score)
    assert parent(ceiling, "features.train").params["splits"] == ["weak_train"]
    assert parent(ceiling, "features.test") is parent(student, "features.train")
    assert ceiling.inputs["train"] == FromNode(parent(ceiling, "train"), "weak_train")


def test_self_training_by_a_probe_has_no_ceiling() -> None:
    pair = pair_of(graph_of("probe", self_training=True), MODELS[0], MODELS[0])

    assert (pair.ceiling_score, pair.ceiling_plain_score) == (None, None)


def test_features_of_a_model_are_extracted_once() -> None:
    other = {"name": "few", "learn": {"kind": "probe", "l2": [1.0]}}
    found = counts(graph_of("probe", other, seeds=[0, 1]))

    # Of two models; of each a ceiling whatever the seed, for both methods; three pairs, two seeds, two methods.
    assert found["features"] == 2
    assert found["fit_probe"] == 2 * 2 + 3 * 2 * 2


def test_features_of_random_weights_are_of_each_seed(tmp_path: Path) -> None:
    random = {"path": str(tiny_base(tmp_path / "base")), "init": "random", "lr": 1e-3}
    models = [
        {**random, "name": name, "size": {"n_layers": 1, "width": width, "n_heads": 2}}
        for name, width in {"small": 4, "large": 8}.items()
    ]

    found = [node for node in graph_of("probe", models=models, seeds=[0, 1]).nodes.values() if node.stage == "features"]

    assert [(node.params["seed"], node.labels["seed"]) for node in found] == [(0, 0), (1, 1)]


def test_probes_add_no_training_to_those_of_plain_methods() -> None:
    plain, probed = counts(graph_of("xent")), counts(graph_of("xent", "probe", probe("weak"), probe("truth")))

    for stage in ("pretrain", "train_gt", "train_w2s", "weak_labels", "score"):
        assert probed[stage] == plain[stage]


def test_probes_leave_the_nodes_of_other_methods_as_they_were() -> None:
    plain = graph_of("xent", "logconf").nodes

    assert plain.keys() < graph_of("xent", "logconf", "probe", probe("weak")).nodes.keys()


def test_name_of_a_method_whose_features_know_the_truth_says_so() -> None:
    graph = graph_of("probe", probe("weak"), probe("truth"))

    assert {pair.method for pair in graph.pairs} == {"probe", "on-weak", "on-truth-oracle"}


@pytest.mark.parametrize("fields", [{"loss": {"loss": "logconf"}}, {"stop": {"rule": "val_weak"}}])
def test_loss_and_stop_of_a_probe_that_trains_no_model_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="loss and stop say nothing"):
        graph_of(probe("base", **fields))


def test_features_of_another_layer_are_other_features_of_the_same_model() -> None:
    last, middle = "probe", probe("base", learn={"kind": "probe", "layer": "middle"})
    filters = [{"name": f"d-{layer}", "labels": [{"kind": "disagree", "layer": layer}]} for layer in ("last", "middle")]

    graph = graph_of(last, middle, *filters, pairs=[MODELS[:2]])

    # Of the student's splits; the ceilings learn on the same.
    assert sorted(str(n.params["layer"]) for n in graph.nodes.values() if n.stage == "features") == ["last", "middle"]
    treated = [node for node in graph.nodes.values() if node.stage == "treat"]
    assert [parent(node, "features.validation").params["layer"] for node in treated] == ["last", "middle"]
    assert treated[0].params == treated[1].params
    assert {"layer": "last"}.items() <= ADDED["features"].items()
