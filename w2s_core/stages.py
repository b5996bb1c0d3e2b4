"""The table of stages: which function each one runs, what it puts out, and what its key has gained over time.

An entry has the signature ``entry(params, inputs, out, watch) -> metrics``: ``params`` is the JSON object that is in
the key; ``inputs`` maps the name of each input to the path of its file or folder; ``out`` is an empty folder, in
which the entry writes every output that the table names; ``metrics`` is a flat JSON object, in the manifest but in
no digest. An entry is a pure function of ``params`` and ``inputs``: it knows no store, reads no environment, and
leaves no global state behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["rows", "model", "features", "labels", "texts", "predictions", "checks", "draws", "measures"]
"""What an output holds: examples; weights, tokenizer and head; vectors by id; probabilities by id; transcripts by id;
answers by id; an audit; chances by id of being drawn, and the vote of whoever they follow; numbers by name."""


class Output(NamedTuple):
    """One output of a stage."""

    kind: Kind
    path: str
    """Inside the artifact: a Parquet file, or a folder of weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One kind of node."""

    entry: str
    """``"module:function"``; the function's source, and all that it reaches, is the code fingerprint."""
    outputs: Callable[[Mapping[str, Any]], Mapping[str, Output]]
    """Of the parameters."""
    reads: Mapping[str, Kind] = field(default_factory=dict)
    """Input to what it holds, where it is an output of another stage; several of one kind are NAME.0, NAME.1, …"""
    runs: Literal["cpu", "model", "training"] = "cpu"
    """What it needs: no model, a model to ask, or a device slot to train one alone."""
    schema: int = 1
    """Number of the output schema; raise it when files change in a way that the code does not show."""


def _always(outputs: Mapping[str, Output]) -> Callable[[Mapping[str, Any]], Mapping[str, Output]]:
    """Whatever the parameters."""
    return lambda params: outputs


def _tables(kind: Kind, *names: str) -> Callable[[Mapping[str, Any]], Mapping[str, Output]]:
    return _always({name: Output(kind, f"{name}.parquet") for name in names})


LAST = {"rule": "final"}
"""The stopping rule of all that trainings give besides."""


def model_output(stop: Mapping[str, Any]) -> str:
    """What the weights that a stopping rule takes are called among the outputs of a training: its name and values."""
    return "model" if stop == LAST else ".".join(["model", *(str(value) for value in stop.values())])


def _trained(params: Mapping[str, Any]) -> Mapping[str, Output]:
    """Weights by stopping rule; trainings of before ``stop`` have no such parameter."""
    names = [model_output(stop) for stop in params.get("stop", [LAST])]
    return {name: Output("model", name) for name in names}


def _asked_for(params: Mapping[str, Any]) -> Mapping[str, Output]:
    """Features of the splits that the parameters name."""
    return {split: Output("features", f"{split}.parquet") for split in params["splits"]}


def _annotated(params: Mapping[str, Any]) -> Mapping[str, Output]:
    """Rows of the splits that the parameters name."""
    return {split: Output("rows", f"{split}.parquet") for split in params["splits"]}


def part_names(n_parts: int) -> list[str]:
    """The parts of the student's half, each for a model of a chain, but the last, which is ``transfer_train``."""
    return [f"part.{k}" for k in range(1, n_parts)]


def _prepared(params: Mapping[str, Any]) -> Mapping[str, Output]:
    """Tables of rows; datasets of before ``data.n_parts`` have no such parameter."""
    parts = part_names(params["data"].get("n_parts", 1))
    names = ["weak_train", *parts, "transfer_train", "validation", "test"]
    return {name: Output("rows", f"{name}.parquet") for name in names}


LABELLED = ("transfer_train", "validation", "test")
"""Splits that a supervisor labels: to train students, to choose among them, and to compare errors."""

TREATED = ("transfer_train", "validation")
"""Those whose labels a student sees."""

PREDICTIONS = _tables("predictions", "predictions")

