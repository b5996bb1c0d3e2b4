"""Labels by a language model that is shown examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_models import WORDS, tiny_base, toy_rows, write_rows
from w2s_core.data.rows import read_labels, write_weak_probs
from w2s_core.entries.prompt import prompt
from w2s_core.errors import DataError
from w2s_core.stages import LABELLED
from w2s_core.watch import Silent


def params(**settings: Any) -> dict[str, Any]:
    about = {"k": 2, "draws": 2, "calibrate": True, "cue": f" {WORDS[2]}", "answers": [[WORDS[0], WORDS[1]]]}
    return {
        "setting": "classify",
        "model": {"n_layers": None, "max_length": 64, "hub": None},
        "prompt": about | settings,
        "seed": 0,
    }


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    paths = {"base": tiny_base(tmp_path / "base"), "labels": tmp_path / "labels.parquet"}
    for seed, split in enumerate((*LABELLED, "train")):
        paths[split] = write_rows(tmp_path / f"{split}.parquet", toy_rows(6, seed=seed))
    rows = toy_rows(6, seed=len(LABELLED))
    write_weak_probs(paths["labels"], rows.ids, 1.0 - rows.gt_labels)
    return paths


def said(params: dict[str, Any], inputs: dict[str, Path], out: Path) -> tuple[np.ndarray, dict[str, Any]]:
    out.mkdir()
    metrics = prompt(params, inputs, out, Silent())
    for seed, split in enumerate(LABELLED):
        assert read_labels(out / f"{split}.parquet")[0] == toy_rows(6, seed=seed).ids
    return read_labels(out / "test.parquet")[1], metrics


def test_what_is_shown_decides_what_is_said(inputs: dict[str, Path], tmp_path: Path) -> None:
    truth = {name: path for name, path in inputs.items() if name != "labels"}
    none = {name: path for name, path in truth.items() if name != "train"}

    weak, metrics = said(params(), inputs, tmp_path / "weak")
    true, _ = said(params(), truth, tmp_path / "true")
    zero, of_zero = said(params(k=0), none, tmp_path / "zero")
    again, _ = said(params(), inputs, tmp_path / "again")

    assert (metrics["n_draws"], of_zero["n_draws"]) == (2, 1)
    assert not np.allclose(weak, true)
    assert not np.allclose(true, zero)
    np.testing.assert_array_equal(weak, again)


def test_answers_are_words_that_the_tokenizer_tells_apart(inputs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'0' and '1' begin with one token"):
        said(params(answers=[["No", "Yes"], ["0", "1"]]), inputs, tmp_path / "out")
    _, metrics = said(params(answers=[["No", "Yes"], [WORDS[1], WORDS[2]]]), inputs, tmp_path / "again")
    assert metrics["answers"] == f"{WORDS[1]}/{WORDS[2]}"


def test_probabilities_are_the_mean_over_draws(inputs: dict[str, Path], tmp_path: Path) -> None:
    # Draws are drawn by their number: the first is the same however many there are.
    one, _ = said(params(draws=1), inputs, tmp_path / "1")
    two, _ = said(params(draws=2), inputs, tmp_path / "2")
    three, _ = said(params(draws=3), inputs, tmp_path / "3")

    second = 2 * two - one
    third = 3 * three - 2 * two
    for probs in (second, third):
        assert ((probs > 0) & (probs < 1)).all()
