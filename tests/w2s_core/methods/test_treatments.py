"""Treatments of labels against their definitions."""

from __future__ import annotations

import numpy as np

from w2s_core.methods.treatments import TREATMENTS, Harden


def test_hardened_labels_are_certain_of_the_likeliest_class_and_ties_are_of_the_first() -> None:
    probs = np.array([[0.4, 0.6], [0.5, 0.5], [1.0, 0.0], [0.2, 0.8]])

    hardened = TREATMENTS.get("harden").of(probs, Harden())

    assert hardened.tolist() == [[0, 1], [1, 0], [1, 0], [0, 1]]


def test_hardening_works_for_more_classes() -> None:
    hardened = TREATMENTS.get("harden").of(np.array([[0.2, 0.5, 0.3]]), Harden())

    assert hardened.tolist() == [[0, 1, 0]]
