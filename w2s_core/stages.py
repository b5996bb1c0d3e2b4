"""The table of stages: which function each one runs, what it puts out, and what its key has gained over time.

An entry has the signature ``entry(params, inputs, out, watch) -> metrics``: ``params`` is the JSON object that is in
the key; ``inputs`` maps the name of each input to the path of its file or folder; ``out`` is an empty folder, in
which the entry writes every output that the table names; ``metrics`` is a flat JSON object, in the manifest but in
no digest. An entry is a pure function of ``params`` and ``inputs``: it knows no store, reads no environment, and
leaves no global state behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One kind of node."""

    entry: str
    """``"module:function"``; the function's source, and all that it reaches, is the code fingerprint."""
    outputs: dict[str, str]
    """Output name to path inside the artifact: a Parquet file, or a folder of weights."""
    schema: int = 1
    """Number of the output schema; raise it when files change in a way that the code does not show."""
    is_training: bool = False
    """Whether it trains: it then runs alone on a device slot, and its weights fall under retention."""
    has_devices: bool = False
    """Whether it runs on as many devices as its model's ``devices`` says."""


STAGES: dict[str, Stage] = {
    "pretrain": Stage(entry="w2s_core.pretrain:pretrain", outputs={"model": "model"}, is_training=True),
    "prepare": Stage(
        entry="w2s_core.prepare:prepare",
        outputs={
            "weak_train": "weak_train.parquet",
            "transfer_train": "transfer_train.parquet",
            "validation": "validation.parquet",
            "test": "test.parquet",
        },
    ),
    "audit": Stage(entry="w2s_core.audit:audit", outputs={"checks": "checks.parquet"}),
    "train_gt": Stage(
        entry="w2s_core.trainings:train_gt", outputs={"model": "model"}, is_training=True, has_devices=True
    ),
    "weak_labels": Stage(
        entry="w2s_core.inference:weak_labels",
        outputs={
            "transfer_train": "transfer_train.parquet",
            "validation": "validation.parquet",
            "test": "test.parquet",
        },
    ),
    "train_w2s": Stage(
        entry="w2s_core.trainings:train_w2s", outputs={"model": "model"}, is_training=True, has_devices=True
    ),
    "score": Stage(entry="w2s_core.inference:score", outputs={"predictions": "predictions.parquet"}),
}

ADDED: dict[str, dict[str, Any]] = {stage: {"training.optimizer": "adamw"} for stage in ("train_gt", "train_w2s")}
"""Per stage, dotted parameter added after the first release to the value it stood for before it existed.

A parameter equal to that frozen value is left out of the key, whatever its default is today.
"""
