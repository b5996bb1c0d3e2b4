"""How a model learns from labels: supervisors, students and ceilings alike.

``LEARNERS`` are the ways that a method may name as ``learn``; those that do more than finetune have files of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from artifacts.identity.keys import JSON
from flows.plan.cell import Answers, Cell, Labels, Model
from flows.plan.features import extracted, untrained
from flows.plan.graph import FromNode
from w2s_core.config import Frozen
from w2s_core.methods.losses import Xent
from w2s_core.methods.stopping import FINAL
from w2s_core.methods.treatments import TREATMENTS, OfFeatures
from w2s_core.registry import Registry
from w2s_core.stages import LABELLED, TREATED, model_output

MODEL_PARAMS = (
    "init", "n_layers", "size", "lr", "precision", "max_length", "pooling", "head", "lora",
)  # fmt: skip
"""Fields of a ModelConfig that decide what a training makes; the others only say where weights come from."""

PLAIN = Xent()
"""The loss of supervisors and ceilings."""


class Recipes:
    """The parameters of trainings; the same object where they are the same.

    Args:
        training: what all trainings of a grid share.
        lr_scale: multiplies the learning rate of each model.
    """

    def __init__(self, training: Mapping[str, JSON], lr_scale: float) -> None:
        self._training = training
        self._lr_scale = lr_scale
        self._known: dict[tuple[Any, ...], dict[str, JSON]] = {}

    def recipe(
        self, asked: Mapping[str, JSON], seed: int, model: Model, loss: Frozen, stops: Sequence[Frozen]
    ) -> Mapping[str, JSON]:
        """The parameters of one training."""
        rules = tuple(stop.model_dump_json() for stop in stops)
        # One of a name may have been adapted, and comes from elsewhere then.
        about = tuple(asked.values()), seed, model.config.name, model.source.kind, loss.model_dump_json(), rules
        if about not in self._known:
            spec = model.config.model_dump(include=set(MODEL_PARAMS))
            self._known[about] = {
                **asked,
                "model": {**spec, "lr": spec["lr"] * self._lr_scale, "hub": model.source.hub},
                "training": self._training,
                "loss": loss.model_dump(),
                "seed": seed,
                "stop": [stop.model_dump() for stop in stops],
            }
        return self._known[about]


class Learn(Frozen):
    """What a method says of how a student learns; each learner adds fields, ``kind`` tells it from the others."""

    kind: str

    @property
    def trains(self) -> bool:
        """Whether a model is trained on the labels, so that the method's loss and stopping rule count."""
        return True

    @property
    def is_oracle(self) -> bool:
        """Whether it sees a truth which nobody has; then the method's name says so."""
        return False


class Lesson(NamedTuple):
    """What a method has a strong model learn, in one cell."""

    cell: Cell
    name: str
    """Of the model."""
    labels: Labels
    """The supervisor's, treated."""
    truth: Labels
    """What its ceiling learns from."""
    loss: Frozen
    stop: Frozen
    stops: Sequence[Frozen]
    """All that the training is to give."""
    method: str


class Learner(NamedTuple):
    """A way to learn."""

    spec: type[Learn]
    student: Callable[[Lesson, Any], Answers]
    """Learns from the labels."""
    ceiling: Callable[[Lesson, Any], Answers] | None = None
    """The same with the truth for labels; None: a finetuned model, whatever the method."""
    reads_text: bool = False
    """Whether examples have to be texts."""
    needs_classes: bool = True
    """Whether labels have to be probabilities of classes; else they may be texts."""


LEARNERS: Registry[Learner] = Registry(
    "learner", param="learn.kind", modules=("flows.plan.learners", "flows.plan.probes", "flows.plan.prompts")
)


class Finetune(Learn):
    """All weights of the model are trained on the labels."""

    kind: Literal["finetune"] = "finetune"


def train(
    cell: Cell,
    name: str,
    labels: Labels,
    loss: Frozen = PLAIN,
    *,
    stop: Frozen = FINAL,
    stops: Sequence[Frozen] = (FINAL,),
    **called: JSON,
) -> FromNode:
    """Train all of a model on labels; gives its weights.

    Args:
        name: of the model.
        labels: what it learns from.
        loss: the loss and its parameters.
        stop: which weights of the training it is about.
        stops: all that the training is to give.
        called: what else tables call it.
    """
    model = cell.models[name]
    params = cell.recipe(cell.asked, cell.seed, model, loss, stops)
    rows = cell.rows(labels.half)
    inputs = {**model.base, "train": rows, "validation": cell.rows("validation")}
    about: dict[str, JSON] = {"model": name, "half": rows.output}
    stage = "train_gt"
    if labels.given is not None:
        stage = "train_w2s"
        inputs |= {"labels": labels.given["transfer_train"], "validation_labels": labels.given["validation"]}
        about |= {"supervisor": labels.by}
    training = cell.add(stage, params, inputs, n_devices=model.config.devices, **about, **called)
    return FromNode(training, model_output(stop.model_dump()))


def finetune(
    cell: Cell,
    name: str,
    labels: Labels,
    loss: Frozen = PLAIN,
    *,
    stop: Frozen = FINAL,
    stops: Sequence[Frozen] = (FINAL,),
    **called: JSON,
) -> Answers:
    """Train all of a model on labels, and ask it; takes what ``train`` does."""
    trained = train(cell, name, labels, loss, stop=stop, stops=stops, **called)
    kind = "gt"
    about: dict[str, JSON] = {"model": name, "half": cell.rows(labels.half).output, **called}
    if labels.given is not None:
        kind = "w2s"
        about |= {"supervisor": labels.by}
    scored = {"kind": kind, **about, "supervisor": labels.by, "method": about.get("method"), "seed": cell.seed}
    score = cell.add("score", cell.asked, {"model": trained, "test": cell.rows("test")}, **scored, split="test")

    def own_labels(of: Cell | None = None) -> Labels:
        there = of or cell
        rows = {split: there.rows(split) for split in LABELLED}
        node = there.add("weak_labels", cell.asked, {"model": trained, **rows}, model=name, **called)
        return there.labels_of(node, by=name)

    return Answers(score, own_labels)


def treated(cell: Cell, labels: Labels, treatments: Sequence[Frozen], strong: str) -> Labels:
    """Labels after treatments, in their order; ``strong`` is the model whose features some of them look at."""
    for treatment in treatments:
        assert labels.given is not None
        seen = {split: labels.given[split] for split in TREATED}
        # Which layer it was is in the features.
        params = {"treatment": treatment.model_dump(exclude={"layer"})}
        entry = TREATMENTS.get(params["treatment"]["kind"])
        inputs = seen if entry.truth_of is None else {**seen, "truth": cell.rows(entry.truth_of)}
        about: dict[str, JSON] = {"supervisor": labels.by, "method": params["treatment"]["kind"]}
        if isinstance(treatment, OfFeatures):
            # As a probe asks for them, so that they are extracted once.
            vectors = extracted(cell, untrained(cell, strong), treatment.layer, *LABELLED)
            inputs = {**inputs, **{f"features.{split}": vectors[split] for split in TREATED}}
            about["model"] = strong
        node = cell.add("treat", params, inputs, **about)
        labels = labels._replace(given={split: FromNode(node, split) for split in seen})
    return labels


def _student(lesson: Lesson, spec: Finetune) -> Answers:
    return finetune(
        lesson.cell,
        lesson.name,
        lesson.labels,
        lesson.loss,
        stop=lesson.stop,
        stops=lesson.stops,
        method=lesson.method,
    )


LEARNERS.register("finetune", Learner(Finetune, _student, needs_classes=False))
