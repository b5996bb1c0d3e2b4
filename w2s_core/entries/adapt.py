"""The stage ``adapt``: generative finetuning of a language model on the texts of a task, without any labels.

Burns et al. 2023, section 5.2.2. What is made is a model like the one before, and is finetuned as that.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from w2s_core.data.rows import Rows, each, read_rows
from w2s_core.models.packing import longest_text
from w2s_core.models.pretrained import language_model_of
from w2s_core.settings.setting import VIEWS, View
from w2s_core.training.language import UNCOUNTED, train_language_model
from w2s_core.watch import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def adapt(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Train on all texts of the rows, whatever their labels, and save a folder of transformers with its tokenizer.

    The loss is on all tokens, or on those of answers, which are candidates and not known to be right.

    Args:
        params: ``setting``, ``model`` (``n_layers`` and ``hub`` of a ModelConfig), ``adapt`` (an ``AdaptConfig``),
            ``lr``, ``seed``.
        inputs: ``train``, the rows; ``base``, a folder, where ``model["hub"]`` names no other place.
        out: gets ``model``.
        watch: hears of every step.

    Raises:
        DataError: it is no causal language model, or its files cannot be read.
        TrainingError: the loss is not finite any more.
    """
    settings, rows = params["adapt"], read_rows(inputs["train"])
    model, tokenizer = language_model_of(params["model"], inputs.get("base"))
    model = model.to(watch.device)
    longest = longest_text(settings["sequence_length"], model.config.get_text_config(), tokenizer, model)
    view = VIEWS.get(params["setting"])
    batches, wanted = text_batches(rows, view, tokenizer, {**settings, "sequence_length": longest}, params["seed"])
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(params["seed"])
        loss = train_language_model(model, batches, params["lr"] * settings["lr_scale"], watch, wanted)
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    return {"loss": loss, "n_train": len(rows), "n_steps": len(batches)}


def text_batches(
    rows: Rows, view: View, tokenizer: PreTrainedTokenizerBase, settings: Mapping[str, Any], seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The texts as S batches of B sequences of T tokens, [S, B, T] int64, in another order in each epoch.

    Beside them the same with ``UNCOUNTED`` for tokens that the loss does not ask for. The token after a text is a part
    of its answer.

    Texts lie end to end, apart by the tokenizer's end of text if it has one, and are cut without regard to them; what
    fills no batch is left out, and too few texts for one batch are repeated.
    """
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    texts = list(each(rows, view.documents))
    starts = [0] * len(texts) if settings["loss_on"] == "all" else each(rows, view.answer_starts)
    ids, asked = [], []
    for text, start in zip(texts, starts, strict=True):
        found = tokenizer(text, return_offsets_mapping=start > 0)
        ids.append([*found["input_ids"], *end])
        # The first token of an answer may begin with the space before it.
        counts = [stop > start for _, stop in found["offset_mapping"]] if start else [True] * len(found["input_ids"])
        asked.append([*(id if c else UNCOUNTED for id, c in zip(found["input_ids"], counts, strict=True)), *end])
    tokens: list[int] = []
    wanted: list[int] = []
    for epoch in range(settings["epochs"]):
        for index in np.random.default_rng((seed, epoch)).permutation(len(ids)):
            tokens += ids[index]
            wanted += asked[index]
    shape = settings["batch_size"], settings["sequence_length"]
    n_steps = max(1, len(tokens) // (shape[0] * shape[1]))
    n_tokens = n_steps * shape[0] * shape[1]
    laid, laid_wanted = (torch.tensor(np.resize(line, n_tokens)).view(n_steps, *shape) for line in (tokens, wanted))
    return laid, laid_wanted
