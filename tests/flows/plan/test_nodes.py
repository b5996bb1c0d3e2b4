"""A grid as nodes: what is shared, and what each node reads."""

from __future__ import annotations

from collections import Counter

import pytest

from flows.plan.build import DataSource, build_graph
from flows.plan.cell import ModelSource
from flows.plan.graph import FromNode, Graph, Node
from flows.plan.grid import GridConfig
from flows.plan.resolve import METHODS, resolve_methods, resolve_pairs
from w2s_core.config import ModelConfig, PretrainConfig, SizeConfig


def ladder(n_models: int) -> list[ModelConfig]:
    return [
        ModelConfig(
            name=f"m{i}",
            pretrain=PretrainConfig(size=SizeConfig(n_layers=1, width=8 * (i + 1), n_heads=1)),
        )
        for i in range(n_models)
    ]


def graph_of(n_models: int = 4, datasets: tuple[str, ...] = ("sst2",), **fields: object) -> Graph:
    config = GridConfig.model_validate({"datasets": datasets, **fields})
    models = ladder(n_models)
    source = DataSource({"kind": "offline"}, {}, 1000, {"setting": "classify"})
    return build_graph(
        config,
        models,
        [METHODS["xent"], METHODS["logconf"]],
        resolve_pairs(config, [model.name for model in models]),
        dict.fromkeys(datasets, source),
        {model.name: ModelSource("offline") for model in models},
    )


def with_methods(*methods: object) -> Graph:
    """Two models, one pair, and these methods."""
    config = GridConfig.model_validate({"datasets": ("sst2",), "methods": methods})
    data, sources = (
        {"sst2": DataSource({"kind": "offline"}, {}, 1000, {"setting": "classify"})},
        {f"m{i}": ModelSource("offline") for i in (0, 1)},
    )
    return build_graph(config, ladder(2), resolve_methods(config), [("m0", "m1")], data, sources)


def stages(graph: Graph) -> Counter[str]:
    return Counter(node.stage for node in graph.nodes.values())


def test_stages_are_shared_between_all_pairs() -> None:
    counts = stages(graph_of(n_models=4))

    assert counts == {
        "pretrain": 4,
        "prepare": 1,
        "audit": 1,
        "train_gt": 6,
        "weak_labels": 3,
        "train_w2s": 12,
        "score": 18,
    }


def test_an_audit_reads_what_its_dataset_is_prepared_from() -> None:
    by_stage = {node.stage: node for node in graph_of().nodes.values()}

    assert by_stage["audit"].inputs == by_stage["prepare"].inputs
    assert by_stage["audit"].params.items() > by_stage["prepare"].params.items()


def test_a_grid_can_go_without_audits() -> None:
    assert "audit" not in stages(graph_of(audit=False))


def test_pretraining_is_shared_between_datasets() -> None:
    counts = stages(graph_of(datasets=("sst2", "boolq")))

    assert counts["pretrain"] == 4
    assert counts["prepare"] == 2


def test_parents_stand_before_children() -> None:
    seen: set[str] = set()
    for node in graph_of().nodes.values():
        assert all(parent.id in seen for parent in node.parents)
        seen.add(node.id)


def test_ceiling_trains_on_the_half_of_the_student() -> None:
    graph = graph_of(n_models=2)
    [ceiling] = {pair.ceiling_score.inputs["model"].node for pair in graph.pairs if pair.ceiling_score}

    assert ceiling.labels["half"] == "transfer_train"
    assert ceiling.inputs["train"].output == "transfer_train"


def test_ceiling_on_the_half_of_the_supervisor_shares_its_training() -> None:
    counts = stages(graph_of(n_models=3, ceiling_half="weak_train"))

    assert counts["train_gt"] == 3


def test_trainings_do_not_read_test_rows() -> None:
    for node in graph_of().nodes.values():
        if node.stage.startswith("train"):
            reads = [s.output for s in node.inputs.values() if isinstance(s, FromNode)]
            assert "test" not in reads


def test_scale_of_the_learning_rate_is_that_of_every_model_and_in_no_key_of_its_own() -> None:
    rates = {}
    for scale in (1, 2):
        graph = graph_of(n_models=2, training={"lr_scale": scale})
        trainings = [node.params for node in graph.nodes.values() if node.stage.startswith("train_")]
        rates[scale] = [params["model"]["lr"] for params in trainings]
        assert not any("lr_scale" in params["training"] for params in trainings)

    assert rates[2] == [2 * rate for rate in rates[1]]