STAGES: dict[str, Stage] = {
    "pretrain": Stage(entry="w2s_core.entries.pretrain:pretrain", outputs=_trained, runs="training"),
    "pretrain_images": Stage(
        entry="w2s_core.entries.pretrain_images:pretrain_images", outputs=_trained, runs="training"
    ),
    "prepare": Stage(entry="w2s_core.entries.prepare:prepare", outputs=_prepared),
    "audit": Stage(entry="w2s_core.entries.audit:audit", outputs=_tables("checks", "checks")),
    "adapt": Stage(
        entry="w2s_core.entries.adapt:adapt",
        outputs=_trained,
        reads={"base": "model", "train": "rows"},
        runs="training",
    ),
    "train_gt": Stage(
        entry="w2s_core.entries.train:train_gt",
        outputs=_trained,
        reads={"base": "model", "train": "rows", "validation": "rows"},
        runs="training",
    ),
    "weak_labels": Stage(
        entry="w2s_core.entries.predict:weak_labels",
        outputs=_tables("labels", *LABELLED),
        reads={"model": "model", **dict.fromkeys(LABELLED, "rows")},
        runs="model",
    ),
    "train_w2s": Stage(
        entry="w2s_core.entries.train:train_w2s",
        outputs=_trained,
        reads={
            "base": "model",
            "train": "rows",
            "validation": "rows",
            "labels": "labels",
            "validation_labels": "labels",
        },
        runs="training",
    ),
    "treat": Stage(
        entry="w2s_core.entries.labels:treat",
        outputs=_tables("labels", *TREATED),
        reads={**dict.fromkeys(TREATED, "labels"), "truth": "rows", "features": "features"},
    ),
    "combine": Stage(
        entry="w2s_core.entries.labels:combine",
        outputs=_tables("labels", *LABELLED),
        reads={**dict.fromkeys(LABELLED, "labels"), **{f"rows_{split}": "rows" for split in LABELLED}},
    ),
    "bag": Stage(
        entry="w2s_core.entries.resampling:bag",
        outputs=_tables("rows", "weak_train"),
        reads={"weak_train": "rows"},
    ),
    "boost": Stage(
        entry="w2s_core.entries.resampling:boost",
        outputs=_always(
            {"weak_train": Output("rows", "weak_train.parquet"), "weights": Output("draws", "weights.parquet")}
        ),
        reads={"model": "model", "weak_train": "rows", "weights": "draws"},
        runs="model",
    ),
    "vote": Stage(
        entry="w2s_core.entries.resampling:vote",
        outputs=_tables("labels", *LABELLED),
        reads={
            **dict.fromkeys(LABELLED, "labels"),
            **{f"rows_{split}": "rows" for split in LABELLED},
            "votes": "draws",
        },
    ),
    "import_labels": Stage(
        entry="w2s_core.entries.labels:import_labels",
        outputs=_tables("labels", *LABELLED),
        reads=dict.fromkeys(LABELLED, "rows"),
    ),
    "simulate": Stage(
        entry="w2s_core.entries.simulate:simulate",
        outputs=_tables("labels", *LABELLED),
        reads={**dict.fromkeys(LABELLED, "rows"), "answers": "labels"},
    ),
    "features": Stage(
        entry="w2s_core.entries.features:features",
        outputs=_asked_for,
        reads={"model": "model", "base": "model", "weak_train": "rows", **dict.fromkeys(LABELLED, "rows")},
        runs="model",
    ),
    "fit_probe": Stage(
        entry="w2s_core.entries.probe:fit_probe",
        outputs=_tables("labels", *LABELLED),
        reads={
            "features": "features",
            "train": "rows",
            "validation": "rows",
            "labels": "labels",
            "validation_labels": "labels",
        },
    ),
    "salience": Stage(
        entry="w2s_core.entries.salience:salience",
        outputs=_tables("measures", "salience"),
        reads={"rows": "rows", "labels": "labels", "features": "features"},
    ),
    "prompt": Stage(
        entry="w2s_core.entries.prompt:prompt",
        outputs=_tables("labels", *LABELLED),
        reads={"base": "model", "train": "rows", "labels": "labels", **dict.fromkeys(LABELLED, "rows")},
        runs="model",
    ),
    "transcripts": Stage(
        entry="w2s_core.entries.debate:transcripts",
        outputs=_tables("texts", "texts"),
        reads={"rows": "rows", "labels": "labels", "base": "model"},
        runs="model",
    ),
    "annotate": Stage(
        entry="w2s_core.entries.debate:annotate",
        outputs=_annotated,
        reads={"rows": "rows", "texts": "texts"},
    ),
    "judge": Stage(
        entry="w2s_core.entries.labels:judge",
        outputs=PREDICTIONS,
        reads={"labels": "labels", "test": "rows", "texts": "texts"},
    ),
    "score": Stage(
        entry="w2s_core.entries.predict:score",
        outputs=PREDICTIONS,
        reads={"model": "model", "test": "rows"},
        runs="model",
    ),
}

ADDED: dict[str, dict[str, Any]] = {
    "pretrain": {"corpus": "words"},
    **{
        stage: {
            "training.optimizer": "adamw",
            "setting": "classify",
            "n_classes": 2,
            "stop": [LAST],
            "loss.smoothing": 0.0,
            "loss.balance_batch": False,
            "loss.schedule": "linear",
            "loss.buffer": 512,
        }
        for stage in ("train_gt", "train_w2s")
    },
    **{
        stage: {"setting": "classify", "n_classes": 2}
        for stage in (
            "adapt",
            "weak_labels",
            "combine",
            "vote",
            "import_labels",
            "simulate",
            "fit_probe",
            "prompt",
            "transcripts",
            "annotate",
            "judge",
            "score",
        )
    },
    "features": {"layer": "last", "n_classes": 2},
    **{stage: {"n_classes": 2} for stage in ("bag", "boost", "salience")},
    "treat": {"treatment.at": "half", "setting": "classify", "n_classes": 2},
    "prepare": {"data.n_parts": 1, "setting": "classify", "n_classes": 2},
    "audit": {"data.n_parts": 1, "setting": "classify", "n_classes": 2, "corpus": ["words"]},
}
"""Per stage, dotted parameter added after the first release to the value it stood for before it existed.

A parameter equal to that frozen value is left out of the key, whatever its default is today.
"""
