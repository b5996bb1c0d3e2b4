"""Supervisors besides the models of the ladder: which pairs they are in, and what a student gets of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import UsageError
from flows.plan.graph import FromNode, Graph, Node, Pair
from flows.plan.load import parse_grid
from flows.plan.resolve import resolve
from w2s_core.methods.ensembles import WAYS

MODELS = ["offline-s", "offline-m", "offline-l"]
ENSEMBLE = {"name": "both", "kind": "ensemble", "models": ["offline-m", "offline-s"]}


def graph_of(**fields: Any) -> Graph:
    config = parse_grid({"datasets": ["sst2"], "models": MODELS, "methods": ["xent"], **fields}, "test")
    return resolve(config, {}).graph


def pairs_of(graph: Graph, weak: str) -> list[Pair]:
    return [pair for pair in graph.pairs if pair.weak == weak]


def parent(node: Node, name: str) -> Node:
    source = node.inputs[name]
    assert isinstance(source, FromNode)
    return source.node


def members_of(combined: Node) -> list[Node]:
    """The labels that an ensemble is made of."""
    return [node for node in combined.parents if node.stage == "weak_labels"]


def combined_in(graph: Graph) -> Node:
    [node] = [node for node in graph.nodes.values() if node.stage == "combine"]
    return node


def trainings(graph: Graph) -> set[str]:
    return {node.id for node in graph.nodes.values() if node.stage == "train_gt"}


def people(folder: Path) -> dict[str, str]:
    (folder / "sst2.csv").write_text("id,prob\n")
    return {"name": "people", "kind": "labels", "path": str(folder / "{dataset}.csv")}


def test_ensemble_supervises_what_is_stronger_than_all_of_its_members() -> None:
    [pair] = pairs_of(graph_of(supervisors=[ENSEMBLE]), "both")

    student = parent(pair.transfer_score, "model")
    combined = parent(student, "labels")
    assert pair.strong == "offline-l"
    assert combined.stage == "combine"
    assert [n.labels["model"] for n in members_of(combined)] == ["offline-s", "offline-m"]
    assert {n.stage for n in combined.parents} == {"prepare", "weak_labels"}


def test_ensemble_is_compared_with_its_strongest_member_and_its_labels_are_judged() -> None:
    graph = graph_of(supervisors=[ENSEMBLE])

    [pair] = pairs_of(graph, "both")
    [plain] = pairs_of(graph, "offline-m")
    assert pair.weak_score is plain.weak_score
    assert pair.supervisor_score is not None
    assert pair.supervisor_score.stage == "judge"
    assert pair.ceiling_score is plain.ceiling_score


def test_ensemble_adds_no_training_but_its_students() -> None:
    assert trainings(graph_of(supervisors=[ENSEMBLE])) == trainings(graph_of())


def test_ensemble_of_seeds_finetunes_each_model_with_the_seed_of_the_cell_and_further_ones() -> None:
    graph = graph_of(supervisors=[{**ENSEMBLE, "n_seeds": 3}], seeds=[4], pairs=[["both", "offline-l"]])

    members = [(node.labels["model"], node.labels["seed"]) for node in members_of(combined_in(graph))]
    assert members == [(model, seed) for model in ("offline-s", "offline-m") for seed in (4, 1004, 2004)]
    for node in members_of(combined_in(graph)):
        assert parent(node, "model").params["seed"] == node.labels["seed"]
    assert combined_in(graph).labels["seed"] == 4


def test_members_with_the_seed_of_the_cell_are_those_of_plain_pairs() -> None:
    graph = graph_of(supervisors=[{**ENSEMBLE, "n_seeds": 3}])

    assert len(trainings(graph) - trainings(graph_of())) == 2 * 2


def test_members_are_shared_with_cells_and_ensembles_that_have_their_seed() -> None:
    larger = {**ENSEMBLE, "name": "more", "n_seeds": 3}
    graph = graph_of(supervisors=[{**ENSEMBLE, "n_seeds": 2}, larger], seeds=[0, 1000])

    # Of seeds 2000 and 3000.
    assert len(trainings(graph) - trainings(graph_of(seeds=[0, 1000]))) == 2 * 2


def test_ensemble_of_one_model_supervises_what_is_stronger_and_is_compared_with_its_plain_training() -> None:
    graph = graph_of(supervisors=[{"name": "seeds", "kind": "ensemble", "models": ["offline-m"], "n_seeds": 2}])

    [pair] = pairs_of(graph, "seeds")
    [plain] = pairs_of(graph, "offline-m")
    assert pair.strong == "offline-l"
    assert pair.weak_score is plain.weak_score


def test_students_of_an_ensemble_keep_the_seed_of_their_cell() -> None:
    [pair] = pairs_of(graph_of(supervisors=[{**ENSEMBLE, "n_seeds": 2}], seeds=[4]), "both")

    student = parent(pair.transfer_score, "model")
    assert (student.params["seed"], student.labels["seed"], pair.seed) == (4, 4, 4)


def test_ensembles_that_differ_in_how_they_combine_share_their_members() -> None:
    others = [{**ENSEMBLE, "name": f"by-{by}", "by": by} for by in WAYS]
    graph = graph_of(supervisors=others)

    combined = [node for node in graph.nodes.values() if node.stage == "combine"]
    assert [node.params["combine"]["by"] for node in combined] == WAYS.names()
    assert len({tuple(members_of(node)) for node in combined}) == 1


def test_way_to_combine_is_a_name_or_a_table() -> None:
    named, tabled = (graph_of(supervisors=[{**ENSEMBLE, "by": by}]) for by in ("logits", {"by": "logits"}))

    assert combined_in(named).id == combined_in(tabled).id
    assert combined_in(named).id != combined_in(graph_of(supervisors=[ENSEMBLE])).id


def test_labels_of_a_file_supervise_every_model_and_are_imported_once(tmp_path: Path) -> None:
    graph = graph_of(supervisors=[people(tmp_path)], seeds=[0, 1])

    assert [pair.strong for pair in pairs_of(graph, "people")] == MODELS * 2
    assert len({pair.weak_score for pair in pairs_of(graph, "people")}) == 1
    assert [node.stage for node in graph.nodes.values()].count("import_labels") == 1


def test_file_that_is_not_there_is_one_line_that_says_where_its_rows_are_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        graph_of(supervisors=[{"name": "people", "kind": "labels", "path": str(tmp_path / "{dataset}.csv")}])

    assert str(refusal.value).startswith(f"supervisors: people: no file {tmp_path}/sst2.csv; ")
    assert "`w2s show sst2 --ids --grid GRID`" in str(refusal.value)


def simulated(errors: Any = "uniform", **fields: Any) -> dict[str, Any]:
    return {"name": "sim", "kind": "simulated", "accuracy": 0.7, "errors": errors, **fields}


def test_simulated_labels_supervise_every_model_and_are_measured_against_themselves() -> None:
    pairs = pairs_of(graph_of(supervisors=[simulated()]), "sim")

    assert [pair.strong for pair in pairs] == MODELS
    assert {pair.weak_score.stage for pair in pairs} == {"judge"}
    assert {pair.supervisor_score for pair in pairs} == {None}


@pytest.mark.parametrize(
    ("errors", "model"),
    [
        ("hardness", "offline-l"),
        ("real", "offline-s"),
        ({"kind": "real", "model": "offline-m"}, "offline-m"),
        ("longest", None),
    ],
)
def test_simulated_errors_follow_a_model_that_learned_from_the_supervisors_half(errors: Any, model: str | None) -> None:
    graph = graph_of(supervisors=[simulated(errors)], pairs=[["sim", "offline-l"]])

    [simulate] = [node for node in graph.nodes.values() if node.stage == "simulate"]
    asked = [node for node in simulate.parents if node.stage == "weak_labels"]
    assert [node.labels["model"] for node in asked] == [model] * (model is not None)
    assert all(parent(node, "model").labels["half"] == "weak_train" for node in asked)


def test_simulated_labels_are_the_same_node_whether_their_model_is_named_or_not() -> None:
    by_name = simulated({"kind": "real", "model": "offline-s"}, name="named")
    graph = graph_of(supervisors=[simulated("real"), by_name], seeds=[0, 1])

    assert [node.stage for node in graph.nodes.values()].count("simulate") == 2


def test_simulated_grid_is_the_same_after_it_went_through_json() -> None:
    config = parse_grid({"datasets": ["sst2"], "supervisors": [simulated("hardness")]}, "test")

    assert parse_grid(json.loads(config.model_dump_json()), "again") == config


def chain(*models: str, of: str = "offline-s", name: str = "chain", **fields: Any) -> dict[str, Any]:
    return {"name": name, "kind": "student", "of": of, "models": models, **fields}


def chained(*supervisors: dict[str, Any], n_parts: int = 3, **fields: Any) -> Graph:
    return graph_of(supervisors=supervisors, data={"n_parts": n_parts}, **fields)


def rows_of(node: Node, name: str) -> str:
    """Which output of ``prepare`` a node reads."""
    source = node.inputs[name]
    assert isinstance(source, FromNode)
    assert source.node.stage == "prepare"
    return source.output


def steps(student: Node) -> list[tuple[str, str, str]]:
    """Backwards from a student: model, rows that it learns on, and rows that its supervisor labels."""
    found = []
    while student.stage == "train_w2s":
        labels = parent(student, "labels")
        assert parent(student, "validation_labels") is labels
        asked = rows_of(labels, "transfer_train")
        found.append((str(student.labels["model"]), rows_of(student, "train"), asked))
        student = parent(labels, "model")
    assert student.stage == "train_gt"
    return [*found, (str(student.labels["model"]), rows_of(student, "train"), "")]


def test_chain_learns_on_a_part_after_the_other_and_labels_the_last() -> None:
    graph = chained(chain("offline-m", "offline-m"))

    [pair] = pairs_of(graph, "chain")
    assert pair.strong == "offline-l"
    assert steps(parent(pair.transfer_score, "model")) == [
        ("offline-l", "transfer_train", "transfer_train"),
        ("offline-m", "part.2", "part.2"),
        ("offline-m", "part.1", "part.1"),
        ("offline-s", "weak_train", ""),
    ]


def test_chain_is_measured_against_its_first_supervisor_with_the_ceiling_of_the_direct_pair() -> None:
    graph = chained(chain("offline-m"))

    [pair] = pairs_of(graph, "chain")
    [direct] = [pair for pair in pairs_of(graph, "offline-s") if pair.strong == "offline-l"]
    assert pair.weak_score is direct.weak_score
    assert pair.ceiling_score is direct.ceiling_score
    assert pair.supervisor_score is not None
    assert pair.supervisor_score.labels["half"] == "part.1"


def test_chain_of_an_ensemble_starts_with_its_labels_of_the_first_part() -> None:
    graph = chained(ENSEMBLE, chain("offline-m", of="both"), pairs=[["chain", "offline-l"], ["both", "offline-l"]])

    combined = [node for node in graph.nodes.values() if node.stage == "combine"]
    assert [rows_of(node, "rows_transfer_train") for node in combined] == ["part.1", "transfer_train"]
    [pair], [direct] = pairs_of(graph, "chain"), pairs_of(graph, "both")
    assert pair.weak_score is direct.weak_score


def test_chain_that_follows_another_takes_the_parts_after_it() -> None:
    further = chain("offline-m", of="chain", name="further")
    graph = chained(chain("offline-m"), further, pairs=[["further", "offline-l"]])

    [pair] = graph.pairs
    assert [rows for _, rows, _ in steps(parent(pair.transfer_score, "model"))] == [
        "transfer_train", "part.2", "part.1", "weak_train",
    ]  # fmt: skip


def test_chain_that_is_continued_is_shared_with_the_longer_one() -> None:
    further = chain("offline-m", of="chain", name="further")
    whole = chain("offline-m", "offline-m", name="whole")
    once = chained(whole, pairs=[["whole", "offline-l"]])
    both = chained(chain("offline-m"), further, whole, pairs=[["further", "offline-l"], ["whole", "offline-l"]])

    assert both.nodes.keys() == once.nodes.keys()


def test_chain_learns_with_its_loss() -> None:
    graph = chained(chain("offline-m", loss={"loss": "logconf"}), pairs=[["chain", "offline-l"]])

    trained = [node for node in graph.nodes.values() if node.stage == "train_w2s"]
    losses = {node.labels["model"]: node.params["loss"]["loss"] for node in trained}
    assert losses == {"offline-m": "logconf", "offline-l": "xent"}


def test_nodes_of_a_chain_are_called_by_their_part() -> None:
    names = [node.name for node in chained(chain("offline-m", "offline-m")).nodes.values()]

    assert len(names) == len(set(names))
    assert "sst2 train_w2s offline-s->offline-m part.1 chain seed 0" in names
    assert "sst2 weak_labels offline-m part.2 chain seed 0" in names


def test_pair_may_have_the_model_that_a_chain_repeats_as_its_student() -> None:
    graph = chained(chain("offline-l", "offline-l"), pairs=[["chain", "offline-l"]])

    [pair] = graph.pairs
    assert [model for model, *_ in steps(parent(pair.transfer_score, "model"))] == ["offline-l"] * 3 + ["offline-s"]


def test_one_part_leaves_every_node_as_it_is() -> None:
    assert graph_of(data={"n_parts": 1}).nodes.keys() == graph_of().nodes.keys()


def test_pairs_may_name_supervisors() -> None:
    graph = graph_of(supervisors=[ENSEMBLE], pairs=[["both", "offline-l"]])

    assert [(pair.weak, pair.strong) for pair in graph.pairs] == [("both", "offline-l")]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"supervisors": [ENSEMBLE], "pairs": [["both", "offline-m"]]}, "is against the ladder's order"),
        ({"supervisors": [ENSEMBLE], "pairs": [["botch", "offline-l"]]}, "did you mean both"),
        ({"supervisors": [ENSEMBLE], "pairs": [["offline-s", "both"]]}, "unknown model of the ladder 'both'"),
        ({"supervisors": [{**ENSEMBLE, "models": ["offline-s", "offline-x"]}]}, "supervisors: both: unknown model"),
        ({"supervisors": [{**ENSEMBLE, "models": ["offline-s"] * 2}]}, "supervisors: both: 'offline-s' stands there"),
        ({"supervisors": [{**ENSEMBLE, "name": "offline-s"}]}, "supervisors: 'offline-s' stands there twice"),
        ({"supervisors": [{**ENSEMBLE, "models": []}]}, "supervisors.0.ensemble.models"),
        (
            {"supervisors": [{**ENSEMBLE, "models": ["offline-s"]}]},
            "supervisors.0.ensemble: an ensemble needs at least two members: more models, or n_seeds above 1",
        ),
        ({"supervisors": [{**ENSEMBLE, "n_seeds": 0}]}, "supervisors.0.ensemble.n_seeds"),
        ({"supervisors": [{**ENSEMBLE, "by": "logit"}]}, "supervisors.0.ensemble.by: unknown way to combine 'logit'"),
        ({"supervisors": [{**ENSEMBLE, "by": {"by": "logit"}}]}, "supervisors.0.ensemble.by: "),
        ({"supervisors": [{**ENSEMBLE, "kind": "ensembl"}]}, "supervisors.0"),
        ({"supervisors": [simulated(accuracy=1.5)]}, "supervisors.0.simulated.accuracy: input should be less than or"),
        ({"supervisors": [simulated(confidence=0.5)]}, "supervisors.0.simulated.confidence: input should be greater"),
        ({"supervisors": [simulated("reel")]}, "supervisors.0.simulated.errors: "),
        (
            {"supervisors": [simulated({"kind": "uniform", "model": "offline-s"})]},
            "errors.uniform.model: unknown field",
        ),
        ({"supervisors": [simulated({"kind": "real", "model": "offline-x"})]}, "supervisors: sim: unknown model of"),
        (
            {"supervisors": [chain("offline-m")]},
            "supervisors: chain: data.n_parts has to be 2 or more, not 1: a part for each of 1 models",
        ),
        (
            {"supervisors": [chain("offline-m"), chain("offline-m", of="chain", name="more")], "data": {"n_parts": 2}},
            "supervisors: more: data.n_parts has to be 3 or more, not 2",
        ),
        ({"supervisors": [chain("offline-x")]}, "supervisors: chain: unknown model of the ladder 'offline-x'"),
        ({"supervisors": [chain("offline-m", of="offline")]}, "supervisors: chain: unknown supervisor 'offline'; did"),
        ({"supervisors": [chain("offline-m", of="chain")]}, "supervisors: chain: it learns from itself: chain of ch"),
        (
            {"supervisors": [chain("offline-m", of="more"), chain("offline-m", name="more", of="chain")]},
            "supervisors: chain: it learns from itself: chain of more of chain",
        ),
        ({"supervisors": [chain()]}, "supervisors.0.student.models"),
        ({"supervisors": [chain("offline-l", of="offline-m")], "pairs": [["chain", "offline-m"]]}, "ladder's order"),
        ({"supervisors": [chain("offline-m", of="offline-l")], "pairs": [["chain", "offline-l"]]}, "ladder's order"),
        ({"data": {"n_parts": 0}}, "data.n_parts"),
    ],
)
def test_supervisor_that_cannot_be_is_one_line_that_names_the_field(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as refusal:
        graph_of(**fields)

    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_treatments_stand_between_the_supervisor_and_the_student_in_their_order() -> None:
    twice = {"name": "twice", "labels": [{"kind": "harden"}, {"kind": "harden"}]}
    [pair] = graph_of(methods=["harden", twice], pairs=[["offline-s", "offline-l"]]).pairs[1:]

    student = parent(pair.transfer_score, "model")
    second = parent(student, "labels")
    first = parent(second, "transfer_train")
    assert [first.stage, second.stage] == ["treat", "treat"]
    assert parent(first, "transfer_train").stage == "weak_labels"
    assert parent(student, "validation_labels") is second


def test_treated_labels_are_shared_by_methods() -> None:
    bold = {"name": "bold", "labels": [{"kind": "harden"}], "loss": {"loss": "logconf"}}
    graph = graph_of(methods=["harden", bold], pairs=[["offline-s", "offline-l"]])

    assert [node.stage for node in graph.nodes.values()].count("treat") == 1


def test_grid_is_the_same_after_it_went_through_json() -> None:
    fields = {
        "supervisors": [{**ENSEMBLE, "by": "majority", "n_seeds": 2}],
        "methods": [{"name": "m", "labels": [{"kind": "harden"}], "loss": {"loss": "kl"}}],
    }
    config = parse_grid({"datasets": ["sst2"], "models": MODELS, **fields}, "test")

    assert parse_grid(json.loads(config.model_dump_json()), "again") == config
