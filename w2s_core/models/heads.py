"""Classification heads: what they compute from a pooled hidden state, and how each kind starts.

Which states are pooled is in ``classifier``. Letters: B examples, D size of the last hidden state, V tokens of the
vocabulary.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from w2s_core.errors import DataError
from w2s_core.models.architecture import is_encoder, set_layers
from w2s_core.models.pretrained import readable

LABELS = ("0", "1")
"""The words whose tokens stand for the classes in a language model (Burns et al. 2023, appendix A)."""


class LabelTokens(nn.Linear):
    """The LM head of a language model, of whose logits a loss sees three: of the two labels, and of all other tokens.

    The third is their log-sum-exp, so that a softmax over the three gives the labels the probabilities that they have
    under the whole vocabulary: probability that goes to other tokens is penalised, as in a language model, by every
    loss that normalises. The classes themselves are told apart by the first two alone.
    """

    def __init__(self, width: int, n_tokens: int, label_tokens: tuple[int, int], *, bias: bool) -> None:
        super().__init__(width, n_tokens, bias=bias)
        self.label_tokens = label_tokens
        self.register_buffer("label_index", torch.tensor(label_tokens), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits [B, 3] float32 of [B, D]."""
        logits = super().forward(hidden)  # [B, V]
        others = logits.index_fill(1, self.label_index, -math.inf).logsumexp(1, keepdim=True)
        return torch.cat([logits[:, self.label_index], others], 1)


class Unembedding(NamedTuple):
    """The LM head of a language model."""

    weight: Tensor
    """[V, D] float32."""
    bias: Tensor | None
    """[V] float32."""


def make_head(
    kind: str,
    width: int,
    name: str,
    revision: str | None,
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    n_outputs: int = 2,
) -> nn.Linear:
    """A head in float32 as it starts.

    Args:
        kind: ``zeros``, ``small`` (normal, standard deviation 0.01 / √D), ``unembed_rows`` (the rows of the tokens "0"
            and "1" of the model's LM head, without its bias, as in Burns et al. 2023), all of them without bias; or
            ``lm_head_tokens``: the whole LM head, a copy that is trained apart from the token embeddings even where
            the language model shares them.
        width: D.
        n_outputs: 2 for two classes; 1 for a scalar, which starts under ``unembed_rows`` as the log-odds of the token
            "1" against "0"; ``lm_head_tokens`` is the same head for both.
        name: folder or Hub id of the language model; with ``revision`` and ``config``, what is read of it.

    Raises:
        DataError: the model has no LM head, it is more than one linear layer, or the tokenizer has no label tokens; or
            there are more outputs than label tokens.
    """
    if kind in ("zeros", "small"):
        head = nn.Linear(width, n_outputs, bias=False)
        if kind == "zeros":
            nn.init.zeros_(head.weight)
        else:
            nn.init.normal_(head.weight, std=0.01 / math.sqrt(width))
        return head
    if n_outputs > len(LABELS):
        raise DataError(
            f"{name}: head: {kind} is for two classes, not {n_outputs}; set the model's head to zeros or small"
        )
    tokens = label_tokens(name, tokenizer)
    weight, bias = read_unembedding(name, revision, config)
    if kind == "unembed_rows":
        rows = weight[list(tokens)]
        head = nn.Linear(width, n_outputs, bias=False)
        head.load_state_dict({"weight": rows if n_outputs == len(LABELS) else rows[1:] - rows[:1]})
        return head
    head = LabelTokens(width, len(weight), tokens, bias=bias is not None)
    head.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return head


def make_lm_head(
    width: int, n_tokens: int, name: str, revision: str | None, config: PreTrainedConfig, *, is_random: bool
) -> nn.Linear:
    """The head of a language model that is trained on texts, in float32, with an output for every token.

    A copy, as under ``lm_head_tokens``: it is trained apart from the token embeddings even where the model shares them.

    Args:
        width: D.
        n_tokens: V, of a head that starts at random, as the model does.
        name: see ``make_head``, as for the next two.

    Raises:
        DataError: the model reads texts both ways, or see ``read_unembedding``.
    """
    if is_encoder(config.get_text_config()):
        family = config.get_text_config().model_type
        raise DataError(f"{name}: a {family} is no causal language model, and writes no answers; choose one that is")
    if is_random:
        head = nn.Linear(width, n_tokens, bias=False)
        nn.init.normal_(head.weight, std=0.02)
        return head
    weight, bias = read_unembedding(name, revision, config)
    head = nn.Linear(width, len(weight), bias=bias is not None)
    head.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return head


