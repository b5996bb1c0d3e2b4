"""Whether the label of an example can be told by what should not tell it: length, form, row order, single words.

A leak makes every model of a ladder look equally good. Each check is a number with limits that the datasets of
``nlp`` keep, as far as they are sound. Deterministic, with numpy alone. Letters: N examples, V words.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from w2s_core.data.checks import Check, Limits, judged
from w2s_core.data.sampling import Row
from w2s_core.hashes import stable_int
from w2s_core.metrics import auroc

MAX_ROWS = 5_000
"""Examples whose texts are looked at: enough for two digits of every number."""
MIN_ROWS = 200
"""With fewer, chance alone comes near the limits."""
N_FOLDS = 5
MIN_SEEN = 20
"""Groups (or texts, of a word at any place) in which a token must stand: few that do are of one class by chance."""
MIN_PURITY = 0.98
"""Share of a token's examples that one class must have for the token to give the label away."""

LENGTH = Limits(0.62, 0.85)
"""AUC, 0.5 by chance. Up to 0.59 in real samples but for MultiRC, whose right answers are longer (0.65)."""
FORM = Limits(0.65, 0.85)
"""Balanced accuracy of the best cut of the best feature, by chance above 0.5. Up to 0.61 in real samples."""
GIVEN_AWAY = Limits(0.05, 0.1)
"""Share of the examples. Up to 0.013 in real samples; where it is a tenth, much of any accuracy can come from it."""
BEST_WORD = Limits(0.7, 0.85)
"""Balanced accuracy of one word's presence. Up to 0.64 in real samples, where it is a word of sentiment."""
WORDS = Limits(0.9, 0.97)
"""Balanced accuracy. Words tell a sentiment, up to 0.8 in real samples. If they tell all, the label is spelled out."""
WORDS_ALONE = Limits(0.62, 0.85)
"""Balanced accuracy. Answers that are written to be wrong differ from right ones in some words: it is 0.65 in MC-TACO,
0.69 in ETHICS virtue and 0.73 in deontology, and up to 0.59 in other real samples."""
POSITION = Limits(0.65, 0.95)
"""AUC. Up to 0.54 in real samples but for ETHICS virtue (0.77). Harmless where sampling is by hash, as here, but the
first rows of a file that is sorted by label are no sample of it."""
NEIGHBOURS = Limits(0.75, 0.95)
"""Share of neighbouring rows with equal labels, or with different ones: 0.5 by chance, up to 0.68 in real samples."""

PUNCTUATION = tuple(".!?,;:")


class Found(NamedTuple):
    """The strongest sign of a leak among several."""

    value: float
    where: str


def leak_checks(rows: Sequence[Row], answers: Sequence[Row] | None = None) -> list[Check]:
    """All leak checks of the usable training examples.

    Args:
        rows: of which each shows a passage and a prompt, unless there are ``answers``; else their order alone counts.
        answers: rows that do, right or wrong, in the place of ``rows`` that compare several.
    """
    sample = _sample(rows if answers is None else answers)
    labels = np.array([row.gt_label for row in sample])
    if len(sample) < MIN_ROWS or len(set(labels)) < 2:
        detail = f"only {len(sample)} examples: too few to look for leaks"
        return [Check("train", "leak.rows", len(sample), MIN_ROWS, "warn", detail)]
    return [
        Check("train", "leak.rows", len(sample), MIN_ROWS, "ok"),
        *_text_checks(sample, labels),
        *_order_checks(rows),
    ]


