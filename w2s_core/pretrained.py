"""Reading configurations, weights and tokenizers of transformers, with one line for whatever is wrong with their files.

Weights come from safetensors only: nothing is unpickled. What is made of them is in ``w2s_core.models`` and ``heads``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import safetensors
import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from w2s_core.errors import DataError


def read_backbone(name: str, revision: str | None, config: PreTrainedConfig) -> PreTrainedModel:
    """The weights that ``config`` asks for; more of them in the file (heads, layers) are left out."""
    with readable(name, "weights (model.safetensors)"):
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
def readable(name: str, what: str) -> Iterator[None]:
    """Turn what transformers raises about unusable files into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, safetensors.SafetensorError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise DataError(f"{name}: cannot read the {what}: {first_line}") from error


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
