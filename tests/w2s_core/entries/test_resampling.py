"""The stages by which members of an ensemble learn from other rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_models import CLASSIFY, VIEW, model_params, tiny_base, toy_rows, write_rows
from w2s_core.data.rows import (
    each,
    read_draws,
    read_groups,
    read_rows,
    read_vote,
    read_weak_probs,
    write_draws,
    write_weak_probs,
)
from w2s_core.entries.resampling import bag, boost, vote
from w2s_core.methods.boosting import after
from w2s_core.metrics import harden
from w2s_core.models.classifier import build, load, save
from w2s_core.stages import LABELLED
from w2s_core.training.predict import predict
from w2s_core.watch import Silent


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "weak_train.parquet", toy_rows(40))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_bag_has_as_many_rows_each_whole_and_some_of_them_again(rows: Path, out: Path) -> None:
    metrics = bag({"seed": 0}, {"weak_train": rows}, out, Silent())

    whole, found = read_rows(rows), read_rows(out / "weak_train.parquet")
    texts = dict(zip(whole.ids, each(whole, VIEW.text), strict=True))
    labels = dict(zip(whole.ids, whole.gt_labels, strict=True))
    assert len(found) == metrics["n"] == 40
    assert list(each(found, VIEW.text)) == [texts[id] for id in found.ids]
    assert found.gt_labels.tolist() == [labels[id] for id in found.ids]
    assert len(set(found.ids)) == metrics["n_different"] < 40
    assert len(read_groups(out / "weak_train.parquet")) == 40


def test_next_member_sees_what_this_one_has_wrong_more_often(rows: Path, out: Path, tmp_path: Path) -> None:
    model = build(model_params(head="small"), tiny_base(tmp_path / "base"), seed=3)
    save(model, tmp_path / "model")
    before = np.arange(1, 41) / np.arange(1, 41).sum()
    whole = read_rows(rows)
    write_draws(tmp_path / "before.parquet", whole.ids[::-1], before[::-1], 0.0)
    inputs = {"model": tmp_path / "model", "weak_train": rows, "weights": tmp_path / "before.parquet"}

    metrics = boost({"setting": "classify", "seed": 0}, inputs, out, Silent())

    is_wrong = harden(predict(CLASSIFY, load(tmp_path / "model"), whole, Silent())[:, 1]) != whole.gt_labels
    expected = after(before, is_wrong)
    assert metrics["weighted_error"] == pytest.approx(before[is_wrong].sum())
    assert read_vote(out / "weights.parquet") == metrics["vote"] == expected.vote
    np.testing.assert_allclose(read_draws(out / "weights.parquet", whole.ids), expected.weights)
    times = Counter(read_rows(out / "weak_train.parquet").ids)
    assert sum(times.values()) == 40


def test_members_are_combined_by_the_votes_that_they_have(out: Path, tmp_path: Path) -> None:
    said = [[0.9, 0.2, 0.6, 0.1], [0.1, 0.1, 0.9, 0.2], [0.2, 0.9, 0.8, 0.3]]
    inputs = {}
    for split in LABELLED:
        inputs[f"rows_{split}"] = write_rows(tmp_path / f"{split}.parquet", toy_rows(4))
        for i, probs in enumerate(said):
            inputs[f"{split}.{i}"] = tmp_path / f"{split}.{i}"
            write_weak_probs(inputs[f"{split}.{i}"], toy_rows(4).ids, np.array(probs))
    for i, weight in enumerate((3.0, 0.0, 1.0)):
        inputs[f"votes.{i}"] = tmp_path / f"votes.{i}"
        write_draws(inputs[f"votes.{i}"], ["a", "b"], np.full(2, 0.5), weight)

    metrics = vote({"setting": "classify"}, inputs, out, Silent())

    assert read_weak_probs(out / "test.parquet", toy_rows(4).ids).tolist() == [0.75, 0.25, 1, 0]
    assert metrics["n_members"] == 3
    assert metrics["disagreement_test"] == pytest.approx((2 + 2) / 3 / 4)
