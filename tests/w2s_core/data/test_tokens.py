"""Joining passage and prompt, cutting, padding, portions."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from tests.tiny_models import WORDS, rows_of, tiny_tokenizer, toy_rows, write_rows
from w2s_core.data import rows
from w2s_core.data.rows import Rows, n_shown, read_rows
from w2s_core.data.tokens import Tokens, tokenize
from w2s_core.errors import DataError
from w2s_core.training.portions import micro_batches, split_by_length


def words(tokens: Tokens, row: int) -> str:
    vocabulary = (*WORDS, "[UNK]", "[CLS]", "[SEP]")
    return " ".join(vocabulary[i] for i in tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]])


def tokenized(rows: Rows, tokenizer: PreTrainedTokenizerFast, max_length: int) -> Tokens:
    return tokenize(rows, tokenizer, max_length, Path(tempfile.gettempdir()))


def one_row(passage: str, prompt: str) -> Rows:
    return rows_of(["the-id"], [passage], [prompt])


def test_parts_are_framed_and_separated_by_special_tokens() -> None:
    tokens = tokenized(one_row("one two", "good ?"), tiny_tokenizer(with_specials=True), 32)
    assert words(tokens, 0) == "[CLS] one two [SEP] good ? [SEP]"


def test_tokenizer_without_special_tokens_joins_the_parts() -> None:
    assert words(tokenized(one_row("one two", "good ?"), tiny_tokenizer(), 32), 0) == "one two good ?"


@pytest.mark.parametrize(("passage", "prompt"), [("one two", ""), ("", "one two")])
def test_lone_part_gets_no_separator(passage: str, prompt: str) -> None:
    tokens = tokenized(one_row(passage, prompt), tiny_tokenizer(with_specials=True), 32)
    assert words(tokens, 0) == "[CLS] one two [SEP]"


def test_long_passage_loses_its_beginning() -> None:
    tokens = tokenized(one_row("one two three four", "good ?"), tiny_tokenizer(with_specials=True), 7)
    assert words(tokens, 0) == "[CLS] three four [SEP] good ? [SEP]"
    assert tokens.n_truncated == 1


def test_passage_without_room_goes_with_its_separator() -> None:
    tokens = tokenized(one_row("one two", "good ?"), tiny_tokenizer(with_specials=True), 5)
    assert words(tokens, 0) == "[CLS] good ? [SEP]"
    assert tokens.n_truncated == 1


def test_text_that_fits_exactly_is_whole() -> None:
    tokens = tokenized(one_row("one two", "good ?"), tiny_tokenizer(with_specials=True), 7)
    assert len(tokens.ids) == 7
    assert tokens.n_truncated == 0


def test_long_prompt_is_refused_with_id_count_limit_and_advice() -> None:
    with pytest.raises(DataError, match=r"'the-id'.* 6 tokens, allowed are 1 to 5; raise .*max_length.*max_chars"):
        tokenized(one_row("one", "one two three four"), tiny_tokenizer(with_specials=True), 5)


def test_row_without_text_is_refused() -> None:
    with pytest.raises(DataError, match="'the-id'"):
        tokenized(one_row("", ""), tiny_tokenizer(), 32)


def test_padding_is_on_the_right_and_only_the_mask_tells_it_from_text() -> None:
    two = rows_of(["a", "b"], ["zero zero", "one two three"], ["", ""])
    ids, mask = tokenized(two, tiny_tokenizer(), 32).padded(np.array([1, 0]), pad_id=0)
    assert ids.tolist() == [[6, 7, 8], [0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_tokens_lie_in_a_file_without_a_name(tmp_path: Path) -> None:
    tokens = tokenize(one_row("one two", "good ?"), tiny_tokenizer(), 32, tmp_path)
    assert isinstance(tokens.ids.base.obj, mmap.mmap)
    assert list(tmp_path.iterdir()) == []


def test_texts_are_read_some_at_a_time_and_give_the_same_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = toy_rows(40)
    monkeypatch.setattr(rows, "ROWS_AT_A_TIME", 7)
    read = read_rows(write_rows(tmp_path / "rows.parquet", whole))
    assert [n_shown(shown) for shown in read.shown()] == [7, 7, 7, 7, 7, 5]
    one, other = (tokenized(source, tiny_tokenizer(), 8) for source in (whole, read))
    assert one.ids.tolist() == other.ids.tolist()
    assert one.offsets.tolist() == other.offsets.tolist()
    assert one.n_truncated == other.n_truncated > 0


def test_portions_hold_each_row_once_and_keep_to_the_budget() -> None:
    lengths = np.array([3, 9, 1, 4, 4, 8, 2, 30])
    rows = np.array([0, 1, 2, 4, 5, 7])
    portions = micro_batches(lengths, rows, micro_tokens=16, is_packed=False)
    assert sorted(np.concatenate(portions)) == sorted(rows)
    assert all(len(p) * lengths[p].max() <= 16 or len(p) == 1 for p in portions)
    assert [p.tolist() for p in portions[:2]] == [[7], [1]]


def test_batch_within_the_budget_is_one_portion() -> None:
    assert len(micro_batches(np.array([4, 2, 3]), np.arange(3), micro_tokens=12, is_packed=False)) == 1


def test_rows_are_cut_where_lengths_jump_if_that_saves_enough() -> None:
    lengths = np.array([40, 38, 9, 8, 8, 7])
    rows = np.arange(6)
    assert [p.tolist() for p in split_by_length(lengths, rows, n_saved=100)] == [[0, 1], [2, 3, 4, 5]]
    assert len(split_by_length(lengths, rows, n_saved=125)) == 1
    assert [p.tolist() for p in split_by_length(lengths, rows, n_saved=1)] == [[0], [1], [2], [3, 4], [5]]


def test_rows_of_one_length_are_never_cut() -> None:
    assert len(split_by_length(np.full(4, 9), np.arange(4), n_saved=1)) == 1
