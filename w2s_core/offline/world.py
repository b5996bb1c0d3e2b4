"""The generated world: words of latent classes, texts that are coherent in class, and a tokenizer for them.

It is a test bed with the shape of the real thing, never a result about language. What its datasets look like is in
``offline``.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2s_core.config import WorldConfig
from w2s_core.hashes import stable_int

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNK, EOS = "<pad>", "<unk>", "<eos>"
"""Of every tokenizer that is made here."""

FORMS = ("{} . {} {mark}", "q : {} ? a : {} {mark}", "{} . q : {} {mark}")
"""What a pair of texts looks like in the corpus: prose, an answer to a question, a question about a text."""
PAIRS_PER_DOCUMENT = 3
WORDS_PER_TEXT = (1, 5)
TONE_CHANGES = 0.5
"""How often the second text of a pair is about a topic of the other tone, instead of the same topic."""


def stream(*parts: str | int) -> np.random.Generator:
    """The random numbers that belong to ``parts``: the same in any process and order of calls."""
    return np.random.Generator(np.random.Philox(key=stable_int(*parts)))


def below(n: int, rng: np.random.Generator) -> int:
    """An integer in [0, n). Like all randomness here made of ``random()``, whose stream numpy keeps stable."""
    return int(rng.random() * n)


@dataclass(frozen=True, slots=True)
class World:
    """Words, and how often each stands in a text about a topic.

    Legend: K latent classes (topics), W words per class.
    """

    seed: int
    words: tuple[tuple[str, ...], ...]
    """[K][W], in each class the most frequent word first."""
    cumulative: np.ndarray
    """[W] float64: probability of a word of at most this rank."""
    noise: float
    """Share of words in a text that come from any class."""

    @property
    def n_classes(self) -> int:
        """K; a topic is a number below it."""
        return len(self.words)

    def topic(self, rng: np.random.Generator) -> int:
        """Any topic."""
        return below(self.n_classes, rng)

    def opposite(self, topic: int, rng: np.random.Generator) -> int:
        """Any topic of the other tone. Even topics are of one tone, odd ones of the other."""
        return (topic + 1 + 2 * below(self.n_classes // 2, rng)) % self.n_classes

    def text(self, topic: int, n_words: tuple[int, int], rng: np.random.Generator) -> str:
        """Words about a topic, as many as one of the range (ends included)."""
        low, high = n_words
        n = low + below(high - low + 1, rng)
        is_noise, any_class, rank = rng.random((3, n))
        topics = np.where(is_noise < self.noise, (any_class * self.n_classes).astype(int), topic)
        ranks = np.searchsorted(self.cumulative, rank, side="right")
        return " ".join(self.words[k][r] for k, r in zip(topics, ranks, strict=True))


def build_world(config: WorldConfig) -> World:
    """The world of a configuration; the seed decides which words belong together."""
    spelled = spelling(config.n_words)
    order = np.argsort(stream("classes", config.seed).random(config.n_words), kind="stable")
    n_each = config.n_words // config.n_classes
    frequency = 1.0 / np.arange(1, n_each + 1) ** config.zipf
    return World(
        seed=config.seed,
        words=tuple(tuple(spelled[i] for i in order[k * n_each : (k + 1) * n_each]) for k in range(config.n_classes)),
        cumulative=np.cumsum(frequency) / frequency.sum(),
        noise=config.noise,
    )


def spelling(n_words: int) -> list[str]:
    """The first so many pronounceable words; how a word is spelled says nothing about its class."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    lengths = (itertools.product(syllables, repeat=n) for n in itertools.count(2))
    spelled = map("".join, itertools.chain.from_iterable(lengths))
    return list(itertools.islice(spelled, n_words))


def corpus(world: World, seed: int) -> Iterator[str]:
    """Documents without end.

    Each is a few pairs of texts. The second keeps the topic of the first and ends in ".", or changes its tone and ends
    in "!": so a model that is trained on it learns which words belong together, and to notice when texts do not.
    """
    rng = stream("corpus", world.seed, seed)
    while True:
        form = FORMS[below(len(FORMS), rng)]
        pairs = []
        for _ in range(PAIRS_PER_DOCUMENT):
            topic = world.topic(rng)
            changes = rng.random() < TONE_CHANGES
            first = world.text(topic, WORDS_PER_TEXT, rng)
            second = world.text(world.opposite(topic, rng) if changes else topic, WORDS_PER_TEXT, rng)
            pairs.append(form.format(first, second, mark=".!"[changes]))
        yield " ".join(pairs)


def build_tokenizer(world: World, n_words: int | None, max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer that knows words of a world, single letters, digits and punctuation; all else is one unknown token.

    It knows no word of any prompt, so that rewording a prompt leaves every model as it is.

    Args:
        world: the world.
        n_words: how many of its most frequent words to know, as many of each class; None for all.
        max_length: the longest text that its model reads, in tokens.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = [PAD, UNK, EOS, *string.punctuation, *string.digits, *string.ascii_lowercase]
    n_each = None if n_words is None else n_words // world.n_classes
    words = sorted(word for of_class in world.words for word in of_class[:n_each])
    vocabulary = {token: i for i, token in enumerate([*known, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        eos_token=EOS,
        model_max_length=max_length,
    )
