"""A weak judge, finetuned on truth, who reads what stronger debaters say about each row; students read the rows alone.

After "Debate Helps Weak-to-Strong Generalization" (Lang et al. 2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from artifacts.errors import UsageError
from artifacts.identity.keys import JSON
from flows.plan.cell import Ask, Cell, Labels
from flows.plan.choices import any_of
from flows.plan.graph import FromNode, FromPath, Node
from flows.plan.learners import finetune
from flows.plan.prompts import PromptSpec, prompted
from flows.plan.sizes import n_rows
from flows.plan.supervisors.ensemble import APART, WayChoice
from flows.plan.supervisors.supervisor import SUPERVISORS, Spec, Supervision, Supervisor
from w2s_core.config import Frozen, Name
from w2s_core.debate.debaters.debater import DEBATERS
from w2s_core.debate.debaters.generated import Generated
from w2s_core.debate.protocol import Protocol, Task, read_protocol, task_of
from w2s_core.methods.classes import two
from w2s_core.methods.ensembles import Mean
from w2s_core.registry import unknown_name
from w2s_core.stages import LABELLED

if TYPE_CHECKING:
    DebaterChoice = Frozen
else:
    DebaterChoice = any_of(DEBATERS, "params", "kind")

SPLITS = ("weak_train", *LABELLED)
"""All that a judge reads."""


class DebateSpec(Spec):
    """A finetuned judge who reads transcripts of stronger debaters; several are averaged."""

    cited: ClassVar[str] = "Lang et al. 2025"

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
    zero_shot: bool = Field(
        False, description="Also score the judge before any training, with and without transcripts; a causal LM only."
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
            members.append((labels, _judged(there, cell, labels, spoken["test"], None if is_one else method)))
        if spec.zero_shot:
            method = f"{spec.name}-{number}-zero-shot"
            labels = _untrained(reading, spec, supervisor=spec.name, method=method)._replace(by=spec.name)
            _judged(reading, cell, labels, spoken["test"], method)
    if spec.zero_shot:
        cell.judge(_untrained(cell, spec, supervisor=spec.judge, method="zero-shot"), method="zero-shot")
    if is_one:
        return Supervision(*members[0], reference=plain.score)
    inputs: dict[str, FromNode] = {f"rows_{split}": cell.rows(split) for split in LABELLED}
    for place, (labels, _) in enumerate(members):
        inputs |= {f"{split}.{place}": source for split, source in (labels.given or {}).items()}
    combined = cell.add("combine", {"combine": spec.by.model_dump()}, inputs, supervisor=spec.name)
    labels = cell.labels_of(combined, spec.name)
    return Supervision(labels, cell.judge(labels), reference=plain.score)


def _judged(reading: Cell, cell: Cell, labels: Labels, spoken: Node, method: str | None) -> Node:
    """How good labels are that were given after hearing what was spoken about the test split."""
    assert labels.given is not None
    judged = {"labels": labels.given["test"], "test": cell.rows("test"), "texts": FromNode(spoken, "texts")}
    return reading.add("judge", {}, judged, kind="labels", supervisor=labels.by, method=method, split="test")


def _untrained(cell: Cell, spec: DebateSpec, **about: JSON) -> Labels:
    """What the judge says before any training."""
    where = f"supervisors: {spec.name}: zero_shot"
    return prompted(cell, spec.judge, PromptSpec(k=0), where=where, model=spec.judge, **about)()


def _transcripts(
    cell: Cell, spec: DebateSpec, protocol: Protocol, task: Task, split: str, seed: int, plain: Ask
) -> Node:
    """What is said about the rows of a split; shared by all that differ in what judges read of it."""
    inputs: dict[str, FromNode | FromPath] = {"rows": cell.rows(split)}
    n_turns = spec.n_turns or protocol.n_turns
    params: dict[str, JSON] = {
        # A list, for in a key tables have no order.
        "roles": [{"name": name, **role.model_dump(mode="json")} for name, role in protocol.roles.items()],
        "n_turns": n_turns,
        "task": task.task,
        "claims": list(task.claims),
        "seed": seed,
    }
    more, extra = _of_debater(cell, spec, n_turns)
    if any(role.side == "unchosen" for role in protocol.roles.values()):
        # Of the half that it learned from, too: there, a supervisor labels as if the students learned on it.
        asked = cell.on(split) if split == "weak_train" else cell
        given = plain(asked).given or {}
        inputs["labels"] = given["transfer_train" if split == "weak_train" else split]
    return cell.add("transcripts", params | more, inputs | extra, half=cell.rows(split).output, seed=seed)


def _of_debater(cell: Cell, spec: DebateSpec, n_turns: int) -> tuple[dict[str, JSON], dict[str, FromNode | FromPath]]:
    """What a debater takes: parameters and inputs."""
    settings = spec.debater.model_dump(mode="json")
    kind = DEBATERS.get(settings["kind"])
    params: dict[str, JSON] = {"debater": {k: value for k, value in settings.items() if k not in kind.in_no_key}}
    inputs: dict[str, FromNode | FromPath] = {}
    where = f"supervisors: {spec.name}: debater"
    budget = settings.get("budget_tokens")
    rows = sum(n_rows(cell.prepared.params["data"], split) for split in SPLITS)
    n_tokens = spec.n_transcripts * n_turns * rows * settings.get("max_tokens", 0)
    if budget is not None and n_tokens > budget:
        raise UsageError(
            f"{where}: budget_tokens is {budget:,}, but {cell.dataset} may need {n_tokens:,}; raise it, or lower "
            "max_tokens, n_turns, n_transcripts or the rows of data"
        )
    if "world" in kind.needs:
        source = cell.prepared.params["source"]
        if source["kind"] != "offline":
            raise UsageError(f"{where}: {settings['kind']!r} speaks of generated rows only; choose another kind")
        params["world"] = source["world"]
    if "model" in kind.needs:
        if settings["model"] not in cell.models:
            raise UsageError(f"{where}: {unknown_name('model of the ladder', settings['model'], list(cell.models))}")
        model = cell.models[settings["model"]]
        if model.config.init == "random":
            raise UsageError(f"{where}: {model.config.name!r} starts at random, and has nothing to say; name another")
        about = model.config.model_dump(include={"n_layers", "max_length"})
        params["model"] = {**about, "hub": model.source.hub}
        inputs |= model.base
    return params, inputs


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


SUPERVISORS.register("debate", Supervisor(DebateSpec, build, most_classes=two, reads_text=True))
