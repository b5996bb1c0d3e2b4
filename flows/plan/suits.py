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
from w2s_core.methods.losses import LOSSES
from w2s_core.methods.treatments import TREATMENTS


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
