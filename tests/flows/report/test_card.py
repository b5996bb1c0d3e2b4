"""What `w2s export` writes beside weights, and what it refuses."""

from __future__ import annotations

import re

import pytest
import yaml

from artifacts.errors import UsageError
from artifacts.store.manifest import Manifest, Output
from flows.report.card import _chosen, card

FINAL, EARLY = {"rule": "final"}, {"rule": "val_weak"}


def manifest(stage: str = "train_w2s", **changes: object) -> Manifest:
    values = {
        "key": "k" * 64, "node": "n" * 64, "stage": stage, "schema": 1, "params": {"stop": [FINAL], "seed": 0},
        "labels": {"dataset": "sst2", "method": "xent | a", "supervisor": None}, "inputs": {},
        "code": {"digest": "c" * 64, "parts": {}}, "outputs": {"model": Output("d", {"model": 1})},
        "environment": {"torch": "2.13.0", "host": "secret-name", "flow_run": "secret-run"},
    }  # fmt: skip
    return Manifest(**(values | changes))


def test_card_has_metadata_of_the_hub_and_what_made_the_weights() -> None:
    score = manifest("score", metrics={"accuracy": 0.75, "auroc": None})
    text = card(manifest(), "model", "backbone and head", "mean", [score])
    metadata = yaml.safe_load(text.split("---")[1])
    assert metadata["library_name"] == "transformers"
    assert metadata["model-index"][0]["results"][0]["metrics"] == [{"type": "accuracy", "value": 0.75}]
    assert "| method | xent \\| a |" in text
    assert "linear(states.mean(0)" in text


def test_card_does_not_name_the_machine() -> None:
    assert "secret-" not in card(manifest(), "model", "language model", "last", [])


@pytest.mark.parametrize("form", ["sequence-classification", "backbone and head", "language model"])
def test_python_of_a_card_compiles(form: str) -> None:
    text = card(manifest(), "model", form, "last", [])
    [code] = re.findall("```python\n(.*?)```", text, re.DOTALL)
    compile(code, "card", "exec")


@pytest.mark.parametrize(
    ("made", "output", "reason"),
    [
        (manifest("score"), None, "makes no model"),
        (manifest(params={"stop": [FINAL, EARLY]}), None, "--weights is one of model, model.val_weak"),
        (manifest(), "modell", "--weights is 'modell'"),
    ],
)
def test_weights_that_are_not_meant_clearly_are_refused(made: Manifest, output: str | None, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        _chosen(made, output)


def test_only_weights_are_taken() -> None:
    assert _chosen(manifest(), None) == "model"
