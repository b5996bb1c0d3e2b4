"""Joining passage and prompt, cutting, padding, portions."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tiny_models import WORDS, tiny_tokenizer
from w2s_core.errors import DataError
from w2s_core.rows import Rows
from w2s_core.tokenize import Tokens, micro_batches, tokenize


def words(tokens: Tokens, row: int) -> str:
    vocabulary = (*WORDS, "[UNK]", "[CLS]", "[SEP]")
    return " ".join(vocabulary[i] for i in tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]])


def one_row(passage: str, prompt: str) -> Rows:
    return Rows(["the-id"], [passage], [prompt], np.zeros(1, np.int8))


def test_parts_are_framed_and_separated_by_special_tokens() -> None:
    tokens = tokenize(one_row("one two", "good ?"), tiny_tokenizer(with_specials=True), 32)
    assert words(tokens, 0) == "[CLS] one two [SEP] good ? [SEP]"


def test_tokenizer_without_special_tokens_joins_the_parts() -> None:
    assert words(tokenize(one_row("one two", "good ?"), tiny_tokenizer(), 32), 0) == "one two good ?"


@pytest.mark.parametrize(("passage", "prompt"), [("one two", ""), ("", "one two")])
def test_lone_part_gets_no_separator(passage: str, prompt: str) -> None:
    tokens = tokenize(one_row(passage, prompt), tiny_tokenizer(with_specials=True), 32)
    assert words(tokens, 0) == "[CLS] one two [SEP]"


def test_long_passage_loses_its_beginning() -> None:
    tokens = tokenize(one_row("one two three four", "good ?"), tiny_tokenizer(with_specials=True), 7)
    assert words(tokens, 0) == "[CLS] three four [SEP] good ? [SEP]"
    assert tokens.n_truncated == 1


def test_passage_without_room_goes_with_its_separator() -> None:
    tokens = tokenize(one_row("one two", "good ?"), tiny_tokenizer(with_specials=True), 5)
    assert words(tokens, 0) == "[CLS] good ? [SEP]"
    assert tokens.n_truncated == 1


def test_text_that_fits_exactly_is_whole() -> None:
    tokens = tokenize(one_row("one two", "good ?"), tiny_tokenizer(with_specials=True), 7)
    assert len(tokens.ids) == 7
    assert tokens.n_truncated == 0


def test_long_prompt_is_refused_with_id_count_limit_and_advice() -> None:
    with pytest.raises(DataError, match=r"'the-id'.* 6 tokens, allowed are 1 to 5; raise .*max_length.*max_chars"):
        tokenize(one_row("one", "one two three four"), tiny_tokenizer(with_specials=True), 5)


def test_row_without_text_is_refused() -> None:
    with pytest.raises(DataError, match="'the-id'"):
        tokenize(one_row("", ""), tiny_tokenizer(), 32)


def test_padding_is_on_the_right_and_only_the_mask_tells_it_from_text() -> None:
    rows = Rows(["a", "b"], ["zero zero", "one two three"], ["", ""], np.zeros(2, np.int8))
    ids, mask = tokenize(rows, tiny_tokenizer(), 32).padded(np.array([1, 0]), pad_id=0)
    assert ids.tolist() == [[6, 7, 8], [0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_portions_hold_each_row_once_and_keep_to_the_budget() -> None:
    lengths = np.array([3, 9, 1, 4, 4, 8, 2, 30])
    rows = np.array([0, 1, 2, 4, 5, 7])
    portions = micro_batches(lengths, rows, micro_tokens=16)
    assert sorted(np.concatenate(portions)) == sorted(rows)
    assert all(len(p) * lengths[p].max() <= 16 or len(p) == 1 for p in portions)
    assert [p.tolist() for p in portions[:2]] == [[7], [1]]


def test_batch_within_the_budget_is_one_portion() -> None:
    assert len(micro_batches(np.array([4, 2, 3]), np.arange(3), micro_tokens=12)) == 1