def _sample(rows: Sequence[Row]) -> list[Row]:
    """Whole groups, those with the smallest ranks, up to ``MAX_ROWS`` examples."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.rank):
        groups[row.group].append(row)
    sample: list[Row] = []
    for group in groups.values():
        if len(sample) + len(group) <= MAX_ROWS:
            sample += group
    return sample


def _text_checks(rows: list[Row], labels: np.ndarray) -> Iterator[Check]:
    parts = _parts(rows)
    folds = np.array([stable_int("fold", row.group) % N_FOLDS for row in rows])

    length = max(Found(_auc(_values(len, texts), labels), name) for name, texts in parts.items())
    detail = f"the length of the {length.where} tells the label (AUC {length.value:.3f})"
    yield judged("train", "leak.length", length.value, LENGTH, detail)

    form = max(
        Found(_best_cut(_values(feature, texts), labels), f"the {name} ({what})")
        for name, texts in parts.items()
        for what, feature in FEATURES.items()
    )
    detail = f"the form of {form.where} tells the label (balanced accuracy {form.value:.3f})"
    yield judged("train", "leak.form", form.value, FORM, detail)

    place = max(_fixed_place(rows, name, texts) for name, texts in parts.items())
    detail = f"{place.where} gives the label away in {place.value:.1%} of the examples"
    yield judged("train", "leak.place", place.value, GIVEN_AWAY, detail)

    bag = _bag([row.shown for row in rows])
    word = _pure_word(bag, labels)
    detail = f"the word {word.where} gives the label away in {word.value:.1%} of the examples"
    yield judged("train", "leak.word", word.value, GIVEN_AWAY, detail)

    word = _best_word(bag, labels)
    detail = f"whether the word {word.where} stands there tells the label (balanced accuracy {word.value:.3f})"
    yield judged("train", "leak.best_word", word.value, BEST_WORD, detail)

    value = _naive_bayes(bag, labels, folds)
    detail = f"the words of the text tell the label, in whatever order (balanced accuracy {value:.3f})"
    yield judged("train", "leak.words", value, WORDS, detail)
    alone = "answer" if "answer" in parts else "prompt"
    if alone in parts and len(parts) > 1:
        value = _naive_bayes(_bag([(text,) for text in parts[alone]]), labels, folds)
        detail = f"the words of the {alone} alone tell the label (balanced accuracy {value:.3f})"
        yield judged("train", f"leak.words.{alone}", value, WORDS_ALONE, detail)


def _order_checks(rows: Sequence[Row]) -> Iterator[Check]:
    ordered = sorted(rows, key=lambda row: row.position)
    value = _auc(np.array([row.position for row in ordered]), np.array([row.gt_label for row in ordered]))
    detail = f"the place in the file tells the label (AUC {value:.3f}): its first rows are no sample of it"
    yield judged("train", "leak.position", value, POSITION, detail)

    by_position: dict[int, set[int]] = defaultdict(set)
    for row in ordered:
        by_position[row.position].add(row.gt_label)
    # A question stands in one place with its right and its wrong answer: it has no label for a neighbour to share.
    single = np.array([min(labels) for labels in by_position.values() if len(labels) == 1])
    equal = float(np.mean(single[1:] == single[:-1])) if len(single) >= MIN_ROWS else 0.5
    value = max(equal, 1 - equal)
    detail = f"neighbouring rows have equal labels, or different ones, {value:.1%} of the time"
    yield judged("train", "leak.neighbours", value, NEIGHBOURS, detail)


def _parts(rows: list[Row]) -> dict[str, list[str]]:
    """The parts of the examples' texts that are not the same in all of them."""
    parts = {
        "answer": [row.candidate for row in rows],
        "shown answer": _shown(rows),
        "passage": [row.shown[0] for row in rows],
        "prompt": [row.shown[1] for row in rows],
    }
    return {name: texts for name, texts in parts.items() if len(set(texts)) > 1}


def _shown(rows: list[Row]) -> list[str]:
    """What only one of the examples of a question has in its prompt, whatever its candidate is said to be.

    The candidate where a question has one example.
    """
    by_position: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_position[row.position].append(row)
    shown = {}
    for of_one in by_position.values():
        prompts = [re.findall(r"\S+|\s", row.shown[1]) for row in of_one]
        start = _n_shared(prompts)
        end = _n_shared([words[start:][::-1] for words in prompts])
        for row, words in zip(of_one, prompts, strict=True):
            shown[row.id] = "".join(words[start : len(words) - end]) if len(of_one) > 1 else row.candidate
    return [shown[row.id] for row in rows]


def _n_shared(sequences: list[list[str]]) -> int:
    """With how many equal words all sequences begin."""
    return sum(1 for _ in itertools.takewhile(lambda words: len(set(words)) == 1, zip(*sequences, strict=False)))


def _auc(values: np.ndarray, labels: np.ndarray) -> float:
    """Area under the curve of [N] values, whatever their direction; both classes are there."""
    area = auroc(values, labels)
    assert area is not None
    return max(area, 1 - area)


FEATURES: dict[str, Callable[[str], float]] = {
    "single letter at the end": lambda text: re.search(r"(?:^|\W)[^\W\d_]\W*$", text) is not None,
    "capital at the beginning": lambda text: text.lstrip()[:1].isupper(),
    "capitals alone": str.isupper,
    "punctuation at the end": lambda text: text.rstrip().endswith(PUNCTUATION),
    "space at the beginning": lambda text: text[:1].isspace(),
    "space at the end": lambda text: text[-1:].isspace(),
    "double space": lambda text: re.search(r"\s\s", text) is not None,
    "digit": lambda text: re.search(r"\d", text) is not None,
    "number of words": lambda text: len(text.split()),
}
"""What can be said of a text without reading it."""


def _values(feature: Callable[[str], float], texts: list[str]) -> np.ndarray:
    """A feature of N texts, [N]; computed once for texts that are equal, as passages often are."""
    values = {text: feature(text) for text in set(texts)}
    return np.array([values[text] for text in texts])


def _best_cut(values: np.ndarray, labels: np.ndarray) -> float:
    """Balanced accuracy of the best threshold on [N] values, whatever its direction; 0.5 tells nothing."""
    _, place = np.unique(values, return_inverse=True)
    n = place.max() + 1
    shares = [np.cumsum(np.bincount(place[labels == k], minlength=n)) / np.sum(labels == k) for k in (0, 1)]
    return float(0.5 + 0.5 * np.abs(shares[1] - shares[0]).max())


