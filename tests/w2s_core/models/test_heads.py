"""Heads that start from a language model: what they compute at first, what is saved, which models have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from tests.tiny_models import (
    CLASSIFY,
    LOSS_PARAMS,
    SIZES,
    SPECIALS,
    WORDS,
    model_params,
    prob_of_1,
    tiny_base,
    tiny_tokenizer,
    toy_rows,
)
from tests.tiny_models import training_params as training
from w2s_core.config import ModelConfig
from w2s_core.errors import DataError
from w2s_core.methods.losses import cross_entropy
from w2s_core.metrics import two_classes
from w2s_core.models.classifier import Classifier, build, load, save
from w2s_core.models.heads import LabelTokens
from w2s_core.training.fit import Recipe, fit
from w2s_core.watch import Silent

N_TOKENS = len(WORDS) + len(SPECIALS) + 2
LABELS = [N_TOKENS - 2, N_TOKENS - 1]
IDS = torch.tensor([[3, 1, 5, 0, 0], [3, 2, 5, 9, 4]])
MASK = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
LORA = {"rank": 2, "alpha": 4.0, "dropout": 0.0}

MORE_SIZES: dict[str, dict[str, Any]] = {
    # The last hidden state is narrower than the others; positions follow the mask.
    "opt": {"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "word_embed_proj_dim": 8, "max_position_embeddings": 32},
    # The LM head has a bias.
    "gptj": {"n_embd": 16, "n_layer": 2, "n_head": 2, "rotary_dim": 4, "n_positions": 32},
    # The logits are scaled.
    "cohere": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
}  # fmt: skip
CAUSAL = [family for family in SIZES if family != "bert"] + ["opt", "gptj"]

families = pytest.mark.parametrize("family", CAUSAL)
kinds = pytest.mark.parametrize("kind", ["unembed_rows", "lm_head_tokens"])


def tiny_lm(folder: Path, family: str = "gpt2", **changes: Any) -> Path:
    """A folder with a random language model whose head has been trained, and a tokenizer that knows 0 and 1."""
    sizes = (SIZES | MORE_SIZES)[family]
    config = AutoConfig.for_model(family, vocab_size=N_TOKENS, **sizes | changes)
    auto = AutoModelForMaskedLM if family == "bert" else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = auto.from_config(config)
        for parameter in model.get_output_embeddings().parameters():
            torch.nn.init.normal_(parameter)
        model.save_pretrained(folder)
    tokenizer = tiny_tokenizer(with_specials=family == "bert")
    tokenizer.add_tokens(["0", "1"])
    tokenizer.save_pretrained(folder)
    return folder


def lm_logits(folder: Path) -> torch.Tensor:
    """[B, V] logits of the language model itself after each text."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(input_ids=IDS, attention_mask=MASK).logits
    return logits[torch.arange(len(IDS)), MASK.sum(1) - 1]


def classifier_logits(classifier: Classifier) -> torch.Tensor:
    with torch.no_grad():
        return classifier.eval()(IDS, MASK)


@families
def test_unembed_rows_start_with_the_logits_of_the_language_model(family: str, tmp_path: Path) -> None:
    base = tiny_lm(tmp_path / "base", family)
    classifier = build(model_params(head="unembed_rows"), base, seed=0)
    bias = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).get_output_embeddings().bias
    expected = lm_logits(base) - (0 if bias is None else bias.detach())
    torch.testing.assert_close(classifier_logits(classifier), expected[:, LABELS], rtol=1e-5, atol=1e-5)


@families
def test_softmax_over_lm_head_tokens_is_that_of_the_language_model(family: str, tmp_path: Path) -> None:
    base = tiny_lm(tmp_path / "base", family)
    classifier = build(model_params(head="lm_head_tokens"), base, seed=0)
    expected = lm_logits(base).log_softmax(-1)[:, LABELS]
    found = classifier_logits(classifier).log_softmax(-1)[:, :2]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_loss_of_lm_head_tokens_is_over_the_whole_vocabulary() -> None:
    head = LabelTokens(4, 9, (2, 7), bias=False)
    hidden, targets = torch.randn(3, 4), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    tokens = torch.tensor([7, 2, 7])
    expected = functional.cross_entropy(functional.linear(hidden, head.weight), tokens)
    expected.backward()
    gradient, head.weight.grad = head.weight.grad, None
    loss = cross_entropy(head(hidden), torch.stack([1 - targets, targets], -1))
    loss.backward()
    torch.testing.assert_close(loss.float(), expected)
    torch.testing.assert_close(head.weight.grad, gradient)


