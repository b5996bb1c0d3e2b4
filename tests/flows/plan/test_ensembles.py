"""Members of ensembles that learn from rows of their own, and a single supervisor with the compute of several."""

from __future__ import annotations

from typing import Any

import pytest

from artifacts.errors import UsageError
from flows.plan.graph import FromNode, Graph, Node, Pair
from flows.plan.load import parse_grid
from flows.plan.resolve import resolve

MODELS = ["offline-s", "offline-m", "offline-l"]
BAGS = {"name": "bags", "kind": "ensemble", "models": ["offline-s", "offline-m"], "n_seeds": 2, "bag": True}
BOOSTED = {"name": "boost", "kind": "boosted", "model": "offline-s", "n_rounds": 3}
LONGER = {"name": "longer", "kind": "longer", "model": "offline-s", "times": 3}


def graph_of(**fields: Any) -> Graph:
    config = parse_grid({"datasets": ["sst2"], "models": MODELS, "methods": ["xent"], **fields}, "test")
    return resolve(config, {}).graph


def pair_of(graph: Graph, weak: str) -> Pair:
    return next(pair for pair in graph.pairs if pair.weak == weak)


def parent(node: Node, name: str) -> Node:
    source = node.inputs[name]
    assert isinstance(source, FromNode)
    return source.node


def given_to(pair: Pair) -> Node:
    """What gives the labels of a pair's student."""
    return parent(parent(pair.transfer_score, "model"), "labels")


def trainings_of(combined: Node) -> list[Node]:
    """Those of the members, in their order."""
    labels = [parent(combined, name) for name in combined.inputs if name.startswith("test.")]
    return [parent(node, "model") for node in labels]


def test_each_member_of_bags_learns_from_a_draw_of_its_own() -> None:
    pair = pair_of(graph_of(supervisors=[BAGS]), "bags")

    members = trainings_of(given_to(pair))
    assert [parent(m, "train").stage for m in members] == ["bag"] * 4
    assert [parent(m, "train").params["seed"] for m in members] == [0, 1000, 2000, 3000]
    assert [(m.labels["model"], m.params["seed"]) for m in members] == [
        ("offline-s", 0), ("offline-s", 1000), ("offline-m", 0), ("offline-m", 1000),
    ]  # fmt: skip


def test_bags_are_compared_with_the_strongest_model_on_all_rows() -> None:
    graph = graph_of(supervisors=[BAGS])

    assert pair_of(graph, "bags").weak_score is pair_of(graph, "offline-m").weak_score


def test_boosted_members_learn_in_turn_from_what_the_one_before_has_wrong() -> None:
    graph = graph_of(supervisors=[BOOSTED])

    pair = pair_of(graph, "boost")
    voted = given_to(pair)
    first, second, third = trainings_of(voted)
    assert voted.stage == "vote"
    # The first is the supervisor of plain pairs.
    assert pair.weak_score is pair_of(graph, "offline-s").weak_score
    assert parent(first, "train").stage == "prepare"
    rounds = [parent(voted, f"votes.{i}") for i in range(3)]
    assert [parent(round, "model") for round in rounds] == [first, second, third]
    assert [parent(m, "train") for m in (second, third)] == rounds[:2]
    assert "weights" not in rounds[0].inputs
    assert parent(rounds[1], "weights") is rounds[0]
    assert parent(rounds[2], "weights") is rounds[1]
    assert len({round.params["seed"] for round in rounds}) == 3


def test_single_supervisor_with_the_compute_of_several_trains_for_as_many_times_the_epochs() -> None:
    graph = graph_of(supervisors=[LONGER], training={"epochs": 2})

    pair = pair_of(graph, "longer")
    training = parent(given_to(pair), "model")
    plain = parent(pair.weak_score, "model")
    assert pair.weak_score is pair_of(graph, "offline-s").weak_score
    assert pair.supervisor_score is not None
    assert parent(pair.supervisor_score, "model") is training
    assert (training.params["training"]["epochs"], plain.params["training"]["epochs"]) == (6, 2)
    assert {k: v for k, v in training.params.items() if k != "training"} == {
        k: v for k, v in plain.params.items() if k != "training"
    }
    assert parent(pair.transfer_score, "model").params["training"]["epochs"] == 2


@pytest.mark.parametrize("spec", [BOOSTED, LONGER])
def test_unknown_model_of_a_supervisor_is_named(spec: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"supervisors: {spec['name']}: unknown model of the ladder 'tiny'"):
        graph_of(supervisors=[{**spec, "model": "tiny"}])
