"""The learner ``prompt``: the strong model is shown examples with weak labels, and is not trained (Burns et al. 2023,
section 5.2.1).

Its ceiling is shown examples with the truth. With no examples at all (zero-shot) there is nothing to learn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from artifacts.errors import UsageError
from artifacts.identity.keys import JSON
from flows.plan.cell import Answers, Ask, Cell, Labels
from flows.plan.graph import FromNode
from flows.plan.learners import LEARNERS, Learn, Learner, Lesson, finetune
from w2s_core.methods.prompting import PHRASES, Phrase
from w2s_core.stages import LABELLED


class PromptSpec(Learn):
    """Answers by a language model that is shown examples in its prompt, and is not trained; where these are texts, as
    they are: calibrate, cue and answers are for classes."""

    cited: ClassVar[str] = "Burns et al. 2023, section 5.2.1"

    kind: Literal["prompt"] = "prompt"
    k: int = Field(4, ge=0, multiple_of=2, description="Examples shown, as many of each class; 0: none.")
    draws: int = Field(3, ge=1, description="Draws of examples, over which probabilities are averaged.")
    calibrate: bool = Field(True, description="Less what the model says of a text without content.")
    cue: str | None = Field(None, min_length=1, description="After each text; default: the dataset's.")
    answers: tuple[Annotated[str, Field(min_length=1)], Annotated[str, Field(min_length=1)]] | None = Field(
        None,
        description="Of class 0 and class 1; default: the dataset's, else No and Yes; 0 and 1 where a tokenizer has no "
        "such words.",
    )

    @property
    def trains(self) -> bool:
        """Nothing is trained."""
        return False


def prompted(
    cell: Cell,
    name: str,
    spec: PromptSpec,
    shown: Mapping[str, FromNode] = MappingProxyType({}),
    *,
    where: str = "methods",
    **about: JSON,
) -> Ask:
    """Ask a model that is not trained.

    Args:
        cell: where it is asked.
        name: of the model.
        spec: how it is asked.
        shown: the rows, and the labels, of which it is shown examples; nothing, where it is shown none.
        where: in the grid it was asked for; begins an error.
        about: what else tables call it.

    Raises:
        UsageError: the model is not pretrained.
    """
    model = cell.models[name]
    if model.config.init == "random":
        raise UsageError(
            f"{where}: {name!r} starts at random, and answers no prompts; leave the method or the model out"
        )
    phrase = PHRASES.get(cell.dataset, Phrase())
    asked = {
        "cue": spec.cue or phrase.cue,
        "answers": [list(pair) for pair in ((spec.answers,) if spec.answers else phrase.answers)],
    }
    params: dict[str, JSON] = {
        "model": {
            "n_layers": model.config.n_layers,
            "max_length": model.config.max_length,
            "hub": model.source.hub,
        },
        "prompt": {**spec.model_dump(exclude={"kind"}), **asked},
        "seed": cell.seed,
    }

    def own_labels(of: Cell | None = None) -> Labels:
        there = of or cell
        rows = {split: there.rows(split) for split in LABELLED}
        return there.labels_of(there.add("prompt", params, {**model.base, **shown, **rows}, **about), by=name)

    return own_labels


def _asked(lesson: Lesson, spec: PromptSpec, labels: Labels) -> Answers:
    cell = lesson.cell
    shown = {"train": cell.rows(labels.half)} if spec.k else {}
    kind, by, method = "gt", None, f"{lesson.method}-ceiling"
    if labels.given is not None:
        kind, by, method = "w2s", labels.by, lesson.method
        shown |= {"labels": labels.given["transfer_train"]} if spec.k else {}
    about: dict[str, JSON] = {
        "model": lesson.name, "half": cell.rows(labels.half).output, "supervisor": by, "method": method,
    }  # fmt: skip
    own_labels = prompted(cell, lesson.name, spec, shown, **about)
    given = own_labels().given
    assert given is not None
    judged = {"labels": given["test"], "test": cell.rows("test")}
    return Answers(cell.add("judge", {}, judged, kind=kind, **about, split="test"), own_labels)


def student(lesson: Lesson, spec: PromptSpec) -> Answers:
    """Shown examples with the supervisor's labels."""
    return _asked(lesson, spec, lesson.labels)


def ceiling(lesson: Lesson, spec: PromptSpec) -> Answers:
    """Shown examples with the truth; who is shown none is compared with the finetuned ceiling alone."""
    return _asked(lesson, spec, lesson.truth) if spec.k else finetune(lesson.cell, lesson.name, lesson.truth)


LEARNERS.register("prompt", Learner(PromptSpec, student, ceiling, reads_text=True, needs_classes=False))