@kinds
def test_it_is_saved_with_the_classifier(kind: str, tmp_path: Path) -> None:
    classifier = build(model_params(head=kind), tiny_lm(tmp_path / "base", "gptj"), seed=0)
    save(classifier, tmp_path / "model")
    loaded = load(tmp_path / "model")
    torch.testing.assert_close(classifier_logits(loaded), classifier_logits(classifier), rtol=0, atol=0)
    assert type(loaded.head) is type(classifier.head)


@kinds
def test_it_is_found_where_layers_are_left_out(kind: str, tmp_path: Path) -> None:
    base = tiny_lm(tmp_path / "base")
    whole, cut = (build(model_params(head=kind, n_layers=n), base, seed=0) for n in (2, 1))
    assert torch.equal(whole.head.weight, cut.head.weight)


@kinds
def test_training_lowers_its_loss(kind: str, tmp_path: Path) -> None:
    classifier = build(model_params(head=kind), tiny_lm(tmp_path / "base"), seed=0)
    rows = toy_rows(64)
    settings = training(epochs=5)
    recipe = Recipe(LOSS_PARAMS["logconf"], settings, lr=1e-2, seed=0)
    fit(CLASSIFY, classifier, rows, two_classes(rows.gt_labels.astype(float)), recipe, watch=Silent())
    probs = prob_of_1(classifier, rows, Silent())
    assert ((probs > 0.5) == rows.gt_labels).mean() > 0.9


def test_adapters_leave_the_lm_head_as_it_is(tmp_path: Path) -> None:
    base = tiny_lm(tmp_path / "base")
    assert not build(model_params(head="lm_head_tokens", lora=LORA), base, seed=0).head.weight.requires_grad
    assert build(model_params(head="unembed_rows", lora=LORA), base, seed=0).head.weight.requires_grad


@kinds
def test_probabilities_compare_the_two_classes_alone(kind: str, tmp_path: Path) -> None:
    classifier = build(model_params(head=kind), tiny_lm(tmp_path / "base"), seed=0)
    rows = toy_rows(8)
    swapped = build(model_params(head=kind), tmp_path / "base", seed=0)
    if kind == "lm_head_tokens":
        swapped.head.label_index = swapped.head.label_index.flip(0)
    else:
        swapped.head.load_state_dict({"weight": classifier.head.weight.flip(0)})
    total = prob_of_1(classifier, rows, Silent()) + prob_of_1(swapped, rows, Silent())
    assert total == pytest.approx([1.0] * 8)


@pytest.mark.parametrize("family", ["bert", "cohere"])
def test_lm_head_of_more_than_one_layer_is_refused(family: str, tmp_path: Path) -> None:
    base = tiny_lm(tmp_path / "base", family)
    with pytest.raises(DataError, match=f"base: the LM head of {family} is more than one linear layer"):
        build(model_params(head="unembed_rows"), base, seed=0)


def test_weights_without_lm_head_are_refused(tmp_path: Path) -> None:
    base = tiny_lm(tmp_path / "base", "llama")
    tensors = load_file(base / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"base: there is no LM head in model\.safetensors"):
        build(model_params(head="lm_head_tokens"), base, seed=0)


def test_tokenizer_without_digits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='base: its tokenizer has no tokens for "0" and "1"'):
        build(model_params(head="unembed_rows"), tiny_base(tmp_path / "base"), seed=0)


@kinds
def test_random_model_has_no_such_head(kind: str) -> None:
    with pytest.raises(ValidationError, match="starts at random, so it has no LM head"):
        ModelConfig(name="x", path="x", init="random", size={"n_layers": 1, "width": 8, "n_heads": 2}, head=kind)
