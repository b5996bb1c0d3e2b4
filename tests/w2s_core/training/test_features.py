"""Features of texts: what the head of a model is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_models import CLASSIFY, SIZES, model_params, rows_of, tiny_base, toy_rows
from w2s_core.config import Layer
from w2s_core.data.rows import Rows
from w2s_core.errors import DataError
from w2s_core.models.classifier import Classifier, build, pool
from w2s_core.training.features import extract, give_layer
from w2s_core.training.predict import predict
from w2s_core.watch import Silent


def classifier_of(folder: Path, family: str = "gpt2", **model: object) -> Classifier:
    return build(model_params(head="small", **model), tiny_base(folder / family, family), seed=0)


def only(rows: Rows, index: int) -> Rows:
    [shown] = rows.shown()
    return rows_of([rows.ids[index]], [shown["passage"][index]], [shown["prompt"][index]])


@pytest.mark.parametrize("family", SIZES)
def test_head_makes_the_models_own_probabilities_of_the_features(tmp_path: Path, family: str) -> None:
    classifier, rows = classifier_of(tmp_path, family), toy_rows(20)

    features = extract(CLASSIFY, classifier, rows, Silent())

    with torch.no_grad():
        probs = classifier.head(torch.from_numpy(features)).double().softmax(-1).numpy()
    assert features.dtype == np.float32
    assert features.shape == (20, 16)
    np.testing.assert_allclose(probs, predict(CLASSIFY, classifier, rows, Silent()), rtol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean", "first"])
def test_features_do_not_depend_on_the_texts_beside(tmp_path: Path, pooling: str) -> None:
    classifier, rows = classifier_of(tmp_path, pooling=pooling), toy_rows(12)

    together = extract(CLASSIFY, classifier, rows, Silent())

    alone = [extract(CLASSIFY, classifier, only(rows, i), Silent())[0] for i in range(len(rows))]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        together, extract(CLASSIFY, classifier, rows, Silent(micro_tokens=16)), rtol=1e-4, atol=1e-5
    )


def test_padding_does_not_change_features(tmp_path: Path) -> None:
    classifier, rows = classifier_of(tmp_path), toy_rows(12)
    packed = extract(CLASSIFY, classifier, rows, Silent())

    classifier.is_packable = False

    np.testing.assert_allclose(packed, extract(CLASSIFY, classifier, rows, Silent()), rtol=1e-4, atol=1e-5)


def test_texts_of_one_length_at_a_time_keep_their_rows(tmp_path: Path) -> None:
    classifier, rows = classifier_of(tmp_path), toy_rows(12)
    packed = extract(CLASSIFY, classifier, rows, Silent())

    classifier.is_packable, classifier.is_padded = False, False

    np.testing.assert_allclose(packed, extract(CLASSIFY, classifier, rows, Silent()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", SIZES)
@pytest.mark.parametrize(("layer", "at"), [("middle", 1), (1, 1), (2, 2), ("last", 2)])
def test_features_of_a_layer_are_its_pooled_hidden_states(tmp_path: Path, family: str, layer: Layer, at: int) -> None:
    classifier, rows = classifier_of(tmp_path, family), toy_rows(6)
    tokens = CLASSIFY.encode(rows, classifier, tmp_path)
    expected = []
    for i in range(len(rows)):
        ids, mask = (torch.from_numpy(array) for array in tokens.padded(np.array([i]), classifier.pad_id))
        with torch.no_grad():
            states = classifier.backbone(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        expected.append(pool(states[at], mask, classifier.pooling)[0].numpy())

    give_layer(classifier, layer)

    np.testing.assert_allclose(extract(CLASSIFY, classifier, rows, Silent()), expected, rtol=1e-4, atol=1e-5)
    classifier.is_packable = False
    np.testing.assert_allclose(extract(CLASSIFY, classifier, rows, Silent()), expected, rtol=1e-4, atol=1e-5)


def test_layer_that_a_model_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="layer = 3, but the model has 2 layers"):
        give_layer(classifier_of(tmp_path), 3)


def test_model_has_its_head_again(tmp_path: Path) -> None:
    classifier = classifier_of(tmp_path)
    head = classifier.head

    extract(CLASSIFY, classifier, toy_rows(4), Silent())

    assert classifier.head is head
