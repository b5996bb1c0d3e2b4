"""Exported classifiers are what transformers alone computes of their folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import linear
from transformers import AutoModel, AutoModelForSequenceClassification

from tests.tiny_models import model_params, tiny_base
from tests.w2s_core.models.test_heads import tiny_lm
from w2s_core.models.classifier import Classifier, build, save
from w2s_core.models.export import export

IDS = torch.tensor([[3, 1, 5, 4]])


def logits(classifier: Classifier) -> torch.Tensor:
    with torch.no_grad():
        return classifier.eval()(IDS, torch.ones_like(IDS))[:, :2]


@pytest.mark.parametrize(("family", "head"), [("gpt2", "small"), ("llama", "small"), ("gpt2", "lm_head_tokens")])
def test_causal_model_with_a_linear_head_becomes_a_sequence_classifier(family: str, head: str, tmp_path: Path) -> None:
    classifier = build(model_params(head=head), tiny_lm(tmp_path / "base", family), seed=0)
    save(classifier, tmp_path / "model")
    assert export(tmp_path / "model", tmp_path / "out") == "sequence-classification"
    exported = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        torch.testing.assert_close(exported(input_ids=IDS).logits, logits(classifier))


def test_classifier_of_a_family_with_another_head_becomes_a_backbone_and_a_head(tmp_path: Path) -> None:
    classifier = build(model_params(head="small"), tiny_base(tmp_path / "base", "bert"), seed=0)
    save(classifier, tmp_path / "model")
    assert export(tmp_path / "model", tmp_path / "out") == "backbone and head"
    backbone, head = AutoModel.from_pretrained(tmp_path / "out"), load_file(tmp_path / "out" / "head.safetensors")
    with torch.no_grad():
        states = backbone(input_ids=IDS).last_hidden_state[0]
        torch.testing.assert_close(linear(states.mean(0), **head)[None], logits(classifier))
