"""What a language model is shown, and what is made of its answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.data.datasets import DATASETS
from w2s_core.methods.prompting import PHRASES, Form, Phrase, calibrated, chosen, shots

FORM = Form("\nAnswer:", ("No", "Yes"))


def test_phrases_are_of_datasets_that_there_are_and_have_a_last_resort() -> None:
    assert set(PHRASES) <= set(DATASETS)
    for phrase in (Phrase(), *PHRASES.values()):
        assert phrase.answers[-1] == ("0", "1")
        assert phrase.cue.startswith("\n")


def test_examples_stand_before_the_text_that_is_asked_about() -> None:
    assert shots(["a b", "c"], [1, 0], FORM) + FORM.asked("d") == ("a b\nAnswer: Yes\n\nc\nAnswer: No\n\nd\nAnswer:")


@given(st.lists(st.integers(0, 1), min_size=1, max_size=30), st.integers(0, 6), st.integers(0, 3))
def test_as_many_of_each_class_are_shown_as_there_are(labels: list[int], half: int, seed: int) -> None:
    of = np.array(labels)

    picked = chosen(of, 2 * half, np.random.default_rng(seed))

    assert len(set(picked.tolist())) == len(picked)
    for label in (0, 1):
        assert int((of[picked] == label).sum()) == min(half, int((of == label).sum()))


def test_what_is_said_of_no_content_is_taken_away() -> None:
    said = np.log(np.array([0.8 / 0.2, 0.5 / 0.5]))

    np.testing.assert_allclose(calibrated(said, 0.0), [0.8, 0.5])
    np.testing.assert_allclose(calibrated(said, said[0]), [0.5, 0.2])
    assert calibrated(np.array([1e4, -1e4]), 0.0) == pytest.approx([1, 0])
