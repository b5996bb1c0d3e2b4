"""Classifiers of two classes on any transformers causal language model or encoder: build, save, load.

How they are trained is in ``w2s_core.train``. Sequences are padded on the right, and every position is found by the
attention mask, never by a token id. Letters: B examples, T tokens, D hidden size.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from w2s_core.architecture import fuse_activations, keep_layers, pooling_of, resize
from w2s_core.attention import use_attention
from w2s_core.errors import DataError
from w2s_core.heads import LabelTokens, load_head, make_head, save_head
from w2s_core.pretrained import isolated, read_backbone, read_tokenizer, readable


class Classifier(nn.Module):
    """A backbone, a linear head in float32, and all that it takes to use them on texts."""

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Linear,
        tokenizer: PreTrainedTokenizerBase,
        *,
        pooling: str,
        max_length: int,
        precision: str,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
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
        """Logits [B, 2] float32 of token ids and mask, both [B, T] int64; [B, 3] where the head is ``LabelTokens``."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            hidden = self.backbone(input_ids=input_ids, attention_mask=mask).last_hidden_state
        return self.head(pool(hidden.float(), mask, self.pooling))

    @property
    def attention(self) -> str:
        """The attention kernel in use."""
        return self.backbone.config._attn_implementation

    def use_attention_for(self, n_tokens: int) -> None:
        """Choose the attention kernel for texts of up to ``n_tokens``."""
        use_attention(self.backbone, self._fused_attention, self.device.type, self.precision, n_tokens)

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
        DataError: configuration, weights or tokenizer cannot be read, do not fit ``model``, or lack the LM head for it.
    """
    name, revision = (str(base), None) if base else (model["hub"]["id"], model["hub"]["revision"])
    if base and not base.is_dir():
        raise DataError(f"{base}: no such folder; give a model's folder or Hub id")
    with isolated():
        torch.manual_seed(seed)
        with readable(name, "configuration"):
            config = AutoConfig.from_pretrained(name, revision=revision)
        text_config = config.get_text_config()
        pooling = pooling_of(name, text_config) if model["pooling"] == "auto" else model["pooling"]
        text_config.use_cache = False
        fuse_activations(text_config)
        if model["n_layers"] is not None:
            keep_layers(name, text_config, model["n_layers"])
        if model["init"] == "random":
            resize(text_config, model["size"])
            with readable(name, f"architecture at size {dict(model['size'])}"):
                backbone = AutoModel.from_config(config, dtype=torch.float32)
        else:
            backbone = read_backbone(name, revision, config)
        tokenizer = read_tokenizer(name, revision)
        head = make_head(model["head"], _width(backbone), name, revision, config, tokenizer)
        if model["lora"]:
            backbone = _with_lora(backbone, model["lora"])
            # As large as the embeddings, which adapters leave alone too.
            head.requires_grad_(not isinstance(head, LabelTokens))
        return Classifier(
            backbone,
            head,
            tokenizer,
            pooling=pooling,
            max_length=_max_length(model["max_length"], text_config, tokenizer),
            precision=model["precision"],
        )


def save(classifier: Classifier, folder: Path) -> None:
    """Write a self-contained folder that ``load`` reads; adapters are merged into the weights, in place."""
    if hasattr(classifier.backbone, "merge_and_unload"):
        classifier.backbone = classifier.backbone.merge_and_unload()
    with isolated():
        classifier.backbone.save_pretrained(folder)
        classifier.tokenizer.save_pretrained(folder)
    save_head(classifier.head, folder / "head.safetensors")
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
    with isolated():
        with readable(str(folder), "classifier"):
            about = json.loads((folder / "classifier.json").read_text())
            head = load_head(folder / "head.safetensors")
            config = AutoConfig.from_pretrained(folder)
        return Classifier(
            read_backbone(str(folder), None, config), head, read_tokenizer(str(folder), None), **about
        ).eval()


def _width(backbone: PreTrainedModel) -> int:
    """Size of the last hidden state, which some architectures project from their hidden size to another."""
    with torch.no_grad():
        return backbone(input_ids=torch.zeros(1, 1, dtype=torch.long)).last_hidden_state.shape[-1]


def _max_length(wanted: int, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """``wanted``, or less where the model has fewer positions."""
    positions = getattr(config, "max_position_embeddings", None) or wanted
    return min(wanted, positions, tokenizer.model_max_length)


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