def save_head(head: nn.Linear, path: Path) -> None:
    """Write weights, and which tokens are labels."""
    labels = {f"label_{i}": str(token) for i, token in enumerate(getattr(head, "label_tokens", ()))}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    safetensors.torch.save_file(tensors, path, labels or None)


def load_head(path: Path) -> nn.Linear:
    """Read what ``save_head`` wrote."""
    with safetensors.safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        labels = file.metadata() or {}
    n_rows, width = tensors["weight"].shape
    if labels:
        tokens = int(labels["label_0"]), int(labels["label_1"])
        head: nn.Linear = LabelTokens(width, n_rows, tokens, bias="bias" in tensors)
    else:
        head = nn.Linear(width, n_rows, bias="bias" in tensors)
    head.load_state_dict(tensors)
    return head


def label_tokens(name: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """The tokens of the two labels: both bare, or both as they stand after a space.

    Raises:
        DataError: the tokenizer has no single token for a label.
    """
    vocabulary = tokenizer.get_vocab()
    for space in ("", " "):
        encoded = [tokenizer(space + label, add_special_tokens=False)["input_ids"] for label in LABELS]
        tokens = [ids[0] for ids in encoded if len(ids) == 1 and ids[0] != tokenizer.unk_token_id]
        if len(set(tokens)) == len(LABELS):
            return tokens[0], tokens[1]
    # Some tokenizers put a token for a space before every text.
    if vocabulary.keys() >= set(LABELS):
        return vocabulary[LABELS[0]], vocabulary[LABELS[1]]
    raise DataError(f'{name}: its tokenizer has no tokens for "0" and "1"; set the model\'s head to zeros or small')


def read_unembedding(name: str, revision: str | None, config: PreTrainedConfig) -> Unembedding:
    """The LM head of a language model, which is read for it with one layer only.

    Raises:
        DataError: it has none, or its logits are not a linear function of the last hidden state.
    """
    config = copy.deepcopy(config)
    text_config = config.get_text_config()
    set_layers(text_config, 1)
    auto = AutoModelForMaskedLM if is_encoder(text_config) else AutoModelForCausalLM
    with readable(name, "LM head (model.safetensors)", "set the model's head to zeros or small"):
        model, report = auto.from_pretrained(
            name,
            revision=revision,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
        )
    head = model.get_output_embeddings()
    of_head = {key for key, parameter in model.named_parameters(remove_duplicate=False)
               if head is not None and any(parameter is own for own in head.parameters())}  # fmt: skip
    advice = "set the model's head to zeros or small"
    if not of_head or of_head & set(report["missing_keys"]):
        raise DataError(f"{name}: there is no LM head in model.safetensors; {advice}")
    if not _is_linear(model, head):
        raise DataError(
            f"{name}: the LM head of {text_config.model_type} is more than one linear layer on the last hidden state; "
            f"{advice}"
        )
    return Unembedding(head.weight.detach().clone(), None if head.bias is None else head.bias.detach().clone())


def _is_linear(model: PreTrainedModel, head: nn.Module) -> bool:
    """Whether the logits are what ``head`` makes of the last hidden state: no further layer, scale or cap."""
    model.eval()
    ids = torch.tensor([[0, 1]])
    with torch.no_grad():
        hidden = model.base_model(input_ids=ids).last_hidden_state
        logits = model(input_ids=ids).logits
        expected = (
            functional.linear(hidden, head.weight, head.bias) if hidden.shape[-1] == head.weight.shape[1] else None
        )
    return expected is not None and torch.allclose(logits, expected, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))
