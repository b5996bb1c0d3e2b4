"""How a model learns from labels: supervisors, students and ceilings alike."""

from __future__ import annotations

from collections.abc import Sequence

from artifacts.identity.keys import JSON
from flows.plan.cell import Answers, Cell, Labels, ModelSource
from flows.plan.graph import FromNode
from w2s_core.config import Frozen, ModelConfig
from w2s_core.methods.losses import Xent
from w2s_core.stages import LABELLED, TREATED

MODEL_PARAMS = (
    "init", "n_layers", "size", "lr", "precision", "max_length", "pooling", "head", "lora",
)  # fmt: skip
"""Fields of a ModelConfig that decide what a training makes; the others only say where weights come from."""

PLAIN = Xent()
"""The loss of supervisors and ceilings."""


def model_params(config: ModelConfig, source: ModelSource, lr_scale: float) -> dict[str, JSON]:
    """The parameter ``model`` of the trainings of a model."""
    spec = config.model_dump(include=set(MODEL_PARAMS))
    return {**spec, "lr": spec["lr"] * lr_scale, "hub": source.hub}


def finetune(cell: Cell, name: str, labels: Labels, loss: Frozen = PLAIN, **called: JSON) -> Answers:
    """Train all of a model on labels.

    Args:
        name: of the model.
        labels: what it learns from.
        loss: the loss and its parameters.
        called: what else tables call it.
    """
    model = cell.models[name]
    params = {
        "setting": cell.setting,
        "model": model.params,
        "training": cell.training,
        "loss": loss.model_dump(),
        "seed": cell.seed,
    }
    inputs = {**model.base, "train": cell.rows(labels.half), "validation": cell.rows("validation")}
    about: dict[str, JSON] = {"model": name, "half": labels.half}
    stage, kind = "train_gt", "gt"
    if labels.given is not None:
        stage, kind = "train_w2s", "w2s"
        inputs |= {"labels": labels.given["transfer_train"], "validation_labels": labels.given["validation"]}
        about |= {"supervisor": labels.by, **called}
    trained = FromNode(cell.add(stage, params, inputs, n_devices=model.config.devices, **about), "model")
    asked = {"setting": cell.setting}
    scored = {"kind": kind, **about, "supervisor": labels.by, "method": about.get("method"), "seed": cell.seed}
    score = cell.add("score", asked, {"model": trained, "test": cell.rows("test")}, **scored, split="test")

    def own_labels() -> Labels:
        rows = {split: cell.rows(split) for split in LABELLED}
        return cell.labels_of(cell.add("weak_labels", asked, {"model": trained, **rows}, model=name), by=name)

    return Answers(score, own_labels)


def treated(cell: Cell, labels: Labels, treatments: Sequence[Frozen]) -> Labels:
    """Labels after treatments, in their order."""
    for treatment in treatments:
        assert labels.given is not None
        seen = {split: labels.given[split] for split in TREATED}
        params = {"treatment": treatment.model_dump()}
        node = cell.add("treat", params, seen, supervisor=labels.by, method=params["treatment"]["kind"])
        labels = labels._replace(given={split: FromNode(node, split) for split in seen})
    return labels
