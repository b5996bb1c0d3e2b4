"""Reading configurations, weights and tokenizers of transformers, with one line for whatever is wrong with their files.

Weights come from safetensors only: nothing is unpickled. What is made of them is in ``classifier`` and ``heads``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from w2s_core.errors import DataError
from w2s_core.models.architecture import is_encoder, keep_layers


def read_backbone(name: str, revision: str | None, config: PreTrainedConfig, instead: str = "") -> PreTrainedModel:
    """The weights that ``config`` asks for; more of them in the file (heads, layers) are left out."""
    with readable(name, "weights (model.safetensors)", instead):
        backbone, report = AutoModel.from_pretrained(
            name,
            revision=revision,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    # A pooler is of no use here, and files of language models have none; nor is ESM's, which has a row for every layer.
    absent = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    absent = {key for key in absent if "pooler" not in key and not key.startswith("contact_head.")}
    if absent:
        raise DataError(
            f"{name}: {len(absent)} tensors that config.json asks for are not in model.safetensors, or not in that "
            f"shape, such as {min(absent)}; both files must be of one model"
        )
    return backbone


def read_language_model(name: str, revision: str | None, n_layers: int | None) -> PreTrainedModel:
    """A causal language model with its head, in float32, on the CPU, or its first layers.

    Raises:
        DataError: it is none, has fewer layers, or cannot be read.
    """
    with readable(name, "configuration"):
        config = AutoConfig.from_pretrained(name, revision=revision)
    text_config = config.get_text_config()
    if is_encoder(text_config):
        raise DataError(f"{name}: a {text_config.model_type} is no causal language model, and has no texts to go on")
    if n_layers is not None:
        keep_layers(name, text_config, n_layers)
    with readable(name, "weights (model.safetensors)"):
        model, report = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
        )
    if absent := report["missing_keys"]:
        raise DataError(f"{name}: no weights of {min(absent)}, without which it writes no texts")
    found: PreTrainedModel = model
    return found


def language_model_of(model: Mapping[str, Any], base: Path | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer, from a local folder, or where ``model["hub"]`` says.

    Raises:
        DataError: see ``read_language_model`` and ``read_tokenizer``.
    """
    name, revision = (str(base), None) if base else (model["hub"]["id"], model["hub"]["revision"])
    return read_language_model(name, revision, model["n_layers"]), read_tokenizer(name, revision)


def read_tokenizer(name: str, revision: str | None) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or Hub id.

    Raises:
        DataError: it cannot be read, or has no vocabulary.
    """
    with readable(name, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    # Without its files, transformers makes some tokenizers up, with special tokens only.
    if tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):
        raise DataError(f"{name}: cannot read the tokenizer: no vocabulary; tokenizer.json belongs next to config.json")
    return tokenizer


@contextmanager
def readable(name: str, what: str, instead: str = "") -> Iterator[None]:
    """Turn what transformers raises about unusable files into one line, which may say what works ``instead``."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # of hundreds of families, each with its own
        first_line = str(error).strip().partition("\n")[0]
        raise DataError(f"{name}: cannot read the {what}: {first_line}{instead and '; ' + instead}") from error


@contextmanager
def able(name: str, what: str, instead: str) -> Iterator[None]:
    """Turn what a family of models cannot do into one line; a library of hundreds of them has as many errors for it.

    Raises:
        DataError: the block failed; it says ``what`` could not be done, why, and what works ``instead``.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # any of them
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise DataError(f"{name}: {what} ({reason}); {instead}") from error


@contextmanager
def isolated() -> Iterator[None]:
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
