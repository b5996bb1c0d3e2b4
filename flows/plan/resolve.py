"""Checks every name in a grid and finds where its data and weights come from; the result is a graph of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from artifacts.errors import UsageError
from artifacts.identity.keys import JSON
from flows.plan.build import DataSource, build_graph
from flows.plan.cell import ModelSource
from flows.plan.graph import Graph
from flows.plan.grid import GridConfig, MethodConfig
from flows.plan.probes import ProbeSpec
from flows.plan.prompts import PromptSpec
from flows.plan.suits import require_no_classes, require_suited
from flows.plan.supervisors.supervisor import Spec
from w2s_core.config import GENERATED_CLASSES, AdaptConfig, ModelConfig
from w2s_core.data.cards import other_classes
from w2s_core.data.class_folders import classes_of_source, label_column
from w2s_core.data.datasets import DATASETS, Dataset
from w2s_core.data.hub import CONVERTED, NotOnHubError, cached_file, resolve_hub
from w2s_core.data.layouts import dataset_folder, folder_files
from w2s_core.errors import DataError
from w2s_core.methods.losses import LOSSES
from w2s_core.methods.stopping import FINAL, STOPS
from w2s_core.methods.treatments import TREATMENTS
from w2s_core.models.catalog import LADDERS, MODELS
from w2s_core.models.families import check_family
from w2s_core.registry import UnknownNameError, unknown_name

METHODS: dict[str, MethodConfig] = {
    **{name: MethodConfig(name=name, loss=LOSSES.get(name).params()) for name in LOSSES},
    **{name: MethodConfig(name=name, labels=(TREATMENTS.get(name).params(),)) for name in TREATMENTS},
    **{name: MethodConfig(name=name, stop=STOPS.get(name).params()) for name in STOPS if name != FINAL.rule},
    "probe": MethodConfig(name="probe", learn=ProbeSpec()),
    "prompt": MethodConfig(name="prompt", learn=PromptSpec()),
    "zero_shot": MethodConfig(name="zero_shot", learn=PromptSpec(k=0)),
    "adapted": MethodConfig(name="adapted", adapt=AdaptConfig()),
}
"""Methods that a grid may name: each loss, naive finetuning after each treatment or stopped by each rule, a probe,
prompts, and naive finetuning of a model that has learned the task's texts.

