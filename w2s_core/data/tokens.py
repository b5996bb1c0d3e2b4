"""Texts to token ids, kept in a file that is mapped into memory, and padded batches of them.

No model here. Sequences are padded on the right; which positions are text is said by the mask, never by a token id.
Letters: N examples, B of them in a batch, T tokens.
"""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from w2s_core.data.rows import Rows
from w2s_core.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEPARATOR = "\n"
"""Between passage and prompt; a tokenizer that drops it uses its separator token, if it has one."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of N examples, one after the other."""

    ids: np.ndarray
    """[sum of lengths] int32, mapped from a file."""
    lengths: np.ndarray
    """[N] int64, tokens per example."""
    offsets: np.ndarray
    """[N + 1] int64: example i is ``ids[offsets[i]:offsets[i + 1]]``."""
    n_truncated: int
    """Examples whose passage lost its beginning."""

    def __len__(self) -> int:
        return len(self.lengths)

    def padded(self, rows: np.ndarray, pad_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and mask of the examples ``rows``, both [B, T] int64; the mask is 1 on text."""
        lengths = self.lengths[rows]
        mask = np.arange(lengths.max()) < lengths[:, None]  # [B, T]
        ids = np.full(mask.shape, pad_id, dtype=np.int64)
        ids[mask] = np.concatenate([self.ids[self.offsets[i] : self.offsets[i + 1]] for i in rows])
        return ids, mask.astype(np.int64)


def tokenize(rows: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int, scratch: Path) -> Tokens:
    """Tokenize passages and prompts apart, and join them with the tokenizer's special tokens.

    A passage that does not fit loses its beginning; a prompt (question, answer) is never cut. Memory does not grow with
    the texts: the tokens go to a file in the folder ``scratch``, which has no name and ends with its last user.

    Raises:
        DataError: a prompt alone is longer than ``max_length``, or a row has no token at all.
    """
    prefix, suffix = _special_tokens(tokenizer)
    separator = _encode(tokenizer, [SEPARATOR])[0]
    if not separator and tokenizer.sep_token_id is not None:
        separator = [tokenizer.sep_token_id]
    lengths = np.empty(len(rows), np.int64)
    n_truncated = row = 0
    with tempfile.TemporaryFile(dir=scratch) as file:
        for texts in rows.texts():
            encoded = zip(_encode(tokenizer, texts.passages), _encode(tokenizer, texts.prompts), strict=True)
            for passage, prompt in encoded:
                tail = [*separator, *prompt] if prompt else []
                room = max_length - len(prefix) - len(tail) - len(suffix)
                kept = passage[max(len(passage) - room, 0) :] if room > 0 else []
                sequence = [*prefix, *kept, *(tail if kept else prompt), *suffix]
                if not 0 < len(sequence) <= max_length:
                    raise DataError(
                        f"row {rows.ids[row]!r}: its prompt makes {len(sequence)} tokens, allowed are 1 to "
                        f"{max_length}; raise the model's max_length (if the model can read more) or lower "
                        "data.max_chars"
                    )
                n_truncated += len(kept) < len(passage)
                lengths[row] = len(sequence)
                file.write(np.array(sequence, np.int32).tobytes())
                row += 1
        file.flush()
        ids = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.int32)
    offsets = np.concatenate([[0], lengths.cumsum()])
    return Tokens(ids, lengths, offsets, n_truncated)


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text, found by encoding a probe both ways."""
    probe = "a"
    bare = tokenizer(probe, add_special_tokens=False)["input_ids"]
    full = tokenizer(probe, add_special_tokens=True)["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    return [], []
