"""Leak checks: what each of them finds, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from w2s_core.data.leaks import MIN_ROWS, leak_checks
from w2s_core.data.sampling import Row
from w2s_core.hashes import stable_hash, stable_int

N = 600
LETTERS = "ABCD"


def some_words(n: int, *seed: int | str) -> str:
    """``n`` of a hundred words."""
    return " ".join(f"w{stable_int(i, *seed) % 100}" for i in range(n))


def label_of(i: int) -> int:
    return stable_int("label", i) % 2


def row(i: int, gt_label: int, passage: str = "", prompt: str = "Good ?", *, group: str = "", answer: str = "") -> Row:
    id_ = stable_hash(i, gt_label)
    return Row(id_, group or f"group {i}", (passage, prompt), gt_label, id_, position=i + 1, candidate=answer)


def sentences(change: Callable[[str, int], str] = lambda text, gt_label: text, n: int = N) -> list[Row]:
    """Texts of any words, with any label; ``change`` sees the label."""
    return [row(i, label_of(i), change(some_words(12, i), label_of(i))) for i in range(n)]


def questions(
    show: Callable[[str, int], str] = lambda answer, gt_label: answer, ask: str = "Q: {}\nA: {}"
) -> list[Row]:
    """Questions with a right and a wrong answer of a few words; ``show`` sees the label."""
    rows = []
    for i in range(N // 2):
        for gt_label in (1, 0):
            answer = some_words(1 + stable_int("length", i, gt_label) % 4, "answer", i, gt_label)
            prompt = ask.format(some_words(8, i), show(answer, gt_label))
            rows.append(row(i, gt_label, "", prompt, answer=answer))
    return rows


def letter_if_right(answer: str, gt_label: int) -> str:
    return LETTERS[stable_int(answer) % 4] if gt_label else answer


def found(rows: list[Row], verdict: str = "fail") -> dict[str, str]:
    """Check to detail, of the checks with this verdict."""
    return {check.check: check.detail for check in leak_checks(rows) if check.verdict == verdict}


def value(rows: list[Row], name: str) -> float:
    return next(check.value for check in leak_checks(rows) if check.check == name)


@pytest.mark.parametrize("rows", [sentences(), questions()], ids=["sentences", "questions"])
def test_sound_rows_pass_every_check(rows: list[Row]) -> None:
    checks = leak_checks(rows)
    assert {check.verdict for check in checks} == {"ok"}
    assert {check.detail for check in checks} == {""}


def test_nothing_is_said_of_too_few_rows() -> None:
    (check,) = leak_checks(sentences(n=MIN_ROWS - 1))
    assert (check.check, check.verdict) == ("leak.rows", "warn")
    assert check.detail == "only 199 examples: too few to look for leaks"


def test_the_order_of_the_rows_given_decides_nothing() -> None:
    assert leak_checks(questions()) == leak_checks(questions()[::-1])


@pytest.mark.parametrize("ask", ["Q: {}\nA: {}", "Q: {} Proposed: {}\nRight?"], ids=["at the end", "in the middle"])
def test_letters_for_right_answers_and_texts_for_wrong_ones_are_a_leak(ask: str) -> None:
    assert {"leak.length", "leak.form", "leak.place"} <= found(questions(letter_if_right, ask)).keys()


def test_letters_are_found_in_the_answer_that_the_row_names() -> None:
    rows = [row._replace(candidate=letter_if_right(row.candidate, row.gt_label)) for row in questions()]
    assert {"leak.length", "leak.form"} <= found(rows).keys()


def test_letters_for_all_answers_are_no_leak() -> None:
    rows = questions(lambda answer, gt_label: LETTERS[stable_int(answer) % 4])
    assert not found(rows) | found(rows, "warn")


def test_longer_right_answers_are_a_leak() -> None:
    rows = questions(lambda answer, gt_label: answer + " so much longer" * gt_label)
    assert found(rows)["leak.length"] == "the length of the shown answer tells the label (AUC 1.000)"


FORMS: dict[str, Callable[[str, int], str]] = {
    "space at the end": lambda text, gt_label: text + " " * gt_label,
    "space at the beginning": lambda text, gt_label: " " * gt_label + text,
    "double space": lambda text, gt_label: text.replace(" ", " " * (1 + gt_label), 1),
    "capital at the beginning": lambda text, gt_label: text.capitalize() if gt_label else text,
    "capitals alone": lambda text, gt_label: text.upper() if gt_label else text.capitalize(),
    "punctuation at the end": lambda text, gt_label: text + "!" * gt_label,
    "number of words": lambda text, gt_label: text + " or w1 or w2" * gt_label,
}


@pytest.mark.parametrize("what", FORMS)
def test_a_form_that_follows_the_label_is_a_leak(what: str) -> None:
    assert f"({what})" in found(sentences(FORMS[what]))["leak.form"]


def test_a_word_that_only_one_class_has_is_a_leak_wherever_it_stands() -> None:
    rows = sentences(lambda text, gt_label: text.replace(" ", " indeed " if gt_label else " ", 1 + len(text) % 5))
    assert found(rows)["leak.word"].startswith("the word 'indeed' gives the label away in 5")


def given_away(text: str, is_told: bool) -> str:
    return text.replace(" ", " indeed " if is_told else " ", 1)


def test_a_word_that_gives_the_label_away_is_named_though_it_is_not_pure() -> None:
    in_all_of_one = sentences(lambda text, gt_label: given_away(text, gt_label == 1 or stable_int(text) % 20 == 0))
    assert "leak.word" not in found(in_all_of_one)
    assert found(in_all_of_one)["leak.best_word"].startswith("whether the word 'indeed' stands there tells the label")
    in_half_of_one = sentences(lambda text, gt_label: given_away(text, gt_label == 0 and stable_int(text) % 2 == 0))
    assert "leak.best_word" not in found(in_half_of_one)
    assert "'indeed'" in found(in_half_of_one, "warn")["leak.best_word"]


def test_a_word_at_the_end_of_a_part_of_the_rows_is_a_leak() -> None:
    rows = sentences(lambda text, gt_label: text + " so" * (gt_label and stable_int(text) % 3 == 0))
    assert found(rows)["leak.place"].startswith("the last word of the passage (such as 'so') gives the label away in 1")


def test_a_word_of_a_single_group_gives_nothing_away() -> None:
    in_one = [row(N + i, 1, f"{some_words(12, i)} Rome", group="Rome") for i in range(60)]
    assert value(sentences() + in_one, "leak.place") == 0.0


def test_labels_that_are_told_by_many_words_are_a_leak() -> None:
    rows = sentences(lambda text, gt_label: text.replace("w", "vu"[gt_label]))
    assert "leak.words" in found(rows)


def test_words_that_only_a_group_shares_tell_nothing_of_other_groups() -> None:
    names = {i: some_words(1, "name", i).replace("w", f"{i}n") for i in range(60)}
    rows = [row(i, label_of(i // 10), f"{some_words(5, i)} {names[i // 10]}", group=names[i // 10]) for i in range(N)]
    assert value(rows, "leak.words") < 0.6


def test_words_of_wrong_answers_are_found_though_all_questions_have_both() -> None:
    rows = [row._replace(candidate=row.candidate.replace("w", "vu"[row.gt_label])) for row in questions()]
    assert "leak.words.answer" in found(rows)
    assert value(rows, "leak.words") < 0.6


def test_a_prompt_that_tells_the_label_without_its_passage_is_a_leak() -> None:
    rows = [row(i, label_of(i), some_words(12, i), some_words(4, "q", i, label_of(i))) for i in range(N)]
    assert not found(rows)
    spelled = [row._replace(shown=(row.shown[0], row.shown[1].replace("w", "vu"[row.gt_label]))) for row in rows]
    assert "leak.words.prompt" in found(spelled)


@pytest.mark.parametrize("last", [0, 1])
def test_a_file_sorted_by_label_is_a_leak(last: int) -> None:
    ordered = sorted(sentences(), key=lambda row: row.gt_label == last)
    rows = [row._replace(position=position) for position, row in enumerate(ordered, start=1)]
    assert list(found(rows)) == ["leak.position", "leak.neighbours"]


def test_labels_that_take_turns_are_a_leak() -> None:
    rows = [row(i, i % 2, some_words(12, i)) for i in range(N)]
    assert list(found(rows)) == ["leak.neighbours"]


def test_the_order_of_questions_with_both_answers_tells_nothing() -> None:
    assert value(questions(), "leak.position") == value(questions(), "leak.neighbours") == 0.5