Others are given as a table.
"""


SHARDED_OPTIMIZERS = ("adamw",)
"""Those that work on weights of which every device has a share; the others mix them with tensors of their own."""


ORACLE = "oracle"
"""In the name of every method that sees a truth which nobody has."""


RENAME = "give one of them another name"


class Resolved(NamedTuple):
    """A grid with its names looked up."""

    graph: Graph
    models: list[ModelConfig]
    revisions: dict[str, str]
    """``"<dataset or model> <hub id>@<revision>"`` to the commit that it stood for."""


def resolve(config: GridConfig, revisions: Mapping[str, str], *, update: bool = False) -> Resolved:
    """Look everything up.

    Args:
        config: the grid.
        revisions: commits recorded by earlier runs of the grid.
        update: ask the Hub again for every revision, instead of using recorded commits.

    Raises:
        UsageError: an unknown name, an impossible pair, a folder without the data; one line naming the field.
    """
    recorded = Revisions({} if update else revisions)
    for field, values in {"datasets": config.datasets, "seeds": config.seeds}.items():
        _refuse_repeated(field, list(values), "once is enough")
    models = resolve_models(config)
    methods = resolve_methods(config)
    pairs = resolve_pairs(config, [model.name for model in models])
    data = {name: _data_source(config, name, recorded) for name in config.datasets}
    if texts := [name for name in config.datasets if DATASETS.get(name).form is not None]:
        require_no_classes(config, methods, pairs, texts[0])
    weights = {model.name: _model_source(model, recorded) for model in models}
    require_suited(config, models, methods, data)
    graph = build_graph(config, models, methods, pairs, data, weights)
    return Resolved(graph, models, recorded.used)


def resolve_audits(config: GridConfig, revisions: Mapping[str, str], *, with_models: bool) -> Graph:
    """The audits of a grid's datasets, and no other node.

    Args:
        config: the grid; of its models only the tokenizers are read.
        revisions: commits recorded earlier.
        with_models: whether texts are also measured in tokens.

    Raises:
        UsageError: as ``resolve``.
    """
    recorded = Revisions(revisions)
    models = resolve_models(config) if with_models else []
    data = {name: _data_source(config, name, recorded) for name in config.datasets}
    weights = {model.name: _model_source(model, recorded) for model in models}
    whole = build_graph(config, models, [], [], data, weights)
    return Graph({id: node for id, node in whole.nodes.items() if node.stage == "audit"})


class Revisions:
    """Commits of Hub revisions: those recorded, and those asked for now."""

    def __init__(self, recorded: Mapping[str, str]) -> None:
        self._recorded = recorded
        self.used: dict[str, str] = {}

    def commit(self, kind: str, id: str, revision: str) -> str:
        """The commit of ``revision`` of the Hub repository ``id``; ``kind`` is ``"dataset"`` or ``"model"``."""
        name = _revision_name(kind, id, revision)
        if name not in self.used:
            self.used[name] = self._recorded.get(name) or resolve_hub(id, revision, kind)
        return self.used[name]

    def has(self, kind: str, id: str, revision: str) -> bool:
        """Whether the commit is known without asking the Hub."""
        name = _revision_name(kind, id, revision)
        return name in self.used or name in self._recorded


def _revision_name(kind: str, id: str, revision: str) -> str:
    return f"{kind} {id}@{revision}"


def resolve_models(config: GridConfig) -> list[ModelConfig]:
    """The ladder, weakest first."""
    if isinstance(config.models, str):
        if config.models not in LADDERS:
            raise UsageError("models: " + unknown_name("ladder", config.models, list(LADDERS)))
        names: tuple[str | ModelConfig, ...] = LADDERS[config.models]
    else:
        names = config.models
    models = [_named(MODELS, "models", "model", name) for name in names]
    _refuse_repeated("models", [model.name for model in models], RENAME)
    if len(models) < 2 and not config.self_training:
        raise UsageError("models: a ladder needs at least two models, weakest first")
    for model in models:
        if model.devices > 1 and config.training.optimizer not in SHARDED_OPTIMIZERS:
            raise UsageError(
                f"training.optimizer: {config.training.optimizer} cannot train {model.name!r} on {model.devices} "
                f"devices together; choose {' or '.join(SHARDED_OPTIMIZERS)}, or set its devices to 1"
            )
    return models


def resolve_methods(config: GridConfig) -> list[MethodConfig]:
    """The methods with all their parameters; those that see the truth have a name that says so."""
    methods = [_marked(_named(METHODS, "methods", "method", name)) for name in config.methods]
    _refuse_repeated("methods", [method.name for method in methods], RENAME)
    return methods


def _marked(method: MethodConfig) -> MethodConfig:
    treatments = [TREATMENTS.get(treatment.model_dump()["kind"]) for treatment in method.labels]
    stop = STOPS.get(method.stop.model_dump()["rule"])
    is_oracle = stop.is_oracle or method.learn.is_oracle or any(t.is_oracle for t in treatments)
    return (
        method
        if not is_oracle or ORACLE in method.name
        else method.model_copy(update={"name": f"{method.name}-{ORACLE}"})
    )


Named = TypeVar("Named", MethodConfig, ModelConfig)


def _named(known: Mapping[str, Named], field: str, kind: str, name: str | Named) -> Named:
    if not isinstance(name, str):
        return name
    if name not in known:
        raise UsageError(f"{field}: {unknown_name(kind, name, list(known))}")
    return known[name]


def _refuse_repeated(field: str, values: list[Any], instead: str) -> None:
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise UsageError(f"{field}: {repeated[0]!r} stands there twice; {instead}")


def resolve_pairs(config: GridConfig, ladder: list[str]) -> list[tuple[str, str]]:
    """(supervisor, strong) pairs: weaker means earlier in the ladder, for a supervisor than all of its members."""
    _refuse_repeated("supervisors", [*ladder, *(spec.name for spec in config.supervisors)], RENAME)
    specs = {spec.name: spec for spec in config.supervisors}
    others = {name: _place(spec, specs, ladder) for name, spec in specs.items()}
    if config.pairs == "all":
        pairs = [(w, s) for i, w in enumerate(ladder) for s in ladder[i + 1 :]]
        pairs += [(name, strong) for name, place in others.items() for strong in ladder[place.n_below :]]
    else:
        pairs = list(config.pairs)
        _refuse_repeated("pairs", pairs, "once is enough")
    for weak, strong in pairs:
        for name, known in (weak, [*ladder, *others]), (strong, ladder):
            if name not in known:
                raise UsageError("pairs: " + unknown_name("model of the ladder", name, known))
        if ladder.index(strong) < (others[weak].least if weak in others else ladder.index(weak) + 1):
            raise UsageError(
                f"pairs: [{weak!r}, {strong!r}] is against the ladder's order ({' < '.join(ladder)}); "
                "the weak model must stand earlier (self_training = true trains a model on its own labels)"
            )
    if config.self_training:
        pairs += [(name, name) for name in ladder]
    return pairs


class _Place(NamedTuple):
    """Where a supervisor stands in the ladder."""

    n_below: int
    """Models that are no stronger than all that it needs."""
    least: int
    """Position of the first model that a pair may name as its student."""


def _place(spec: Spec, specs: Mapping[str, Spec], ladder: list[str], after: tuple[str, ...] = ()) -> _Place:
    """The place of a supervisor; ``after`` are those that follow it."""
    if spec.name in after:
        raise UsageError(f"supervisors: {spec.name}: it learns from itself: {' of '.join((*after, spec.name))}")
    for name in spec.members:
        if name not in ladder:
            raise UsageError(f"supervisors: {spec.name}: {unknown_name('model of the ladder', name, ladder)}")
    _refuse_repeated(f"supervisors: {spec.name}", list(spec.members), "once is enough")
    first = _Place(0, 0)
    if (followed := spec.follows) is not None:
        if followed not in (known := [*ladder, *specs]):
            raise UsageError(f"supervisors: {spec.name}: {unknown_name('supervisor', followed, known)}")
        if followed in specs:
            first = _place(specs[followed], specs, ladder, (*after, spec.name))
        else:
            first = _Place(ladder.index(followed) + 1, ladder.index(followed) + 1)
    n_below = max((ladder.index(name) + 1 for name in spec.members), default=0)
    return _Place(max(first.n_below, n_below), max(first.least, n_below - spec.teaches_equals))


def _data_source(config: GridConfig, name: str, revisions: Revisions) -> DataSource:
    try:
        dataset = DATASETS.get(name)
        params: JSON
        files: Mapping[str, Path] = {}
        n_classes = dataset.n_classes
        if config.source == "offline":
            params = {"kind": "offline", "world": config.world.model_dump()}
            n_classes = n_classes or GENERATED_CLASSES
        elif config.source == "hub":
            params = _hub_source(dataset, revisions)
        else:
            folder = Path(config.source).expanduser()
            files, place = folder_files(folder, name), dataset_folder(folder, name)
            classes = other_classes(place, dataset) if place is not None else {}
            if (column := label_column(dataset.columns)) and place is not None and dataset.leaves_names_to_source:
                classes[column] = classes_of_source(files, place, dataset)
                if n_classes not in (None, len(classes[column])):
                    raise DataError(f"{place} has {len(classes[column])} classes, but {name} has {n_classes}")
                n_classes = len(classes[column])
            params = {"kind": "folder", **({"classes": classes} if classes else {})}
        if n_classes is None:
            raise DataError(f"how many classes {name} has is read of its files; download them, and give the folder")
        # Answers that are texts are of no class.
        asked = dataset.asked if dataset.form else {**dataset.asked, "n_classes": n_classes}
        return DataSource(params, files, dataset.max_chars, asked, dataset.shows, n_classes)
    except UnknownNameError as error:
        raise UsageError(f"datasets: {error}") from None
    except DataError as error:
        raise UsageError(f"source: {error}") from None


def _hub_source(dataset: Dataset, revisions: Revisions) -> JSON:
    """The repository that has the rows: the first of the dataset's ids that the Hub knows."""
    ids = (dataset.hub_id, *dataset.hub_aliases)
    refusals = []
    # One with a recorded commit needs no Hub, and stays the one that is used.
    for id in [id for id in ids if revisions.has("dataset", id, dataset.hub_revision)] or ids:
        try:
            return {
                "kind": "hub",
                "id": id,
                "config": dataset.hub_config,
                "revision": revisions.commit("dataset", id, dataset.hub_revision),
                "splits": dict(dataset.splits),
                "prefix": dataset.prefix,
                **({"dir": dataset.hub_dir} if dataset.hub_dir else {}),
                "is_converted": dataset.hub_revision == CONVERTED,
            }
        except NotOnHubError as error:
            refusals.append(str(error))
    tried = f" ({', '.join(dataset.hub_aliases)} tried, too)" if dataset.hub_aliases else ""
    raise DataError(refusals[0] + tried)


def _model_source(model: ModelConfig, revisions: Revisions) -> ModelSource:
    if model.is_offline:
        return ModelSource("offline")
    folder = Path(model.path).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UsageError(f"models: {model.name}: {folder} has no config.json, so it is no model")
        _check_family(model, folder / "config.json")
        return ModelSource("folder", folder=folder.absolute())
    if folder.is_absolute() or model.path.startswith((".", "~")):
        raise UsageError(f"models: {model.name}: no folder {folder}")
    try:
        commit = revisions.commit("model", model.path, model.revision)
    except DataError as error:
        raise UsageError(f"models: {model.name}: {error}") from None
    if (cached := cached_file(model.path, commit, "config.json")) is not None:
        _check_family(model, cached)
    return ModelSource("hub", hub={"id": model.path, "revision": commit})


def _check_family(model: ModelConfig, file: Path) -> None:
    try:
        check_family(model, file)
    except DataError as error:
        raise UsageError(f"models: {model.name}: {error}") from None
