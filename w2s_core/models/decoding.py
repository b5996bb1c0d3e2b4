"""Lets a causal language model go on after prompts, with keys and values kept: the likeliest token each time.

How prompts are dealt into batches is in ``training.predict``. Letters: B prompts of a batch, T tokens, W tokens of the
longest answer.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from w2s_core.models.classifier import Classifier

ENDED = -1
"""In the place of the tokens after the end of an answer."""


def go_on(classifier: Classifier, prompts: Sequence[np.ndarray], n_tokens: int, end: int) -> Tensor:
    """[B, W] int64, the tokens that follow each prompt, W = ``n_tokens``, and ``ENDED`` from the end of its text on.

    Args:
        classifier: with the head of a language model; in evaluation mode.
        prompts: token ids, none of them empty.
        n_tokens: of the longest answer.
        end: the token that ends a text.
    """
    said = torch.full((len(prompts), n_tokens), ENDED, device=classifier.device)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    # Together where that changes nothing, else those of one length.
    runs = [torch.arange(len(prompts))]
    if not classifier.is_padded:
        runs = [(lengths == length).nonzero()[:, 0] for length in lengths.unique()]
    for run in runs:
        said[run.to(said.device)] = _run(classifier, [prompts[i] for i in run.tolist()], n_tokens, end)
    return said


@torch.no_grad()
def _run(classifier: Classifier, prompts: Sequence[np.ndarray], n_tokens: int, end: int) -> Tensor:
    device = classifier.device
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    longest = int(lengths.max())
    # Padded on the left, so that all go on at one place.
    padded = np.full((len(prompts), longest), classifier.pad_id, np.int64)
    for row, prompt in enumerate(prompts):
        padded[row, longest - len(prompt) :] = prompt
    ids = torch.from_numpy(padded).to(device)
    mask = (torch.arange(longest) >= longest - lengths[:, None]).long().to(device)  # [B, T]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    # Not every family counts positions; one with adapters hides whether it does.
    backbone = classifier.backbone
    whole = backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone
    counts = "position_ids" in inspect.signature(whole.forward).parameters
    said = torch.full((len(prompts), n_tokens), ENDED, device=device)
    is_over = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    cache = None
    for step in range(n_tokens):
        more = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache, "use_cache": True}
        output = classifier.pass_on({**more, "position_ids": positions} if counts else more)
        cache = output.past_key_values
        chosen = classifier.head(output.last_hidden_state[:, -1].float()).argmax(-1)  # [B]
        is_over |= chosen == end
        said[:, step] = chosen.masked_fill(is_over, ENDED)
        if bool(is_over.all()):
            break
        ids = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], 1)
        positions = positions[:, -1:] + 1
    return said
