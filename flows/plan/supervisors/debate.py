"""A weak judge, finetuned on truth, who reads what stronger debaters say about each row; its students read the rows alone.

Irving et al. 2018 for debate; as a supervisor: "Debate helps weak-to-strong generalization", 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from artifacts.errors import UsageError
from artifacts.identity.keys import JSON
from flows.plan.cell import Ask, Cell, Labels
from flows.plan.choices import any_of
from flows.plan.graph import FromNode, FromPath, Node
from flows.plan.learners import finetune
from flows.plan.supervisors.ensemble import APART, WayChoice
from flows.plan.supervisors.supervisor import SUPERVISORS, Spec, Supervision, Supervisor
from w2s_core.config import Frozen, Name
from w2s_core.debate.debaters import DEBATERS
from w2s_core.debate.generated import Generated
from w2s_core.debate.protocol import Protocol, Task, read_protocol, task_of
from w2s_core.methods.ensembles import Mean
from w2s_core.stages import LABELLED

if TYPE_CHECKING:
    DebaterChoice = Frozen
else:
    DebaterChoice = any_of(DEBATERS, "params", "kind")

SPLITS = ("weak_train", *LABELLED)
"""All that a judge reads."""


class DebateSpec(Spec):
    """A finetuned judge who reads transcripts of stronger debaters; several are averaged."""

    kind: Literal["debate"] = "debate"
    judge: Name = Field(description="Of the ladder.")
    debater: DebaterChoice = Field(Generated(), description="A kind, or a table of its kind and settings.")
    protocol: str = Field("debate", min_length=1, description="A name, or the path of a TOML file.")
    n_turns: int | None = Field(None, ge=1, le=20, description="Default: the protocol's.")
    n_transcripts: int = Field(1, ge=1, le=100, description="Members by seed of the transcripts.")
    n_seeds: int = Field(1, ge=1, le=100, description="Members by seed of the judge's finetuning, on each transcript.")
    by: WayChoice = Field(Mean(), description="How members are combined.")
    transcript_seed: int | None = Field(
        None, ge=0, description="Of the first transcripts, for all seeds of the grid; default: the cell's."
    )
    place: Literal["after", "before"] = Field(
        "after", description="Where the transcript stands; of what is too long, the beginning is cut."
    )

    @field_validator("protocol")
    @classmethod
    def _known(cls, protocol: str) -> str:
        read_protocol(protocol)
        return protocol

    @property
    def members(self) -> tuple[str, ...]:
        """The judge."""
        return (self.judge,)


def build(cell: Cell, spec: DebateSpec) -> Supervision:
    """Measured against the judge who reads no transcripts."""
    protocol, task = read_protocol(spec.protocol), task_of(cell.dataset)
    plain = finetune(cell, spec.judge, cell.truth("weak_train"))
    first = cell.seed if spec.transcript_seed is None else spec.transcript_seed
    is_one = spec.n_transcripts * spec.n_seeds == 1
    members: list[tuple[Labels, Node]] = []
    for number in range(spec.n_transcripts):
        seed = first + APART * number
        spoken = {split: _transcripts(cell, spec, protocol, task, split, seed, plain.labels) for split in SPLITS}
        reading = replace(cell, prepared=_annotated(cell, spec, protocol, task, spoken, seed))
        for k in range(spec.n_seeds):
            there = replace(reading, seed=cell.seed + APART * k)
            method = spec.name if is_one else f"{spec.name}-{number}"
            member = finetune(there, spec.judge, there.truth("weak_train"), method=method)
            labels = member.labels()._replace(by=spec.name)
            assert labels.given is not None
            judged = {"labels": labels.given["test"], "test": cell.rows("test"), "texts": FromNode(spoken["test"], "texts")}
            about: dict[str, JSON] = {"supervisor": spec.name, "method": None if is_one else method}
            members.append((labels, there.add("judge", {}, judged, kind="labels", **about, split="test")))
    if is_one:
        return Supervision(*members[0], reference=plain.score)
    inputs: dict[str, FromNode] = {f"rows_{split}": cell.rows(split) for split in LABELLED}
    for place, (labels, _) in enumerate(members):
        inputs |= {f"{split}.{place}": source for split, source in (labels.given or {}).items()}
    combined = cell.add("combine", {"combine": spec.by.model_dump()}, inputs, supervisor=spec.name)
    labels = cell.labels_of(combined, spec.name)
    return Supervision(labels, cell.judge(labels), reference=plain.score)


def _transcripts(
    cell: Cell, spec: DebateSpec, protocol: Protocol, task: Task, split: str, seed: int, plain: Ask
) -> Node:
    """What is said about the rows of a split; shared by all that differ in what judges read of it."""
    inputs: dict[str, FromNode | FromPath] = {"rows": cell.rows(split)}
    params: dict[str, JSON] = {
        # A list, for in a key tables have no order.
        "roles": [{"name": name, **role.model_dump(mode="json")} for name, role in protocol.roles.items()],
        "n_turns": spec.n_turns or protocol.n_turns,
        "task": task.task,
        "claims": list(task.claims),
        "debater": spec.debater.model_dump(mode="json"),
        "seed": seed,
    }
    more, extra = _of_debater(cell, spec)
    if any(role.side == "unchosen" for role in protocol.roles.values()):
        # Of the half that it learned from, too: there, a supervisor labels as if the students learned on it.
        asked = cell.on(split) if split == "weak_train" else cell
        given = plain(asked).given or {}
        inputs["labels"] = given["transfer_train" if split == "weak_train" else split]
    return cell.add("transcripts", params | more, inputs | extra, half=cell.rows(split).output, seed=seed)


def _of_debater(cell: Cell, spec: DebateSpec) -> tuple[dict[str, JSON], dict[str, FromNode | FromPath]]:
    """What a debater takes besides its settings: parameters and inputs."""
    if isinstance(spec.debater, Generated):
        source = cell.prepared.params["source"]
        if source["kind"] != "offline":
            raise UsageError(f"supervisors: {spec.name}: the debater 'offline' speaks of generated rows only")
        return {"world": source["world"]}, {}
    return {}, {}


def _annotated(
    cell: Cell, spec: DebateSpec, protocol: Protocol, task: Task, spoken: Mapping[str, Node], seed: int
) -> Node:
    """All rows with what the judge reads; named as those of ``prepare``, so that they can stand for them."""
    names = {split: cell.rows(split).output for split in spoken}
    inputs = {f"rows.{name}": cell.rows(split) for split, name in names.items()}
    inputs |= {f"texts.{name}": FromNode(spoken[split], "texts") for split, name in names.items()}
    params: dict[str, JSON] = {
        "splits": list(names.values()),
        "hearing": protocol.hearing.model_dump(mode="json"),
        "claims": list(task.claims),
        "place": spec.place,
    }
    return cell.add("annotate", params, inputs, supervisor=spec.name, seed=seed)


SUPERVISORS.register("debate", Supervisor(DebateSpec, build))
