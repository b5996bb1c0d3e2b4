"""A trained classifier as a folder that ``transformers`` alone reads, where its family has a class for just that."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from w2s_core.models.classifier import Classifier, load
from w2s_core.models.heads import LabelTokens
from w2s_core.models.pretrained import isolated

Form = Literal["sequence-classification", "backbone and head"]

PROBE = ["a good one", "not so good, if you ask me, and far too long", "no"]


def export(source: Path, out: Path) -> Form:
    """Write the classifier in ``source``, which a training saved, to ``out``.

    Where ``AutoModelForSequenceClassification`` computes the same logits from a backbone, its pooling and one linear
    layer without bias, which is tried on a few texts, ``out`` is such a model. Else it is the backbone, for
    ``AutoModel``, and beside it ``head.safetensors`` with ``weight`` [C, D] and, if it has one, ``bias`` [C]; of a
    whole LM head, the rows of the label tokens.

    Raises:
        DataError: ``source`` cannot be read.
    """
    classifier = load(source)
    head = _of_classes(classifier.head)
    whole = _as_sequence_classifier(classifier, head, source)
    with isolated():
        (whole or classifier.backbone).save_pretrained(out)
        classifier.tokenizer.save_pretrained(out)
    if whole is not None:
        return "sequence-classification"
    save_file(head, out / "head.safetensors")
    return "backbone and head"


def pooling_of_saved(source: Path) -> str:
    """Whose hidden state the head of a saved classifier reads: ``last``, ``first`` or ``mean``."""
    pooling: str = json.loads((source / "classifier.json").read_text(encoding="utf-8"))["pooling"]
    return pooling


def _of_classes(head: torch.nn.Linear) -> dict[str, torch.Tensor]:
    """Weight and bias of the classes alone."""
    rows = list(head.label_tokens) if isinstance(head, LabelTokens) else slice(None)
    return {name: value[rows].contiguous() for name, value in head.state_dict().items()}


def _as_sequence_classifier(
    classifier: Classifier, head: dict[str, torch.Tensor], source: Path
) -> PreTrainedModel | None:
    """The same function as a class of transformers; None where there is no such class, or it computes another."""
    n_classes = len(head["weight"])
    # What a family that lacks such a class, or has one of another shape, raises is its own affair.
    with isolated(), contextlib.suppress(Exception):
        model = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=n_classes, dtype=torch.float32, use_safetensors=True
        ).eval()
        model.config.pad_token_id = classifier.pad_id
        heads = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == n_classes]
        heads[-1].load_state_dict(head)
        if _logits_agree(model, classifier, n_classes):
            return model
    return None


def _logits_agree(model: PreTrainedModel, classifier: Classifier, n_classes: int) -> bool:
    with torch.no_grad():
        for text in PROBE:  # alone: how each pads is its own affair
            ids = torch.tensor([classifier.tokenizer(text)["input_ids"]])
            mask = torch.ones_like(ids)
            wanted = classifier(ids, mask)[:, :n_classes]
            if not torch.allclose(model(input_ids=ids, attention_mask=mask).logits, wanted, rtol=1e-4, atol=1e-5):
                return False
    return True
