"""The learner ``probe``: logistic regression on frozen features of the strong model (Burns et al. 2023, 5.2.3).

Which nodes that takes. Features of a model are extracted once, whoever fits probes on them; the fit is in
``w2s_core.methods.probes``. The ceiling of a probe is one with the truth for labels on the features of the same model:
for features of the weakly finetuned model that is the paper's "finetune on weak labels, then probe with truth".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from artifacts.identity.keys import JSON
from flows.plan.cell import Answers, Cell, Labels
from flows.plan.graph import FromNode, FromPath
from flows.plan.learners import LEARNERS, Learn, Learner, Lesson, train
from w2s_core.methods.probes import L2
from w2s_core.stages import LABELLED

BASE_PARAMS = ("init", "n_layers", "size", "precision", "max_length", "pooling")
"""Fields of a ModelConfig that decide the features of a model that is not finetuned."""


class ProbeSpec(Learn):
    """Logistic regression on features of the model, which are what its head would get of each text."""

    kind: Literal["probe"] = "probe"
    features: Literal["base", "weak", "truth"] = Field(
        "base",
        description="Of the model as it is; finetuned on the same labels, with the method's loss; or finetuned on the "
        "truth of the same rows: an oracle, and named so.",
    )
    l2: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        L2, min_length=1, description="Penalties to choose from, by the loss on validation's labels of the same kind."
    )

    @property
    def trains(self) -> bool:
        """Only where the features are of the model that learns."""
        return self.features == "weak"

    @property
    def is_oracle(self) -> bool:
        """Its features may know the truth of the rows whose weak labels it sees."""
        return self.features == "truth"


class _Seen(NamedTuple):
    """A model whose features are wanted."""

    params: Mapping[str, JSON]
    inputs: Mapping[str, FromNode | FromPath]
    seed: int | None
    """None: the same for all seeds."""
    about: Mapping[str, JSON]


def _seen(lesson: Lesson, spec: ProbeSpec) -> _Seen:
    cell, name = lesson.cell, lesson.name
    if spec.features == "base":
        model = cell.models[name]
        params: dict[str, JSON] = {
            "model": {**model.config.model_dump(include=set(BASE_PARAMS)), "hub": model.source.hub}
        }
        seed = cell.seed if model.config.init == "random" else None
        if seed is not None:
            params["seed"] = seed
        return _Seen(params, model.base, seed, {"model": name})
    if spec.features == "truth":
        truth = cell.truth("transfer_train")
        return _Seen(
            {}, {"model": train(cell, name, truth)}, cell.seed, {"model": name, "half": cell.rows(truth.half).output}
        )
    trained = train(cell, name, lesson.labels, lesson.loss, stop=lesson.stop, stops=lesson.stops, method=lesson.method)
    about: dict[str, JSON] = {"model": name, "supervisor": lesson.labels.by, "method": lesson.method}
    return _Seen({}, {"model": trained}, cell.seed, about)


def _features(cell: Cell, seen: _Seen, *splits: str) -> dict[str, FromNode]:
    """The features of some splits; those of one node are asked for together."""
    params = {**cell.asked, **seen.params, "splits": list(splits)}
    inputs = {**seen.inputs, **{split: cell.rows(split) for split in splits}}
    node = cell.add("features", params, inputs, seed=seen.seed, **seen.about)
    return {split: FromNode(node, split) for split in splits}


def _fit(lesson: Lesson, spec: ProbeSpec, labels: Labels) -> Answers:
    """A probe on these labels, with features as the lesson's student has them."""
    cell, seen = lesson.cell, _seen(lesson, spec)
    features = _features(cell, seen, *LABELLED)
    params: dict[str, JSON] = {"l2": list(spec.l2)}
    # The other half has a node of its own, so that no other probe depends on where this one is fitted.
    of_half = features if labels.half in features else _features(cell, seen, labels.half)
    inputs: dict[str, FromNode] = {
        "train": cell.rows(labels.half),
        "validation": cell.rows("validation"),
        "features.train": of_half[labels.half],
    }
    # The truth is the same for all supervisors and, mostly, for all seeds.
    kind, seed, by, method = "gt", seen.seed, seen.about.get("supervisor"), f"{lesson.method}-ceiling"
    if labels.given is not None:
        kind, seed, by, method = "w2s", cell.seed, labels.by, lesson.method
        inputs |= {"labels": labels.given["transfer_train"], "validation_labels": labels.given["validation"]}
    about: dict[str, JSON] = {
        "model": lesson.name, "half": cell.rows(labels.half).output, "supervisor": by, "method": method, "seed": seed,
    }  # fmt: skip

    def own_labels(of: Cell | None = None) -> Labels:
        there = of or cell
        seen_there = {f"features.{split}": source for split, source in _features(there, seen, *LABELLED).items()}
        return there.labels_of(there.add("fit_probe", params, inputs | seen_there, **about), by=lesson.name)

    given = own_labels().given
    assert given is not None
    judged = {"labels": given["test"], "test": cell.rows("test")}
    score = cell.add("judge", {}, judged, kind=kind, **about, split="test")
    return Answers(score, own_labels)


def student(lesson: Lesson, spec: ProbeSpec) -> Answers:
    """Fitted on the supervisor's labels."""
    return _fit(lesson, spec, lesson.labels)


def ceiling(lesson: Lesson, spec: ProbeSpec) -> Answers:
    """Fitted on the truth, on features of the same model."""
    return _fit(lesson, spec, lesson.truth)


LEARNERS.register("probe", Learner(ProbeSpec, student, ceiling))
