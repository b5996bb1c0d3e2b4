"""Texts to token ids, kept in a file that is mapped into memory, and padded batches of them.

No model here. Sequences are padded on the right; which positions are text is said by the mask, never by a token id.
Letters: N examples, B of them in a batch, V sequences of each, T tokens.
"""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from w2s_core.data.rows import Rows
from w2s_core.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEPARATOR = "\n"
"""Between what may be cut and what follows; a tokenizer that drops it uses its separator token, if it has one."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of N examples, one after the other; those of the V sequences of an example side by side."""

    ids: np.ndarray
    """[tokens of all sequences] int32, mapped from a file."""
    offsets: np.ndarray
    """[N V + 1] int64: sequence v of example i is number s = i V + v, and is ``ids[offsets[s]:offsets[s + 1]]``."""
    n_truncated: int
    """Examples that lost their beginning."""
    n_views: int = 1
    """V."""
    n_asked: np.ndarray | None = None
    """[N] int64, how many tokens of each example come before its answer; None: it has none."""
    longest: np.ndarray = field(init=False)
    """[N] int64, tokens of the longest sequence of each example."""

    def __post_init__(self) -> None:
        # Every batch asks for it.
        object.__setattr__(self, "longest", np.diff(self.offsets).reshape(-1, self.n_views).max(1))

    def __len__(self) -> int:
        return len(self.longest)

    @property
    def lengths(self) -> np.ndarray:
        """[N] int64, tokens that a pass computes for each example: its sequences, all as long as the longest."""
        return self.longest * self.n_views

    def n_tokens(self, rows: np.ndarray) -> int:
        """Tokens of the examples ``rows``, without padding."""
        return int((self.offsets[(rows + 1) * self.n_views] - self.offsets[rows * self.n_views]).sum())

    def padded(self, rows: np.ndarray, pad_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and mask of all sequences of the examples ``rows``, both [B V, T] int64; the mask is 1 on text."""
        sequences = (rows[:, None] * self.n_views + np.arange(self.n_views)).ravel()
        starts, ends = self.offsets[sequences], self.offsets[sequences + 1]
        lengths = ends - starts
        mask = np.arange(lengths.max()) < lengths[:, None]  # [B V, T]
        ids = np.full(mask.shape, pad_id, dtype=np.int64)
        ids[mask] = np.concatenate([self.ids[start:end] for start, end in zip(starts, ends, strict=True)])
        return ids, mask.astype(np.int64)


def tokenize(
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    scratch: Path,
    *,
    cut: str = "passage",
    whole: tuple[str, ...] = ("prompt",),
) -> Tokens:
    """Tokenize what rows show, one sequence for each of V columns, with the tokenizer's special tokens.

    Each sequence is the text of the column ``cut``, a separator, and one of the columns ``whole``, which are tokenized
    apart. Where they do not fit, the first loses its beginning, as much of it in all sequences of an example; the
    others are never cut. Memory does not grow with the texts: the tokens go to a file in the folder ``scratch``, which
    has no name and ends with its last user.

    Raises:
        DataError: a text of ``whole`` alone is longer than ``max_length``, or a sequence has no token at all.
    """
    prefix, suffix = _special_tokens(tokenizer)
    separator = _encode(tokenizer, [SEPARATOR])[0]
    if not separator and tokenizer.sep_token_id is not None:
        separator = [tokenizer.sep_token_id]
    lengths = np.empty((len(rows), len(whole)), np.int64)
    n_truncated = row = 0
    with tempfile.TemporaryFile(dir=scratch) as file:
        for shown in rows.shown():
            encoded = zip(*(_encode(tokenizer, shown[name]) for name in (cut, *whole)), strict=True)
            for first, *ends in encoded:
                tails = [[*separator, *end] if end else [] for end in ends]
                room = max_length - len(prefix) - max(map(len, tails)) - len(suffix)
                kept = first[max(len(first) - room, 0) :] if room > 0 else []
                for view, (end, tail) in enumerate(zip(ends, tails, strict=True)):
                    sequence = [*prefix, *kept, *(tail if kept else end), *suffix]
                    if not 0 < len(sequence) <= max_length:
                        raise DataError(
                            f"row {rows.ids[row]!r}: its {whole[view]} makes {len(sequence)} tokens, allowed are 1 to "
                            f"{max_length}; raise the model's max_length (if the model can read more) or lower "
                            "data.max_chars"
                        )
                    lengths[row, view] = len(sequence)
                    file.write(np.array(sequence, np.int32).tobytes())
                n_truncated += len(kept) < len(first)
                row += 1
        file.flush()
        ids = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.int32)
    offsets = np.concatenate([[0], lengths.ravel().cumsum()])
    return Tokens(ids, offsets, n_truncated, len(whole))


def tokenize_answers(
    rows: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int, scratch: Path, longest_answer: int
) -> Tokens:
    """Tokenize what rows show as ``prompt``, and after a space as ``answer``, which the end of text follows.

    A sequence begins as a text does. Where it does not fit with the longest answer in the place of its own, the prompt
    loses its beginning: what is left of it says nothing of the answer, and any other can follow. A longer answer, such
    as a supervisor gives that does not end, loses its own end.

    Args:
        longest_answer: in tokens, the end of text among them.

    Raises:
        DataError: the tokenizer has no end of text, or the longest answer leaves no room for a token before it.
    """
    if tokenizer.eos_token_id is None:
        raise DataError("the model's tokenizer has no end of text, without which an answer does not end")
    prefix, _ = _special_tokens(tokenizer)
    if (least := max(len(prefix), 1) + longest_answer) > max_length:
        raise DataError(f"answers take up to {longest_answer} tokens; raise the model's max_length to {least} or more")
    n_asked, lengths = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    n_truncated = row = 0
    with tempfile.TemporaryFile(dir=scratch) as file:
        for shown in rows.shown():
            prompts = _encode(tokenizer, shown["prompt"])
            answers = _encode(tokenizer, [f" {answer}" for answer in shown["answer"]])
            for prompt, answer in zip(prompts, answers, strict=True):
                room = max_length - len(prefix) - longest_answer
                kept = prompt[max(len(prompt) - room, 0) :] if room > 0 else []
                said = answer[: longest_answer - 1]
                # Where nothing else is before an answer, the end of another text is.
                asked = [*prefix, *kept] or [tokenizer.eos_token_id]
                file.write(np.array([*asked, *said, tokenizer.eos_token_id], np.int32).tobytes())
                n_asked[row], lengths[row] = len(asked), len(asked) + len(said) + 1
                n_truncated += len(kept) < len(prompt) or len(said) < len(answer)
                row += 1
        file.flush()
        ids = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.int32)
    return Tokens(ids, np.concatenate([[0], lengths.cumsum()]), n_truncated, n_asked=n_asked)


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
