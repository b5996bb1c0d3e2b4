"""Classifiers of two classes on any transformers causal language model or encoder: build, save, load.

How they are trained is in ``w2s_core.train``. Sequences are padded on the right, and every position is found by the
attention mask, never by a token id. Letters: B examples, T tokens, D hidden size.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
from transformers.utils import logging

from w2s_core.errors import DataError

EAGER_TOKENS = 128
"""On a CPU, up to this length plain attention trains as fast as the fused kernel in fp32, in bf16 1.4 times as fast."""

FEED_FORWARD = ("intermediate_size", "n_inner", "ffn_dim", "hidden_dim")
"""What configurations call the width between the two layers of a feed-forward block."""


class Classifier(nn.Module):
    """A backbone, a bias-free linear head in float32, and all that it takes to use them on texts."""

    def __init__(
        self,
        backbone: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        width: int,
        pooling: str,
        max_length: int,
        precision: str,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, 2, bias=False)
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.max_length = max_length
        self.precision = precision
        self._fused_attention = backbone.config._attn_implementation

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device

    @property
    def pad_id(self) -> int:
        """What fills up a batch; any id does, since the mask says what is text."""
        return self.tokenizer.pad_token_id or 0

    def forward(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """Logits [B, 2] float32 of token ids and mask, both [B, T] int64."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            hidden = self.backbone(input_ids=input_ids, attention_mask=mask).last_hidden_state
        return self.head(pool(hidden.float(), mask, self.pooling))

    def use_attention_for(self, n_tokens: int) -> None:
        """Choose the attention kernel for texts of up to ``n_tokens``, by device."""
        is_eager = self.device.type == "cpu" and n_tokens <= EAGER_TOKENS
        self.backbone.set_attn_implementation("eager" if is_eager else self._fused_attention)

    def use_dropout(self, of_backbone: bool) -> None:
        """Switch the backbone's dropout on or off; that of adapters stays on, its rate says how much."""
        self.train(of_backbone)
        for name, module in self.named_modules():
            if "lora_dropout" in name:
                module.train()


def pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """[B, D] from hidden states [B, T, D]: of the last or first token of the text, or the mean over it."""
    if pooling == "first":
        return hidden[:, 0]
    lengths = mask.sum(1)  # [B]
    if pooling == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
    return (hidden * mask[:, :, None]).sum(1) / lengths[:, None]


def build(model: Mapping[str, Any], base: Path | None, seed: int) -> Classifier:
    """A classifier ready to be finetuned, in float32, on the CPU.

    Args:
        model: ``init, n_layers, size, max_length, pooling, head, precision, lora, hub`` of a training's parameters.
        base: a local folder of transformers; None where ``model["hub"]`` names id and revision.
        seed: of whatever starts at random; the global random state is left as it was.

    Raises:
        DataError: configuration, weights or tokenizer cannot be read or do not fit ``model``.
    """
    name, revision = (str(base), None) if base else (model["hub"]["id"], model["hub"]["revision"])
    if base and not base.is_dir():
        raise DataError(f"{base}: no such folder; give a model's folder or Hub id")
    with _isolated():
        torch.manual_seed(seed)
        with _readable(name, "configuration"):
            config = AutoConfig.from_pretrained(name, revision=revision)
        text_config = config.get_text_config()
        pooling = _pooling(name, text_config) if model["pooling"] == "auto" else model["pooling"]
        text_config.use_cache = False
        if model["n_layers"] is not None:
            _keep_layers(name, text_config, model["n_layers"])
        if model["init"] == "random":
            _resize(text_config, model["size"])
            with _readable(name, f"architecture at size {dict(model['size'])}"):
                backbone = AutoModel.from_config(config, dtype=torch.float32)
        else:
            backbone = _read_backbone(name, revision, config)
        tokenizer = _read_tokenizer(name, revision)
        width = _width(backbone)
        classifier = Classifier(
            _with_lora(backbone, model["lora"]) if model["lora"] else backbone,
            tokenizer,
            width=width,
            pooling=pooling,
            max_length=_max_length(model["max_length"], text_config, tokenizer),
            precision=model["precision"],
        )
        if model["head"] == "zeros":
            nn.init.zeros_(classifier.head.weight)
        else:
            nn.init.normal_(classifier.head.weight, std=0.01 / math.sqrt(width))
    return classifier


def save(classifier: Classifier, folder: Path) -> None:
    """Write a self-contained folder that ``load`` reads; adapters are merged into the weights, in place."""
    if hasattr(classifier.backbone, "merge_and_unload"):
        classifier.backbone = classifier.backbone.merge_and_unload()
    with _isolated():
        classifier.backbone.save_pretrained(folder)
        classifier.tokenizer.save_pretrained(folder)
    safetensors.torch.save_file({"weight": classifier.head.weight.detach().cpu()}, folder / "head.safetensors")
    about = {
        "pooling": classifier.pooling,
        "max_length": classifier.max_length,
        "precision": classifier.precision,
    }
    (folder / "classifier.json").write_text(json.dumps(about, indent=2) + "\n")


