"""Texts to token ids, kept as compact arrays, and padded batches of them.

No model here. Sequences are padded on the right; which positions are text is said by the mask, never by a token id.
Letters: N examples, B of them in a batch, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2s_core.errors import DataError
from w2s_core.rows import Rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEPARATOR = "\n"
"""Between passage and prompt; a tokenizer that drops it uses its separator token, if it has one."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of N examples, one after the other."""

    ids: np.ndarray
    """[sum of lengths] int32."""
    offsets: np.ndarray
    """[N + 1] int64: example i is ``ids[offsets[i]:offsets[i + 1]]``."""
    n_truncated: int
    """Examples whose passage lost its beginning."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """[N] int64, tokens per example."""
        return np.diff(self.offsets)

    def padded(self, rows: np.ndarray, pad_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and mask of the examples ``rows``, both [B, T] int64; the mask is 1 on text."""
        lengths = self.lengths[rows]
        mask = np.arange(lengths.max()) < lengths[:, None]  # [B, T]
        ids = np.full(mask.shape, pad_id, dtype=np.int64)
        ids[mask] = np.concatenate([self.ids[self.offsets[i] : self.offsets[i + 1]] for i in rows])
        return ids, mask.astype(np.int64)


def tokenize(rows: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Tokens:
    """Tokenize passages and prompts apart, and join them with the tokenizer's special tokens.

    A passage that does not fit loses its beginning; a prompt (question, answer) is never cut.

    Raises:
        DataError: a prompt alone is longer than ``max_length``, or a row has no token at all.
    """
    prefix, suffix = _special_tokens(tokenizer)
    separator = _encode(tokenizer, [SEPARATOR])[0]
    if not separator and tokenizer.sep_token_id is not None:
        separator = [tokenizer.sep_token_id]
    sequences: list[np.ndarray] = []
    n_truncated = 0
    texts = zip(rows.ids, _encode(tokenizer, rows.passages), _encode(tokenizer, rows.prompts), strict=True)
    for id_, passage, prompt in texts:
        tail = [*separator, *prompt] if prompt else []
        room = max_length - len(prefix) - len(tail) - len(suffix)
        kept = passage[max(len(passage) - room, 0) :] if room > 0 else []
        sequence = [*prefix, *kept, *(tail if kept else prompt), *suffix]
        if not 0 < len(sequence) <= max_length:
            raise DataError(
                f"row {id_!r}: its prompt makes {len(sequence)} tokens, allowed are 1 to {max_length}; "
                "raise the model's max_length (if the model can read more) or lower data.max_chars"
            )
        n_truncated += len(kept) < len(passage)
        sequences.append(np.array(sequence, dtype=np.int32))
    offsets = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
    return Tokens(ids=np.concatenate(sequences), offsets=offsets, n_truncated=n_truncated)


def micro_batches(lengths: np.ndarray, rows: np.ndarray, micro_tokens: int) -> list[np.ndarray]:
    """Cut ``rows`` into portions of at most ``micro_tokens`` padded tokens, longest examples first.

    Args:
        lengths: [N], tokens of every example.
        rows: [B], indices of examples.
        micro_tokens: an example longer than this is a portion of its own.
    """
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    portions = []
    while len(rows):
        n_rows = max(1, micro_tokens // int(lengths[rows[0]]))
        portions.append(rows[:n_rows])
        rows = rows[n_rows:]
    return portions


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
