"""A debater that is a causal language model of the ladder, here in this process.

Its chat template is used where its tokenizer has one; else it goes on after the plain prompt, up to a blank line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from w2s_core.config import Name
from w2s_core.debate.debaters.debater import DEBATERS, Asked, Debater, Sampled, Speak, Spoken
from w2s_core.offline.world import stream
from w2s_core.watch import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONTENT = "\ufdd0"
"""Stands for the prompt in a chat template; no text has it, for it is no character."""

END = "\n\n"
"""Ends a turn of a model without a chat template."""


class Local(Sampled):
    """A causal language model of the ladder, asked by its chat template if it has one."""

    kind: Literal["local"] = "local"
    model: Name = Field(description="Of the ladder; mostly the student's.")


def opened(params: Mapping[str, Any], inputs: Mapping[str, Path], watch: Watch) -> Speak:
    """See ``Local``.

    Args:
        params: ``debater``, ``model`` (``n_layers``, ``max_length`` and ``hub`` of a ModelConfig) and ``seed``.
        inputs: ``base``, where ``model["hub"]`` names no other place.
        watch: says where the model runs.
    """
    # Planning looks at the settings above, and needs no model.
    from w2s_core.models.packing import longest_text
    from w2s_core.models.pretrained import language_model_of
    from w2s_core.training.speaking import Sampling, speak

    settings = params["debater"]
    sampling = Sampling(settings["temperature"], settings["top_p"], settings["max_tokens"])
    model, tokenizer = language_model_of(params["model"], inputs.get("base"))
    model = model.to(watch.device).eval()
    longest = longest_text(params["model"]["max_length"], model.config.get_text_config(), tokenizer, model)
    room = max(longest - sampling.max_tokens, 1)
    is_chat = tokenizer.chat_template is not None
    ends = model.generation_config.eos_token_id if model.generation_config is not None else None
    ends = frozenset([*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id]) - {None}

    def said(asked: Sequence[Asked]) -> Iterator[tuple[int, Spoken]]:
        prompts = [_shortened(tokenizer, one, room) for one in asked]
        streams = [stream("turn", params["seed"], one.id, one.turn) for one in asked]
        for place, found in speak(model, ends, prompts, streams, sampling):
            text = tokenizer.decode(found.ids, skip_special_tokens=True).strip()
            is_cut = found.is_cut
            if not is_chat and END in text:
                text, is_cut = text.partition(END)[0], False
            yield place, Spoken(text, is_cut, len(found.ids), len(prompts[place]))

    return said


def _shortened(tokenizer: PreTrainedTokenizerBase, asked: Asked, room: int) -> list[int]:
    """The prompt in tokens; what is too long loses the beginning of the passage, and at last its own."""
    passage = asked.passage
    while True:
        ids = encoded(tokenizer, asked.write(passage))
        excess = len(ids) - room
        if excess <= 0 or not passage:
            return ids[-room:]
        words = passage.split(" ")
        # A word has at least one token, mostly; some more rounds where it has not.
        passage = " ".join(words[max(1, excess // 2) :])


def encoded(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """A prompt in tokens, as a user's message where there is a chat template; special tokens in it are mere letters."""
    if tokenizer.chat_template is None:
        return _letters(tokenizer, prompt) or [tokenizer.eos_token_id or 0]
    message = [{"role": "user", "content": CONTENT}]
    before, _, after = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True).partition(
        CONTENT
    )
    frame = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (before, after)]
    return [*frame[0], *_letters(tokenizer, prompt), *frame[1]]


def _letters(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return ids


DEBATERS.register("local", Debater(opened, Local, needs=("model",), in_no_key=frozenset({"model"})))
