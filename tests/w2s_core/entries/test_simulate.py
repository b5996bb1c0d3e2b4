"""The stage that makes labels of a chosen accuracy."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tiny_models import rows_of, toy_rows, write_rows
from w2s_core.data.rows import Rows, read_labels, write_weak_probs
from w2s_core.entries.simulate import simulate
from w2s_core.methods.mistakes import STRUCTURES
from w2s_core.stages import LABELLED
from w2s_core.watch import Silent

PARAMS = {
    "setting": "classify",
    "accuracy": 0.7,
    "errors": {"kind": "uniform"},
    "confidence": 1.0,
    "balanced": True,
    "seed": 0,
}
SIZES = {"transfer_train": 20, "validation": 11, "test": 14}


def splits() -> dict[str, Rows]:
    return {split: toy_rows(n, seed=i) for i, (split, n) in enumerate(SIZES.items())}


def simulated(
    folder: Path, rows: dict[str, Rows], answers: dict[str, np.ndarray] | None = None, **changes: Any
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """P(class 1) by split and id, and the metrics."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        out = Path(name)
        inputs = {split: write_rows(out / f"{split}.rows", rows[split]) for split in LABELLED}
        for split, probs in (answers or {}).items():
            inputs[f"answers.{split}"] = out / f"{split}.answers"
            write_weak_probs(inputs[f"answers.{split}"], rows[split].ids, probs)
        metrics = simulate({**PARAMS, **changes}, inputs, out, Silent())
        read = {split: read_labels(out / f"{split}.parquet") for split in LABELLED}
    return {split: dict(zip(ids, probs.tolist(), strict=True)) for split, (ids, probs) in read.items()}, metrics


def errors(rows: Rows, labels: dict[str, float]) -> set[str]:
    return {id for id, truth in zip(rows.ids, rows.gt_labels, strict=True) if (labels[id] > 0.5) != truth}


def random_answers(rows: dict[str, Rows]) -> dict[str, np.ndarray]:
    return {split: np.random.default_rng(i).random(len(of)) for i, (split, of) in enumerate(rows.items())}


@pytest.mark.parametrize("kind", STRUCTURES.names())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(n=st.integers(2, 30), accuracy=st.floats(0.01, 1), balanced=st.booleans())
def test_accuracy_is_exact(tmp_path: Path, kind: str, n: int, accuracy: float, balanced: bool) -> None:
    rows = {split: toy_rows(n + i, seed=i) for i, split in enumerate(LABELLED)}
    asked = random_answers(rows) if STRUCTURES.get(kind).default_model else None

    labels, metrics = simulated(
        tmp_path, rows, asked, errors={"kind": kind}, accuracy=accuracy, balanced=balanced, confidence=0.8
    )

    for split, of in rows.items():
        n_wrong = round((1 - accuracy) * len(of))
        assert len(errors(of, labels[split])) == n_wrong
        assert metrics[f"accuracy_{split}"] == pytest.approx(1 - n_wrong / len(of))


def test_label_gives_the_confidence_to_the_class_that_it_names(tmp_path: Path) -> None:
    rows = splits()
    hard, _ = simulated(tmp_path, rows)
    soft, _ = simulated(tmp_path, rows, confidence=0.75)

    assert set(hard["test"].values()) == {0.0, 1.0}
    assert soft["test"] == {id: 0.75 if prob else 0.25 for id, prob in hard["test"].items()}


@pytest.mark.parametrize("kind", ["uniform", "cluster", "shortest"])
def test_labels_are_the_same_whatever_the_order_of_the_rows(tmp_path: Path, kind: str) -> None:
    rows = splits()
    reverse = {}
    for split, of in rows.items():
        [shown] = of.shown()
        reverse[split] = rows_of(of.ids[::-1], shown["passage"][::-1], shown["prompt"][::-1], of.gt_labels[::-1])

    labels, metrics = simulated(tmp_path, rows, errors={"kind": kind})
    labels_of_reverse, of_reverse = simulated(tmp_path, reverse, errors={"kind": kind})

    assert labels == labels_of_reverse
    assert metrics == pytest.approx(of_reverse)


@pytest.mark.parametrize("kind", ["uniform", "cluster", "longest"])
def test_rows_of_one_split_do_not_matter_to_the_labels_of_those_before(tmp_path: Path, kind: str) -> None:
    rows = splits()
    more = {**rows, "validation": toy_rows(30, seed=9)}

    before, _ = simulated(tmp_path, rows, errors={"kind": kind})
    after, _ = simulated(tmp_path, more, errors={"kind": kind})

    assert [before[split] == after[split] for split in LABELLED] == [True, False, True]


@pytest.mark.parametrize("kind", ["uniform", "cluster"])
def test_seeds_draw_other_errors(tmp_path: Path, kind: str) -> None:
    rows = splits()

    first, second = (simulated(tmp_path, rows, errors={"kind": kind}, seed=seed)[0] for seed in (0, 1))

    assert first != second


def test_cluster_is_around_the_same_text_in_all_splits(tmp_path: Path) -> None:
    topics = {split: [["red apple", "blue whale"][i % 2] for i in range(20)] for split in LABELLED}
    truth = np.arange(20) // 2 % 2
    rows = {s: rows_of([f"{s}-{i}" for i in range(20)], texts, [""] * 20, truth) for s, texts in topics.items()}

    labels, _ = simulated(tmp_path, rows, errors={"kind": "cluster"}, accuracy=0.5)

    wrong = {topics[s][of.ids.index(id)] for s, of in rows.items() for id in errors(of, labels[s])}
    assert len(wrong) == 1


@pytest.mark.parametrize("accuracy", [0.1, 0.9])
def test_real_errors_are_a_part_of_those_of_the_model_or_hold_them_all(tmp_path: Path, accuracy: float) -> None:
    rows = splits()
    asked = random_answers(rows)

    labels, _ = simulated(tmp_path, rows, asked, errors={"kind": "real"}, accuracy=accuracy, balanced=False)

    for split, of in rows.items():
        found = errors(of, labels[split])
        of_model = errors(of, dict(zip(of.ids, asked[split], strict=True)))
        assert found < of_model if accuracy == 0.9 else found > of_model