def load(folder: Path) -> Classifier:
    """Read what ``save`` wrote, onto the CPU.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    with _isolated():
        with _readable(str(folder), "classifier"):
            about = json.loads((folder / "classifier.json").read_text())
            head = safetensors.torch.load_file(folder / "head.safetensors")
            config = AutoConfig.from_pretrained(folder)
        classifier = Classifier(
            _read_backbone(str(folder), None, config),
            _read_tokenizer(str(folder), None),
            width=head["weight"].shape[1],
            **about,
        )
    classifier.head.load_state_dict(head)
    return classifier.eval()


def _pooling(name: str, config: PreTrainedConfig) -> str:
    if config.is_encoder_decoder:
        raise DataError(f"{name}: {config.model_type} is an encoder-decoder; use a causal LM or an encoder")
    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False):
        return "mean"
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "last"
    raise DataError(
        f"{name}: {config.model_type} is neither a causal LM nor an encoder that transformers knows; "
        "set the model's pooling to last, mean or first"
    )


def _keep_layers(name: str, config: PreTrainedConfig, n_layers: int) -> None:
    if n_layers > config.num_hidden_layers:
        raise DataError(f"{name}: n_layers = {n_layers}, but the model has {config.num_hidden_layers} layers")
    _set_layers(config, n_layers)


def _set_layers(config: PreTrainedConfig, n_layers: int) -> None:
    """Change the number of layers, and every list that has one item per layer (repeated where it is too short)."""
    old = config.num_hidden_layers
    per_layer = {
        name: [value[i % old] for i in range(n_layers)]
        for name, value in config.to_dict().items()
        if isinstance(value, list) and len(value) == old
    }
    config.num_hidden_layers = n_layers
    config.update(per_layer)


def _resize(config: PreTrainedConfig, size: Mapping[str, int]) -> None:
    """Change depth, width and heads; the feed-forward and key-value widths keep their ratio to them."""
    _set_layers(config, size["n_layers"])
    width, n_heads, values = size["width"], size["n_heads"], config.to_dict()
    changes = {name: max(1, values[name] * width // config.hidden_size) for name in FEED_FORWARD if values.get(name)}
    if values.get("num_key_value_heads"):
        shared = max(1, config.num_attention_heads // values["num_key_value_heads"])
        changes["num_key_value_heads"] = max(1, n_heads // shared)
    if values.get("head_dim"):
        changes["head_dim"] = width // n_heads
    config.update({**changes, "hidden_size": width, "num_attention_heads": n_heads})


def _width(backbone: PreTrainedModel) -> int:
    """Size of the last hidden state, which some architectures project from their hidden size to another."""
    with torch.no_grad():
        return backbone(input_ids=torch.zeros(1, 1, dtype=torch.long)).last_hidden_state.shape[-1]


def _max_length(wanted: int, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """``wanted``, or less where the model has fewer positions."""
    positions = getattr(config, "max_position_embeddings", None) or wanted
    return min(wanted, positions, tokenizer.model_max_length)


def _read_backbone(name: str, revision: str | None, config: PreTrainedConfig) -> PreTrainedModel:
    """The weights that ``config`` asks for; more of them in the file (heads, layers) are left out."""
    with _readable(name, "weights (model.safetensors)"):
        backbone, report = AutoModel.from_pretrained(
            name,
            revision=revision,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    # A pooler is of no use here, and files of language models have none.
    absent = {key for key in report["missing_keys"] if "pooler" not in key}
    absent |= {key for key, *_ in report["mismatched_keys"]}
    if absent:
        raise DataError(
            f"{name}: {len(absent)} tensors that config.json asks for are not in model.safetensors, or not in that "
            f"shape, such as {min(absent)}; both files must be of one model"
        )
    return backbone


def _read_tokenizer(name: str, revision: str | None) -> PreTrainedTokenizerBase:
    with _readable(name, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    # Without its files, transformers makes some tokenizers up, with special tokens only.
    if tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):
        raise DataError(f"{name}: cannot read the tokenizer: no vocabulary; tokenizer.json belongs next to config.json")
    return tokenizer


def _with_lora(backbone: PreTrainedModel, lora: Mapping[str, Any]) -> nn.Module:
    """Adapters on every linear layer; all other weights are frozen."""
    import peft
    from transformers.pytorch_utils import Conv1D

    config = peft.LoraConfig(
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules="all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in backbone.modules()),
    )
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5.23 for an attribute under its former name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return peft.get_peft_model(backbone, config)


@contextmanager
def _readable(name: str, what: str) -> Iterator[None]:
    """Turn what transformers raises about unusable files into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, safetensors.SafetensorError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise DataError(f"{name}: cannot read the {what}: {first_line}") from error


@contextmanager
def _isolated() -> Iterator[None]:
    """For as long as this lasts, transformers draws no bars and reports no left-out weights; torch's random state is
    afterwards what it was before."""
    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()
