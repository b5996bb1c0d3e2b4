"""Classifiers on any transformers causal language model or encoder: build, save, load.

How they are trained is in ``training``. Sequences come padded on the right, and every position is found by the
attention mask, never by a token id; how they go through a backbone without padding is in ``packing``. Letters: B
examples, T tokens, D hidden size.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from w2s_core.errors import DataError
from w2s_core.models.architecture import fuse_activations, keep_layers, pooling_of, resize
from w2s_core.models.attention import PACKED, use_attention
from w2s_core.models.heads import LabelTokens, load_head, make_head, make_lm_head, save_head
from w2s_core.models.packing import is_packable, longest_text, on_device, packed_states, pool_packed
from w2s_core.models.pretrained import able, isolated, read_backbone, read_tokenizer, readable


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
        is_padded: bool = True,
        is_packable: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.max_length = max_length
        self.precision = precision
        self.is_padded = is_padded
        """Whether texts of different lengths may go through the backbone together; else its padding changes logits."""
        self.is_packable = is_packable
        """Whether they may go through it end to end, without padding."""
        self._fused_attention = backbone.config._attn_implementation

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device

    @property
    def pad_id(self) -> int:
        """What fills up a batch; any id that has an embedding does, since the mask says what is text."""
        return pad_id(self.backbone, self.tokenizer)

    def forward(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """The head's outputs [B, K] float32 of token ids and mask, both [B, T] int64; 3 under ``LabelTokens``."""
        if self.is_packed:
            with self._autocast():
                states, layout = packed_states(self.backbone, input_ids, mask, self.device)
            return self.head(pool_packed(states.float(), layout, self.pooling))
        input_ids, mask = on_device(input_ids, self.device), on_device(mask, self.device)
        lengths = mask.sum(1)  # [B]
        if self.is_padded or int(lengths.min()) == mask.shape[1]:
            return self._logits(input_ids, mask)
        order, logits = [], []
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            order.append(rows)
            logits.append(self._logits(input_ids[rows, :length], mask[rows, :length]))
        return torch.cat(logits)[torch.cat(order).argsort()]

    def _logits(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        with self._autocast():
            hidden = self.backbone(input_ids=input_ids, attention_mask=mask).last_hidden_state
        return self.head(pool(hidden.float(), mask, self.pooling))

    def states_at(self, input_ids: Tensor, mask: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Last hidden states [M, D] float32 of the tokens at M places, of token ids and mask, both [B, T] int64.

        Args:
            rows: [M] int64, below B.
            columns: [M] int64, below T; on text.
        """
        if self.is_packed:
            with self._autocast():
                states, layout = packed_states(self.backbone, input_ids, mask, self.device)
            return states[layout.starts.long()[on_device(rows, self.device)] + on_device(columns, self.device)].float()
        lengths = mask.sum(1)
        runs = [torch.arange(len(mask))]
        if not self.is_padded:
            runs = [(lengths == length).nonzero()[:, 0] for length in lengths.unique()]
        states, places = [], []
        for run in runs:
            n_tokens = int(lengths[run].max())
            with self._autocast():
                hidden = self.backbone(
                    input_ids=on_device(input_ids[run, :n_tokens], self.device),
                    attention_mask=on_device(mask[run, :n_tokens], self.device),
                ).last_hidden_state
            place = torch.isin(rows, run).nonzero()[:, 0]
            states.append(hidden[on_device(torch.searchsorted(run, rows[place]), self.device), columns[place]].float())
            places.append(place)
        return states[0] if len(runs) == 1 else torch.cat(states)[torch.cat(places).argsort()]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def attention(self) -> str:
        """The attention kernel in use."""
        return self.backbone.config._attn_implementation

    @property
    def is_packed(self) -> bool:
        """Whether texts go through the backbone end to end, so that a pass costs what its tokens cost."""
        return self.attention == PACKED

    def use_attention_for(self, n_tokens: int) -> None:
        """Choose the attention kernel for texts of up to ``n_tokens``, and for the use of dropout as it is."""
        use_attention(
            self.backbone,
            self._fused_attention,
            self.device.type,
            self.precision,
            n_tokens,
            is_packable=self.is_packable,
        )

    def pass_on(self, more: Mapping[str, Any]) -> Any:
        """What the backbone says of arguments that it takes as a language model does, padded."""
        kernel = self.attention
        if self.is_packed:
            self.backbone.set_attn_implementation(self._fused_attention)
        try:
            with self._autocast():
                return self.backbone(**more)
        finally:
            if kernel != self.attention:
                self.backbone.set_attn_implementation(kernel)

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


def build(model: Mapping[str, Any], base: Path | None, seed: int, n_outputs: int | None = 2) -> Classifier:
    """A classifier ready to be finetuned, in float32, on the CPU.

    Args:
        model: ``init, n_layers, size, max_length, pooling, head, precision, lora, hub`` of a training's parameters.
        base: a local folder of transformers; None where ``model["hub"]`` names id and revision.
        seed: of whatever starts at random; the global random state is left as it was.
        n_outputs: of the head; None: that of the language model, with one for every token.

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
        family = text_config.model_type
        text_config.use_cache = False
        fuse_activations(text_config)
        if model["n_layers"] is not None:
            with able(name, f"n_layers: a {family} cannot be cut", "leave n_layers out"):
                keep_layers(name, text_config, model["n_layers"])
        if model["init"] == "random":
            size = dict(model["size"])
            with able(
                name, f"init: a {family} cannot be built at size {size}", "set init to pretrained, or another size"
            ):
                resize(text_config, size)
                backbone = AutoModel.from_config(config, dtype=torch.float32)
        else:
            instead = "" if model["n_layers"] is None else "leave n_layers out if the model is whole"
            backbone = read_backbone(name, revision, config, instead)
        tokenizer = read_tokenizer(name, revision)
        require_embeddings(name, backbone, tokenizer)
        fault = f"a {family} cannot be used on text alone", "choose a causal LM or an encoder"
        if model["init"] == "random":
            fault = (
                f"size: a {family} does not work at {dict(model['size'])}",
                "set init to pretrained, or another size",
            )
        elif model["n_layers"] is not None:
            fault = f"n_layers: a {family} does not work when cut", "leave n_layers out"
        with able(name, *fault):
            width = _hidden(backbone, [[0, 1, 2, 0]], "fp32").shape[-1]
        with able(name, f"head: that of a {family} cannot be read", "set the model's head to zeros or small"):
            if n_outputs is None:
                is_random = model["init"] == "random"
                head = make_lm_head(width, n_embeddings(backbone), name, revision, config, is_random=is_random)
            else:
                head = make_head(model["head"], width, name, revision, config, tokenizer, n_outputs)
        if model["precision"] == "bf16":
            with able(name, f"precision: a {family} cannot compute in bf16", "set precision to fp32"):
                _hidden(backbone, [[0, 1, 2, 0]], "bf16")
        may_be_padded, may_be_packed = _may_be_padded(name, backbone, tokenizer), is_packable(backbone)
        if model["lora"]:
            with able(name, f"lora: a {family} takes no adapters", "leave lora out"):
                backbone = with_lora(backbone, model["lora"])
                _hidden(backbone, [[0, 1, 2, 0]], "fp32").sum().backward()
                backbone.zero_grad()
            # As large as the embeddings, which adapters leave alone too.
            head.requires_grad_(not isinstance(head, LabelTokens) and n_outputs is not None)
        return Classifier(
            backbone,
            head,
            tokenizer,
            pooling=pooling,
            max_length=longest_text(model["max_length"], text_config, tokenizer, backbone),
            precision=model["precision"],
            is_padded=may_be_padded,
            is_packable=may_be_packed,
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
        "is_padded": classifier.is_padded,
        "is_packable": classifier.is_packable,
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


def _hidden(backbone: nn.Module, ids: list[list[int]], precision: str, mask: list[list[int]] | None = None) -> Tensor:
    """Last hidden states [B, T, D] float32 of a probe, without dropout; their size is not always the hidden size."""
    was_training = backbone.training
    backbone.eval()
    input_ids = torch.tensor(ids)
    given = torch.ones_like(input_ids) if mask is None else torch.tensor(mask)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        hidden = backbone(input_ids=input_ids, attention_mask=given).last_hidden_state.float()
    backbone.train(was_training)
    return hidden


def _may_be_padded(name: str, backbone: nn.Module, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a text has the same hidden states alone and padded; says so where it has not.

    Raises:
        DataError: it has others even beside a text of its own length.
    """
    text, longer = [1, 2, 0, 2, 1], [2, 1, 1, 0, 2, 2, 1, 0, 1]
    n, more = len(text), len(longer) - len(text)
    with torch.no_grad():
        alone = _hidden(backbone, [text], "fp32")[0]
        padded = _hidden(
            backbone,
            [text + [pad_id(backbone, tokenizer)] * more, longer],
            "fp32",
            [[1] * n + [0] * more, [1] * (n + more)],
        )[0]
        if padded.shape[0] >= n and torch.allclose(padded[:n], alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max())):
            return True
        beside = _hidden(backbone, [text, longer[:n]], "fp32")[0]
    family = backbone.config.get_text_config().model_type
    if beside.shape != alone.shape or not torch.allclose(
        beside, alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max())
    ):
        raise DataError(
            f"{name}: what a {family} makes of a text depends on the other texts of a batch; choose another"
        )
    logging.getLogger(__name__).warning(
        "%s: padding changes what a %s makes of a text, so that only texts of one length go through it together",
        name, family,
    )  # fmt: skip
    return False


def pad_id(backbone: nn.Module, tokenizer: PreTrainedTokenizerBase) -> int:
    """The tokenizer's padding, where it has an embedding."""
    wanted = tokenizer.pad_token_id or 0
    return wanted if wanted < n_embeddings(backbone) else 0


def n_embeddings(backbone: nn.Module) -> int:
    """How many token ids a model knows."""
    return backbone.get_input_embeddings().weight.shape[0]


def require_embeddings(name: str, backbone: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that can give a text ids which the model does not know; padding needs none.

    Raises:
        DataError: there is such an id.
    """
    with able(name, "its token embeddings cannot be found", "choose a causal LM or an encoder"):
        n = n_embeddings(backbone)
    special, framing = set(tokenizer.all_special_ids), set(tokenizer("a")["input_ids"])
    unknown = {
        id: word for word, id in tokenizer.get_vocab().items() if id >= n and (id not in special or id in framing)
    }
    if unknown:
        raise DataError(
            f"{name}: its tokenizer has {len(unknown)} words without an embedding, such as {unknown[max(unknown)]!r} "
            f"(id {max(unknown)}, of {n}); tokenizer.json and model.safetensors must be of one model"
        )


def with_lora(backbone: PreTrainedModel, lora: Mapping[str, Any]) -> nn.Module:
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
