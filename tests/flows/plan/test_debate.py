"""Debates as nodes: what is generated anew when something changes, and what all that reads it shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import UsageError
from flows.plan.graph import FromNode, Graph, Node
from flows.plan.load import parse_grid
from flows.plan.resolve import resolve
from flows.report.plan import asked_elsewhere
from w2s_core.debate.protocol import FOLDER, protocol_names

MODELS = ["offline-s", "offline-l"]
DATA = {"n_train": 100, "n_validation": 20, "n_test": 30}
SERVER = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m", "max_tokens": 10}
LOCAL = {"kind": "local", "model": "offline-l"}


def debate(name: str = "debate", **fields: Any) -> dict[str, Any]:
    return {"name": name, "kind": "debate", "judge": "offline-s", **fields}


def graph_of(*supervisors: dict[str, Any], **fields: Any) -> Graph:
    pairs = [[spec["name"], "offline-l"] for spec in supervisors]
    about = {"datasets": ["sciq"], "models": MODELS, "methods": ["xent"], "data": DATA, "pairs": pairs}
    return resolve(parse_grid({**about, "supervisors": list(supervisors), **fields}, "test"), {}).graph


def nodes(graph: Graph, stage: str) -> dict[str, Node]:
    return {id: node for id, node in graph.nodes.items() if node.stage == stage}


def said(graph: Graph) -> set[str]:
    return set(nodes(graph, "transcripts"))


def source(node: Node, name: str) -> Node:
    found = node.inputs[name]
    assert isinstance(found, FromNode)
    return found.node


def test_judge_and_his_labels_read_transcripts_and_students_do_not() -> None:
    graph = graph_of(debate(n_transcripts=2))

    [pair] = graph.pairs
    student = source(pair.transfer_score, "model")
    assert {source(student, name).stage for name in ("train", "validation")} == {"prepare"}
    combined = source(student, "labels")
    members = [node for node in combined.parents if node.stage == "weak_labels"]
    assert len(members) == 2
    for member in members:
        judge = source(member, "model")
        assert judge.stage == "train_gt"
        assert {source(judge, "train").stage, source(judge, "validation").stage} == {"annotate"}
        assert source(member, "transfer_train") is source(judge, "train")
    assert pair.supervisor_score is not None
    assert source(pair.weak_score, "model").stage == "train_gt"
    assert source(source(pair.weak_score, "model"), "train").stage == "prepare"


def test_one_more_seed_generates_its_transcripts_alone() -> None:
    two, three = graph_of(debate(n_transcripts=2)), graph_of(debate(n_transcripts=3))

    assert said(two) < said(three)
    assert {node.params["seed"] for id, node in three.nodes.items() if id in said(three) - said(two)} == {2000}
    assert len(said(three) - said(two)) == 4


def test_one_more_dataset_generates_its_transcripts_alone() -> None:
    more = graph_of(debate(), datasets=["sciq", "boolq"])

    new = said(more) - said(graph_of(debate()))
    assert {more.nodes[id].labels["dataset"] for id in new} == {"boolq"}
    assert len(new) == 4


def test_edited_prompt_generates_transcripts_anew_and_edited_hearing_none(tmp_path: Path) -> None:
    text = (FOLDER / "debate.toml").read_text()
    (tmp_path / "same.toml").write_text(f"# a comment\n{text}")
    (tmp_path / "prompt.toml").write_text(text.replace("a few sentences", "two sentences"))
    (tmp_path / "hearing.toml").write_text(text + '\n[hearing]\nline = "{role}: {text}"\n')
    plain = graph_of(debate())

    same, prompt, hearing = (
        graph_of(debate(protocol=str(tmp_path / f"{name}.toml"))) for name in ("same", "prompt", "hearing")
    )

    assert same.nodes.keys() == plain.nodes.keys()
    assert said(prompt).isdisjoint(said(plain))
    assert said(hearing) == said(plain)
    assert set(nodes(hearing, "annotate")).isdisjoint(nodes(plain, "annotate"))


def test_what_differs_in_judges_seeds_ways_or_controls_shares_the_transcripts() -> None:
    graph = graph_of(
        debate(),
        debate("seeds", n_seeds=3),
        debate("one", protocol="one_sided"),
        debate("control", protocol="unrelated"),
        debate("before", place="before"),
    )

    assert said(graph) == said(graph_of(debate()))


def test_order_in_which_roles_speak_is_in_the_key(tmp_path: Path) -> None:
    text = (FOLDER / "debate.toml").read_text()
    head, first, second = text.partition("[roles.A]")[0], *(text[text.index(f"[roles.{r}]") :] for r in "AB")
    (tmp_path / "turned.toml").write_text(head + second + "\n" + first.removesuffix(second))

    assert said(graph_of(debate(protocol=str(tmp_path / "turned.toml")))).isdisjoint(said(graph_of(debate())))


def test_finetune_ensemble_has_one_transcript_and_several_judges() -> None:
    graph = graph_of(debate(n_seeds=3))

    assert len(said(graph)) == 4
    judges = {node.params["seed"] for node in nodes(graph, "train_gt").values() if "annotate" in _reads(node)}
    assert judges == {0, 1000, 2000}


def _reads(node: Node) -> set[str]:
    return {parent.stage for parent in node.parents}


def test_transcripts_may_be_those_of_one_seed_for_all_seeds_of_the_grid() -> None:
    assert len(said(graph_of(debate(transcript_seed=7), seeds=[0, 1, 2]))) == 4
    assert len(said(graph_of(debate(), seeds=[0, 1, 2]))) == 12


def test_market_maker_reads_what_the_plain_judge_chose_on_all_that_he_speaks_about() -> None:
    graph = graph_of(debate(protocol="market_making"))

    for node in nodes(graph, "transcripts").values():
        labels = source(node, "labels")
        assert labels.stage == "weak_labels"
        assert _reads(source(labels, "model")) == {"prepare", "pretrain"}
        read, spoken = node.inputs["labels"], node.inputs["rows"]
        assert isinstance(read, FromNode)
        assert isinstance(spoken, FromNode)
        # The very rows that it speaks about.
        assert labels.inputs[read.output] == spoken


def test_debater_of_the_ladder_is_its_model_whatever_it_is_called() -> None:
    [*transcripts] = nodes(graph_of(debate(debater=LOCAL)), "transcripts").values()

    assert {source(node, "base").labels["model"] for node in transcripts} == {"offline-l"}
    assert "model" not in transcripts[0].params["debater"]


def test_server_is_in_the_key_and_a_budget_is_not() -> None:
    plain = said(graph_of(debate(debater=SERVER)))

    assert said(graph_of(debate(debater={**SERVER, "budget_tokens": 10**9}))) == plain
    for other in ({"model": "n"}, {"base_url": "http://127.0.0.1:2/v1"}, {"base_url": "$DEBATER"}):
        assert said(graph_of(debate(debater={**SERVER, **other}))).isdisjoint(plain)


def test_plan_says_whom_it_would_ask_how_much() -> None:
    graph = graph_of(debate(debater=SERVER, n_transcripts=2))

    [line] = asked_elsewhere(list(graph.nodes.values()))

    assert line == "asks m at http://127.0.0.1:1/v1 for 900 turns, of at most 9,000 tokens together"
    assert asked_elsewhere(list(graph_of(debate()).nodes.values())) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"debater": {**LOCAL, "model": "nobody"}},
            "supervisors: debate: debater: unknown model of the ladder 'nobody'",
        ),
        ({"debater": {**SERVER, "budget_tokens": 4_499}}, "budget_tokens is 4,499, but sciq may need 4,500"),
        ({"protocol": "debates"}, "unknown protocol 'debates'"),
        ({"debater": "ofline"}, "unknown kind of debater 'ofline'; did you mean offline"),
        ({"judge": "nobody"}, "unknown model of the ladder 'nobody'"),
    ],
)
def test_mistake_is_one_line(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refusal:
        graph_of(debate(**fields))

    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("protocol", protocol_names())
def test_every_protocol_makes_a_grid(protocol: str) -> None:
    assert len(graph_of(debate(protocol=protocol)).pairs) == 1


def test_judge_before_training_is_asked_with_and_without_each_transcript_if_wanted() -> None:
    plain, asked = graph_of(debate(n_transcripts=2)), graph_of(debate(n_transcripts=2, zero_shot=True))

    prompts = nodes(asked, "prompt")
    assert sorted(source(node, "test").stage for node in prompts.values()) == ["annotate", "annotate", "prepare"]
    assert {source(node, "base").labels["model"] for node in prompts.values()} == {"offline-s"}
    assert {node.stage for id, node in asked.nodes.items() if id not in plain.nodes} == {"prompt", "judge"}
    judges = [node for node in nodes(asked, "judge").values() if source(node, "labels").stage == "prompt"]
    assert sorted("texts" in node.inputs for node in judges) == [False, True, True]
