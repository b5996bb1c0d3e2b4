"""Rewards of pairs: what a model reads of them, what its answers are, and that losses hold as they are."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_models import LOSS_CASES, WORDS, model_params, tiny_base, tiny_tokenizer
from tests.w2s_core.methods.batches import gradient, some_batch, value
from tests.w2s_core.models.test_heads import tiny_lm
from w2s_core.data.rows import Rows
from w2s_core.data.sampling import Row
from w2s_core.data.tokens import Tokens
from w2s_core.entries.audit import Tokenizer
from w2s_core.errors import DataError
from w2s_core.models.classifier import Classifier, build
from w2s_core.settings.setting import LEAKS, SETTINGS, VIEWS
from w2s_core.training.features import extract
from w2s_core.training.predict import predict
from w2s_core.watch import Silent

PREFER, VIEW = SETTINGS.get("prefer"), VIEWS.get("prefer")


def pairs(*shown: tuple[str, str, str], gt_labels: list[int] | None = None) -> Rows:
    columns = {name: [values[i] for values in shown] for i, name in enumerate(VIEW.shows)}
    labels = np.array(gt_labels or [0] * len(shown), np.int8)
    return Rows([f"row {i}" for i in range(len(shown))], labels, lambda: iter([columns]))


def some_pairs(n: int) -> Rows:
    """Of all lengths from 1 to 6 words."""
    rng = np.random.default_rng(0)
    words = lambda: " ".join(rng.choice(WORDS, rng.integers(1, 7)))  # noqa: E731
    return pairs(*((words(), words(), words()) for _ in range(n)))


def swapped(rows: Rows) -> Rows:
    [shown] = rows.shown()
    other = {**shown, "first": shown["second"], "second": shown["first"]}
    return Rows(rows.ids, rows.gt_labels, lambda: iter([other]))


@pytest.fixture
def model(tmp_path: Path) -> Classifier:
    return build(model_params(head="small"), tiny_base(tmp_path / "base"), 0, PREFER.n_outputs(2)).eval()


def encoded(rows: Rows, max_length: int) -> Tokens:
    return PREFER.encode(rows, Tokenizer(tiny_tokenizer(), max_length), Silent().scratch)


def texts_of(tokens: Tokens) -> list[str]:
    ids, offsets = tokens.ids, tokens.offsets
    return [tiny_tokenizer().decode(ids[a:b]) for a, b in itertools.pairwise(offsets)]


def test_logits_are_the_rewards_of_either_completion_whatever_is_beside(model: Classifier) -> None:
    rows = some_pairs(20)
    tokens = PREFER.encode(rows, model, Silent().scratch)
    order = np.array([3, 0, 17, 8])
    with torch.no_grad():
        together = PREFER.logits(model, tokens, order)
        for rewards, i in zip(together, order, strict=True):
            for reward, sequence in zip(rewards, (2 * i, 2 * i + 1), strict=True):
                ids = torch.tensor(tokens.ids[tokens.offsets[sequence] : tokens.offsets[sequence + 1]])[None].long()
                torch.testing.assert_close(model(ids, torch.ones_like(ids))[0, 0], reward)


def test_probability_of_the_second_is_the_sigmoid_of_its_reward_less_the_other(model: Classifier) -> None:
    rows = some_pairs(12)
    with torch.no_grad():
        rewards = PREFER.logits(model, PREFER.encode(rows, model, Silent().scratch), np.arange(12)).double()
    expected = torch.sigmoid(rewards[:, 1] - rewards[:, 0])
    np.testing.assert_allclose(predict(PREFER, model, rows, Silent())[:, 1], expected, rtol=1e-6)


def test_pair_the_other_way_round_has_the_other_probability_however_few_tokens_go_at_a_time(model: Classifier) -> None:
    rows = some_pairs(12)
    there = predict(PREFER, model, rows, Silent())
    back = predict(PREFER, model, swapped(rows), Silent(micro_tokens=20))
    np.testing.assert_allclose(back, there[:, ::-1], rtol=1e-5)


def test_linear_function_of_the_features_is_the_difference_of_rewards(model: Classifier) -> None:
    rows = some_pairs(9)
    vectors = extract(PREFER, model, rows, Silent())
    with torch.no_grad():
        rewards = PREFER.logits(model, PREFER.encode(rows, model, Silent().scratch), np.arange(9))
    difference = vectors @ model.head.weight[0].detach().numpy()
    np.testing.assert_allclose(difference, rewards[:, 1] - rewards[:, 0], rtol=1e-4, atol=1e-7)


def test_both_sequences_lose_as_much_of_the_dialogue_and_completions_nothing() -> None:
    tokens = encoded(pairs(("one two three", "good", "bad bad bad"), ("one", "good", "bad")), 5)
    assert texts_of(tokens) == ["two three good", "two three bad bad bad", "one good", "one bad"]
    assert tokens.n_truncated == 1


def test_a_pass_costs_both_sequences_at_the_length_of_the_longer() -> None:
    tokens = encoded(pairs(("one two", "good", "bad bad bad"), ("", "good", "bad")), 32)
    assert tokens.longest.tolist() == [5, 1]
    assert tokens.lengths.tolist() == [10, 2]
    assert tokens.n_tokens(np.array([0])) == 3 + 5


def test_completion_alone_too_long_is_named_with_what_to_do() -> None:
    expected = (
        "row 'row 1': its second makes 6 tokens, allowed are 1 to 5; raise the model's max_length .* data.max_chars"
    )
    with pytest.raises(DataError, match=expected):
        encoded(pairs(("one", "good", "bad"), ("one", "good", " ".join(["bad"] * 6))), 5)


@pytest.mark.parametrize("fields", LOSS_CASES.values(), ids=LOSS_CASES)
def test_every_loss_sees_differences_of_rewards_alone(fields: dict[str, Any]) -> None:
    rewards, batch = some_batch()
    moved = (rewards + torch.linspace(-3, 3, len(rewards))[:, None]).detach().requires_grad_()
    found, same = (value(fields["loss"], logits, batch, **fields) for logits in (rewards, moved))
    torch.testing.assert_close(found.value, same.value, rtol=1e-5, atol=1e-6)
    slope = gradient(found, rewards)
    assert slope.abs().max() > 0
    torch.testing.assert_close(slope[:, 0], -slope[:, 1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["unembed_rows", "lm_head_tokens"])
def test_heads_of_language_models_start_as_the_log_odds_of_the_label_tokens(kind: str, tmp_path: Path) -> None:
    rows, base = some_pairs(5), tiny_lm(tmp_path / "base")
    both = build(model_params(head="unembed_rows"), base, 0).eval()
    scalar = build(model_params(head=kind), base, 0, PREFER.n_outputs(2)).eval()
    tokens = PREFER.encode(rows, scalar, Silent().scratch)
    with torch.no_grad():
        ids, mask = map(torch.from_numpy, tokens.padded(np.arange(5), 0))
        labels = both(ids, mask)
        expected = (labels[:, 1] - labels[:, 0]).view(5, 2)
        torch.testing.assert_close(PREFER.logits(scalar, tokens, np.arange(5)), expected, rtol=1e-4, atol=1e-5)


def test_heads_of_two_tokens_are_refused_for_more_outputs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"head: unembed_rows .* 3; set .* to zeros or small"):
        build(model_params(head="unembed_rows"), tiny_lm(tmp_path / "base"), 0, 3)


def test_longer_wins_counts_equal_lengths_half_and_so_do_answers_that_prefer_none() -> None:
    rows = pairs(("", "a", "bb"), ("", "a", "bb"), ("", "aaa", "b"), ("", "a", "b"), gt_labels=[1, 0, 0, 1])
    metrics = VIEW.metrics(rows, np.array([0.9, 0.8, 0.5, 0.1]))
    assert metrics == {"longer_wins": (1 + 0 + 1 + 0.5) / 4, "prefers_longer": (1 + 1 + 0.5 + 0.5) / 4}


def test_generative_finetuning_reads_both_completions_and_a_prompt_asks_of_both() -> None:
    [shown] = pairs(("Human: q", "Assistant: a", "Assistant: b")).shown()
    assert VIEW.documents(shown) == ["Human: q\nAssistant: a", "Human: q\nAssistant: b"]
    [text] = VIEW.text(shown)
    assert (
        text.index("Human: q") < text.index("Assistant: a") < text.index("Assistant: b") < text.index("second answer")
    )
    assert VIEW.lengths(shown) == [len("Human: q") + len("Assistant: a")]


def rows_of_pairs(n: int, second_is_longer: float, in_turn: bool = False) -> list[Row]:
    """Pairs of which the preferred completion is the longer one with this chance."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        label = i % 2 if in_turn else int(rng.random() < 0.5)
        wordy, curt = (" ".join(rng.choice(WORDS, k)) for k in (12, 3))
        better, worse = (wordy, curt) if rng.random() < second_is_longer else (curt, wordy)
        shown = (f"about {i}", worse, better) if label else (f"about {i}", better, worse)
        made.append(Row(f"{i:04}", f"{i}", shown, label, f"{i:04}", position=i + 1))
    return made


@pytest.mark.parametrize(
    ("rows", "warned", "longer_wins"),
    [
        (rows_of_pairs(300, 0.5), set(), 0.5),
        (rows_of_pairs(300, 1.0), {"leak.length", "leak.form"}, 1.0),
        (rows_of_pairs(300, 0.5, in_turn=True), {"leak.neighbours"}, 0.5),
    ],
    ids=["sound", "length", "order"],
)
def test_audit_finds_leaks_of_length_and_of_order(rows: list[Row], warned: set[str], longer_wins: float) -> None:
    checks = {check.check: check for check in LEAKS.get("prefer")(rows)}
    assert {name for name, check in checks.items() if check.verdict not in (None, "ok")} >= warned
    assert bool(warned) or not [check for check in checks.values() if check.verdict not in (None, "ok")]
    assert checks["longer_wins"].value == pytest.approx(longer_wins, abs=0.08)
    assert checks["leak.rows"].value == 2 * len(rows)