def _fixed_place(rows: list[Row], part: str, texts: list[str]) -> Found:
    """Share of the examples whose label the word, or the characters, at one place of a part give away."""
    places = {
        "first word": [text.partition(" ")[0] for text in texts],
        "last word": [text.rpartition(" ")[2] for text in texts],
    }
    for n, what in ((1, "character"), (2, "two characters"), (3, "three characters")):
        places[f"first {what}"] = [text[:n] for text in texts]
        places[f"last {what}"] = [text[-n:] for text in texts]
    return max(_pure_tokens(rows, tokens, f"the {place} of the {part}") for place, tokens in places.items())


def _pure_tokens(rows: list[Row], tokens: list[str], where: str) -> Found:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    groups: dict[str, set[str]] = defaultdict(set)
    for row, token in zip(rows, tokens, strict=True):
        counts[token][row.gt_label] += 1
        groups[token].add(row.group)
    pure = {
        token: sum(n_each)
        for token, n_each in counts.items()
        if max(n_each) >= MIN_PURITY * sum(n_each) and len(groups[token]) >= MIN_SEEN
    }
    examples = sorted(pure, key=lambda token: (-pure[token], token))[:2]
    return Found(sum(pure.values()) / len(rows), f"{where} (such as {' or '.join(map(repr, examples))})")


class Bag(NamedTuple):
    """Which words stand in which text, wherever and however often."""

    n_texts: int
    row: np.ndarray
    """[words of all texts] int64: in which text."""
    word: np.ndarray
    """[words of all texts] int64: which word."""
    vocabulary: list[str]
    """[V]"""


def _bag(texts: list[tuple[str, ...]]) -> Bag:
    """The bag of texts, each made of parts."""
    numbers: dict[str, int] = defaultdict(itertools.count().__next__)
    # Each part once: many questions share a passage.
    words = {
        part: {numbers[word] for word in re.findall(r"\w+|[^\w\s]", part.casefold())}
        for part in dict.fromkeys(itertools.chain.from_iterable(texts))
    }
    bags = [sorted(set[int]().union(*(words[part] for part in parts))) for parts in texts]
    row = np.repeat(np.arange(len(bags)), [len(bag) for bag in bags])
    word = np.fromiter(itertools.chain.from_iterable(bags), dtype=np.int64, count=len(row))
    return Bag(len(texts), row, word, list(numbers))


def _pure_word(bag: Bag, labels: np.ndarray) -> Found:
    """The word that stands in most examples, and (nearly) only in those of one class."""
    n_words = len(bag.vocabulary)
    counts = np.bincount(labels[bag.row] * n_words + bag.word, minlength=2 * n_words).reshape(2, n_words)
    total = counts.sum(axis=0)
    is_pure = (counts.max(axis=0) >= MIN_PURITY * total) & (total >= MIN_SEEN)
    n_pure = np.where(is_pure, total, 0)
    best = int(n_pure.argmax())
    return Found(float(n_pure[best] / bag.n_texts), repr(bag.vocabulary[best]))


def _best_word(bag: Bag, labels: np.ndarray) -> Found:
    """The word whose presence tells most of the label: 0.5 + |P(word | 1) - P(word | 0)| / 2, pure or not."""
    n_words = len(bag.vocabulary)
    counts = np.bincount(labels[bag.row] * n_words + bag.word, minlength=2 * n_words).reshape(2, n_words)
    shares = counts / np.bincount(labels, minlength=2)[:, None]  # [2, V]
    values = 0.5 + np.abs(shares[1] - shares[0]) / 2
    best = int(values.argmax())
    return Found(float(values[best]), repr(bag.vocabulary[best]))


def _naive_bayes(bag: Bag, labels: np.ndarray, folds: np.ndarray) -> float:
    """Balanced accuracy of multinomial naive Bayes, with both classes taken as equally likely, on folds held out.

    Each word counts once per text (Wang and Manning 2012, "Baselines and Bigrams").
    """
    n_words = len(bag.vocabulary)
    cell = (folds[bag.row] * 2 + labels[bag.row]) * n_words + bag.word
    counts = np.bincount(cell, minlength=N_FOLDS * 2 * n_words).reshape(N_FOLDS, 2, n_words)
    seen = counts.sum(axis=0) - counts + 1.0  # [folds, 2, V]: in the other folds
    log_probs = np.log(seen) - np.log(seen.sum(axis=2, keepdims=True))
    weights = (log_probs[:, 1] - log_probs[:, 0])[folds[bag.row], bag.word]
    scores = np.bincount(bag.row, weights=weights, minlength=bag.n_texts)
    correct = np.where(scores == 0, 0.5, (scores > 0) == labels)
    return float(np.mean([correct[labels == k].mean() for k in (0, 1)]))