def test_wire_of_another_kind_is_refused_when_the_grid_is_planned() -> None:
    graph = graph_of(n_models=2)
    labels, prepared = (next(n for n in graph.nodes.values() if n.stage == s) for s in ("weak_labels", "prepare"))
    wrong = {"model": FromNode(labels, "test"), "test": FromNode(prepared, "test")}
    with pytest.raises(TypeError, match="score reads model as 'model', but 'test' is labels"):
        graph.add("score", {}, wrong, {})
    with pytest.raises(TypeError, match="score reads nothing as 'train'"):
        graph.add("score", {}, {"train": FromNode(prepared, "test")}, {})


def test_self_training_has_no_ceiling() -> None:
    graph = graph_of(n_models=2, self_training=True)

    diagonal = [pair for pair in graph.pairs if pair.weak == pair.strong]
    assert len(diagonal) == 4
    assert all(pair.ceiling_score is None for pair in diagonal)


def test_node_names_say_dataset_stage_models_method_and_seed() -> None:
    [node] = [n for n in graph_of(n_models=2).nodes.values() if n.stage == "train_w2s" and n.labels["method"] == "xent"]

    assert node.name == "sst2 train_w2s m0->m1 xent seed 0"


HALF = {"name": "half", "stop": {"rule": "fraction", "at": 0.5}}


def test_methods_that_differ_in_their_stopping_rule_share_one_training() -> None:
    graph = with_methods("xent", "val_weak", HALF, "logconf")

    assert stages(graph)["train_w2s"] == 2
    read = {pair.method: pair.transfer_score.inputs["model"] for pair in graph.pairs}
    assert {method: source.output for method, source in read.items()} == {
        "xent": "model", "val_weak": "model.val_weak", "half": "model.fraction.0.5", "logconf": "model",
    }  # fmt: skip
    assert len({read[method].node.id for method in ("xent", "val_weak", "half")}) == 1
    assert {pair.ceiling_score.inputs["model"].output for pair in graph.pairs} == {"model"}


def test_order_of_stopping_rules_makes_no_other_training() -> None:
    assert with_methods("xent", "val_weak", HALF).nodes.keys() == with_methods(HALF, "val_weak", "xent").nodes.keys()


def test_method_that_sees_the_truth_is_named_an_oracle() -> None:
    named = {"name": "best", "stop": {"rule": "val_gt"}}
    called = {"name": "oracle-best", "stop": {"rule": "val_gt"}}
    dropped = {"name": "clean", "labels": [{"kind": "oracle_drop"}]}
    assert [pair.method for pair in with_methods("val_gt", named, called, dropped, "calibrate").pairs] == [
        "val_gt-oracle", "best-oracle", "oracle-best", "clean-oracle", "calibrate",
    ]  # fmt: skip


def test_labels_that_are_compared_with_features_read_those_that_a_probe_reads() -> None:
    graph = with_methods("probe", "relabel", {"name": "both", "labels": [{"kind": "disagree"}, {"kind": "relabel"}]})

    [vectors] = [node for node in graph.nodes.values() if node.stage == "features"]
    treated = [node for node in graph.nodes.values() if node.stage == "treat"]
    assert len(treated) == 3
    for node in treated:
        assert {node.inputs[f"features.{split}"] for split in ("transfer_train", "validation")} == {
            FromNode(vectors, "transfer_train"), FromNode(vectors, "validation"),
        }  # fmt: skip


def test_adapted_model_is_where_student_and_ceiling_of_its_method_start_and_the_plain_ceiling_stays() -> None:
    graph = with_methods("xent", "adapted", {"name": "adapted-kl", "adapt": {}, "loss": {"loss": "kl"}})

    [node] = [node for node in graph.nodes.values() if node.stage == "adapt"]
    assert node.inputs["train"].output == "transfer_train"
    pairs = {pair.method: pair for pair in graph.pairs}

    def base_of(score: Node) -> str:
        return score.inputs["model"].node.inputs["base"].node.stage

    for method in ("adapted", "adapted-kl"):
        pair = pairs[method]
        assert base_of(pair.transfer_score) == base_of(pair.ceiling_score) == "adapt"
        assert pair.ceiling_plain_score is pairs["xent"].ceiling_score
        assert pair.weak_score is pairs["xent"].weak_score
    assert base_of(pairs["xent"].transfer_score) == base_of(pairs["xent"].ceiling_score) == "pretrain"
    assert pairs["adapted"].ceiling_score is pairs["adapted-kl"].ceiling_score
