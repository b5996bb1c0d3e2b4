"""Whether what a grid asks for can be had on its datasets: by what they show, and how many classes they have.

By declared properties alone: nothing here knows a setting, a loss or a learner by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from artifacts.errors import UsageError
from flows.plan.build import DataSource
from flows.plan.grid import GridConfig, MethodConfig
from flows.plan.learners import LEARNERS
from flows.plan.supervisors.supervisor import SUPERVISORS
from w2s_core.config import ModelConfig
from w2s_core.methods.losses import LOSSES, OnLabels
from w2s_core.methods.treatments import TREATMENTS


def require_no_classes(
    config: GridConfig, methods: list[MethodConfig], pairs: list[tuple[str, str]], dataset: str
) -> None:
    """Refuse what needs probabilities of classes; the answers of ``dataset`` are texts.

    Raises:
        UsageError: there is some.
    """

    def refuse(field: str, what: str) -> None:
        raise UsageError(
            f"{field}: {what} needs probabilities of classes, and the answers of {dataset!r} are texts; leave one of "
            "them out"
        )

    for method in methods:
        loss = method.loss
        if LOSSES.get(loss.model_dump()["loss"]).needs == "probabilities":
            refuse("methods", f"{method.name!r}: the loss {loss.model_dump()['loss']!r}")
        if isinstance(loss, OnLabels) and loss.changes_labels:
            refuse("methods", f"{method.name!r}: smoothing or balance_batch of its loss")
        if method.labels:
            refuse("methods", f"{method.name!r}: the label treatment {method.labels[0].model_dump()['kind']!r}")
        if LEARNERS.get(method.learn.kind).needs_classes:
            refuse("methods", f"{method.name!r}: the learner {method.learn.kind!r}")
    if config.salience:
        refuse("salience", "it")
    used = {weak for weak, _ in pairs}
    for spec in config.supervisors:
        if spec.name in used and SUPERVISORS.get(spec.kind).needs_classes:
            refuse("supervisors", f"{spec.name!r}, of the kind {spec.kind!r},")


def require_suited(
    config: GridConfig, models: Sequence[ModelConfig], methods: Sequence[MethodConfig], data: Mapping[str, DataSource]
) -> None:
    """Refuse what no dataset of its kind can give.

    Raises:
        UsageError: one line that names the field and the dataset.
    """
    for dataset, source in data.items():
        for model in models:
            if model.reads is not None and model.reads != source.shows:
                raise UsageError(
                    f"models: {model.name!r} reads {model.reads}, and {dataset} shows {source.shows}; choose models "
                    "that read them, or another dataset"
                )
        for method in methods:
            where = f"methods: {method.name!r}"
            if LEARNERS.get(method.learn.kind).reads_text and source.shows != "text":
                raise UsageError(f"{where} asks a language model in words, and {dataset} shows {source.shows}")
            if method.adapt is not None and source.shows != "text":
                raise UsageError(f"{where} adapts a language model to texts, and {dataset} shows {source.shows}")
            loss = LOSSES.get(method.loss.model_dump()["loss"])
            _require_few(f"{where}: its loss", loss.most_classes(method.loss), dataset, source.n_classes)
            for treatment in method.labels:
                name = treatment.model_dump()["kind"]
                most = TREATMENTS.get(name).most_classes(treatment)
                _require_few(f"{where}: {name}", most, dataset, source.n_classes)
        if config.salience:
            _require_few("salience", 2, dataset, source.n_classes)
        for spec in config.supervisors:
            kind, where = SUPERVISORS.get(spec.kind), f"supervisors: {spec.name!r}"
            _require_few(where, kind.most_classes(spec), dataset, source.n_classes)
            if kind.reads_text and source.shows != "text":
                raise UsageError(f"{where} is made from what texts say, and {dataset} shows {source.shows}")


def _require_few(what: str, most: int | None, dataset: str, n_classes: int) -> None:
    if most is not None and n_classes > most:
        raise UsageError(
            f"{what}, as it stands, is for at most {most} classes, and {dataset} has {n_classes}; change its settings "
            "or leave it out"
        )
