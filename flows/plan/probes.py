"""The learner ``probe``: logistic regression on frozen features of the strong model (Burns et al. 2023, 5.2.3).

Which nodes that takes. Features of a model are extracted once, whoever fits probes on them; the fit is in
``w2s_core.methods.probes``. The ceiling of a probe is one with the truth for labels on the features of the same model:
for features of the weakly finetuned model that is the paper's "finetune on weak labels, then probe with truth".
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from artifacts.identity.keys import JSON
from flows.plan.cell import Answers, Cell, Labels
from flows.plan.features import Seen, extracted, untrained
from flows.plan.graph import FromNode
from flows.plan.learners import LEARNERS, Learn, Learner, Lesson, train
from w2s_core.config import LAST_LAYER, Layer
from w2s_core.methods.probes import L2
from w2s_core.stages import LABELLED


class ProbeSpec(Learn):
    """Logistic regression on features of the model: its hidden states of each text, as its head would get them."""

    cited: ClassVar[str] = "Burns et al. 2023, section 5.2.3"

    kind: Literal["probe"] = "probe"
    features: Literal["base", "weak", "truth"] = Field(
        "base",
        description="Of the model as it is; finetuned on the same labels, with the method's loss; or finetuned on the "
        "truth of the same rows: an oracle, and named so.",
    )
    layer: Layer = Field(LAST_LAYER, description="Whose hidden states they are.")
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


def _seen(lesson: Lesson, spec: ProbeSpec) -> Seen:
    cell, name = lesson.cell, lesson.name
    if spec.features == "base":
        return untrained(cell, name)
    if spec.features == "truth":
        truth = cell.truth("transfer_train")
        about: dict[str, JSON] = {"model": name, "half": cell.rows(truth.half).output}
        return Seen({}, {"model": train(cell, name, truth)}, cell.seed, about)
    trained = train(cell, name, lesson.labels, lesson.loss, stop=lesson.stop, stops=lesson.stops, method=lesson.method)
    about = {"model": name, "supervisor": lesson.labels.by, "method": lesson.method}
    return Seen({}, {"model": trained}, cell.seed, about)


def _fit(lesson: Lesson, spec: ProbeSpec, labels: Labels) -> Answers:
    """A probe on these labels, with features as the lesson's student has them."""
    cell, seen = lesson.cell, _seen(lesson, spec)
    features = extracted(cell, seen, spec.layer, *LABELLED)
    params: dict[str, JSON] = {"l2": list(spec.l2)}
    # The other half has a node of its own, so that no other probe depends on where this one is fitted.
    of_half = features if labels.half in features else extracted(cell, seen, spec.layer, labels.half)
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
        seen_there = {
            f"features.{split}": source for split, source in extracted(there, seen, spec.layer, *LABELLED).items()
        }
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
