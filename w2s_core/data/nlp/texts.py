"""Datasets of single texts with a label; their offline counterparts are in ``offline.texts``.

Among them the judgements of ETHICS on one situation, whether or not a reply or a trait is named with it.
"""

from __future__ import annotations

from dataclasses import replace

from w2s_core.data.datasets import DATASETS, Dataset, Draw, Example, Label, RawRow, clean
from w2s_core.errors import DataError

SENTIMENT = Label(names=(("negative", "neg"), ("positive", "pos")))


def _sst2(row: RawRow, draw: Draw) -> list[Example]:
    sentence = clean(row["sentence"])
    return [Example(sentence, "Positive?", row["label"], sentence)]


DATASETS.register(
    "sst2",
    Dataset(
        hub_id="stanfordnlp/sst2",
        splits={"train": "train", "test": "validation"},
        columns={"sentence": str, "label": SENTIMENT},
        format=_sst2,
        max_chars=1_000,
        sizes=(11_000, 856),
        unverified="Hub id; the columns are those of the copy in nyu-mll/glue",
    ),
)


def _amazon_polarity(row: RawRow, draw: Draw) -> list[Example]:
    review = f"{clean(row['title'])}\n{clean(row['content'])}"
    return [Example(review, "Positive?", row["label"], review)]


DATASETS.register(
    "amazon_polarity",
    Dataset(
        hub_id="fancyzhx/amazon_polarity",
        hub_aliases=("amazon_polarity",),
        splits={"train": "train", "test": "test"},
        prefix=200_000,
        columns={"title": str, "content": str, "label": SENTIMENT},
        format=_amazon_polarity,
        max_chars=1_500,
        sizes=(11_000, 5_000),
        unverified="whether the first rows have both labels about as often as all",
    ),
)


def _cola(row: RawRow, draw: Draw) -> list[Example]:
    sentence = clean(row["sentence"])
    return [Example(sentence, "Grammatical?", row["label"], sentence)]


DATASETS.register(
    "cola",
    Dataset(
        hub_id="nyu-mll/glue",
        hub_config="cola",
        splits={"train": "train", "test": "validation"},
        columns={"sentence": str, "label": Label(names=(("unacceptable",), ("acceptable",)))},
        format=_cola,
        max_chars=200,
        sizes=(5_056, 644),
    ),
)


def _twitter_sentiment(row: RawRow, draw: Draw) -> list[Example]:
    tweet = clean(row["text"])
    return [Example(tweet, "Positive?", row["label"], tweet)]


DATASETS.register(
    "twitter_sentiment",
    Dataset(
        hub_id="EleutherAI/twitter-sentiment",
        splits={"train": "train", "test": "test"},
        # Read whole, which takes a minute: nobody says that its first rows have both labels.
        columns={"text": str, "label": SENTIMENT},
        format=_twitter_sentiment,
        max_chars=200,
        sizes=(11_000, 5_000),
        unverified="columns",
    ),
)


def _ethics_justice(row: RawRow, draw: Draw) -> list[Example]:
    scenario = clean(row["scenario"])
    # Variants of a scenario differ in its reason, or else near its end. Of the neighbouring rows of the training file
    # that are alike, 86 % share these words, against 64 % with all that stands before the reason; fewer words would
    # mostly add scenarios that only have a stock opening in common.
    words = scenario.split(" because", maxsplit=1)[0].split()[:9]
    return [Example(scenario, "Is that fair?", row["label"], " ".join(words))]


_JUSTICE = Dataset(
    hub_id="EleutherAI/hendrycks_ethics",
    hub_config="justice",
    hub_revision="refs/convert/parquet",
    splits={"train": "train", "test": "test"},
    columns={"scenario": str, "label": Label()},
    format=_ethics_justice,
    max_chars=300,
    licence="MIT",
    unverified="the converted branch was not tried",
)
DATASETS.register("ethics_justice", _JUSTICE)
DATASETS.register(
    "ethics_justice_hard",
    replace(
        _JUSTICE,
        hub_id="hendrycks/ethics",
        sizes=(11_000, 2_004),
        unverified="the converted branch was not tried; that its test split is the hard one",
    ),
)


def _ethics_deontology(row: RawRow, draw: Draw) -> list[Example]:
    scenario, excuse = clean(row["scenario"]), clean(row["excuse"])
    if excuse.startswith("No, "):
        # In the training file 19 of 20 excuses with this comma are bad ones, of those without it two in five.
        excuse = "No " + excuse.removeprefix("No, ")
    return [Example(scenario, f"{excuse}\nReasonable?", row["label"], scenario, candidate=excuse)]


_DEONTOLOGY = Dataset(
    hub_id="EleutherAI/hendrycks_ethics",
    hub_config="deontology",
    hub_revision="refs/convert/parquet",
    splits={"train": "train", "test": "test"},
    columns={"scenario": str, "excuse": str, "label": Label()},
    format=_ethics_deontology,
    max_chars=300,
    licence="MIT",
    unverified="the converted branch was not tried",
)
DATASETS.register("ethics_deontology", _DEONTOLOGY)
DATASETS.register(
    "ethics_deontology_hard",
    replace(
        _DEONTOLOGY,
        hub_id="hendrycks/ethics",
        sizes=(11_000, 3_526),
        unverified="the converted branch was not tried; that its test split is the hard one",
    ),
)


def _ethics_virtue(row: RawRow, draw: Draw) -> list[Example]:
    text, mark, trait = row["scenario"].partition(" [SEP] ")
    if not mark:
        raise DataError(f"column 'scenario' must read 'text [SEP] trait', but is {row['scenario']!r}")
    # Capitals are more frequent in traits that fit.
    text, trait = clean(text), clean(trait).lower()
    return [Example(text, f"Does this show the trait: {trait}?", row["label"], text, candidate=trait)]


_VIRTUE = Dataset(
    # EleutherAI/hendrycks_ethics has the trait in a column of its own.
    hub_id="hendrycks/ethics",
    hub_config="virtue",
    hub_revision="refs/convert/parquet",
    splits={"train": "train", "test": "validation"},
    columns={"scenario": str, "label": Label()},
    format=_ethics_virtue,
    max_chars=300,
    licence="MIT",
    unverified="the converted branch was not tried; that its validation split is the ordinary test",
)
DATASETS.register("ethics_virtue", _VIRTUE)
DATASETS.register(
    "ethics_virtue_hard",
    replace(
        _VIRTUE,
        splits={"train": "train", "test": "test"},
        sizes=(4_830, 1_912),
        unverified="the converted branch was not tried; that its test split is the hard one",
    ),
)
