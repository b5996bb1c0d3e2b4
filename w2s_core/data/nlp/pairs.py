"""Datasets of two texts, or a text and an answer, and a label for the pair; offline counterparts: ``offline.pairs``."""

from __future__ import annotations

import re
from dataclasses import replace

from w2s_core.data.datasets import DATASETS, Dataset, Draw, Example, Label, RawRow, clean


def _boolq(row: RawRow, draw: Draw) -> list[Example]:
    passage = clean(row["passage"])
    return [Example(passage, f"Q: {clean(row['question'])}", int(row["answer"]), passage)]


DATASETS.register(
    "boolq",
    Dataset(
        hub_id="google/boolq",
        hub_aliases=("boolq",),
        splits={"train": "train", "test": "validation"},
        columns={"question": str, "answer": Label(kind=bool), "passage": str},
        format=_boolq,
        max_chars=2_000,
        licence="CC BY-SA 3.0",
        sizes=(7_106, 2_474),
    ),
)


ENTAILMENT = Label(names=(("entailment",), ("neutral",), ("contradiction",)), is_binary=False)


def _anli(row: RawRow, draw: Draw) -> list[Example]:
    # 0 is entailment, 1 neutral, 2 contradiction; what is none of them is refused as it is.
    gt_label = {0: 1, 1: 0, 2: 0}.get(row["label"], row["label"])
    premise = clean(row["premise"])
    return [Example(premise, f"{clean(row['hypothesis'])}\nDoes this follow?", gt_label, premise)]


DATASETS.register(
    "anli_r2",
    Dataset(
        hub_id="facebook/anli",
        splits={"train": "train_r2", "test": "test_r2"},
        columns={"premise": str, "hypothesis": str, "label": ENTAILMENT},
        format=_anli,
        max_chars=700,
        licence="CC BY-NC 4.0",
        sizes=(11_000, 668),
    ),
)


def _paws(row: RawRow, draw: Draw) -> list[Example]:
    sentence = clean(row["sentence1"])
    other = clean(row["sentence2"])
    return [Example(sentence, f"{other}\nSame meaning?", row["label"], sentence, also=other)]


DATASETS.register(
    "paws",
    Dataset(
        hub_id="google-research-datasets/paws",
        hub_config="labeled_final",
        hub_aliases=("paws",),
        splits={"train": "train", "test": "test"},
        columns={"sentence1": str, "sentence2": str, "label": Label()},
        format=_paws,
        max_chars=700,
        sizes=(11_000, 5_000),
        unverified="columns",
    ),
)


def _wic(row: RawRow, draw: Draw) -> list[Example]:
    word = clean(row["word"])
    prompt = f'{clean(row["sentence2"])}\nIs "{word}" meant in the same sense?'
    return [Example(clean(row["sentence1"]), prompt, row["label"], word)]


DATASETS.register(
    "wic",
    Dataset(
        hub_id="aps/super_glue",
        hub_config="wic",
        hub_revision="refs/convert/parquet",
        hub_aliases=("super_glue",),
        splits={"train": "train", "test": "validation"},
        columns={"word": str, "sentence1": str, "sentence2": str, "label": Label()},
        format=_wic,
        max_chars=700,
        sizes=(5_428, 638),
        unverified="the converted branch was not tried",
    ),
)


def _answered(passage: str, question: str, answer: str, gt_label: int, group: str) -> list[Example]:
    """The question of whether an answer is right, as one example."""
    question, answer = clean(question), clean(answer)
    return [Example(clean(passage), f"Q: {question}\nA: {answer}", gt_label, group, candidate=answer)]


def _mc_taco(row: RawRow, draw: Draw) -> list[Example]:
    return _answered(row["sentence"], row["question"], row["answer"], row["label"], row["sentence"])


DATASETS.register(
    "mc_taco",
    Dataset(
        hub_id="CogComp/mc_taco",
        hub_revision="refs/convert/parquet",
        hub_aliases=("mc_taco",),
        # There is no training split, and the test split is the larger one.
        splits={"train": "test", "test": "validation"},
        columns={"sentence": str, "question": str, "answer": str, "label": Label()},
        format=_mc_taco,
        max_chars=400,
        sizes=(6_396, 2_458),
        unverified="the converted branch was not tried",
    ),
)


def _multirc(row: RawRow, draw: Draw) -> list[Example]:
    return _answered(row["paragraph"], row["question"], row["answer"], row["label"], row["paragraph"])


DATASETS.register(
    "multirc",
    Dataset(
        hub_id="aps/super_glue",
        hub_config="multirc",
        hub_revision="refs/convert/parquet",
        hub_aliases=("super_glue",),
        splits={"train": "train", "test": "validation"},
        columns={"paragraph": str, "question": str, "answer": str, "label": Label()},
        format=_multirc,
        max_chars=3_200,
        licence="research use",
        sizes=(11_000, 4_150),
        unverified="the converted branch was not tried",
    ),
)


def _ethics_utilitarianism(row: RawRow, draw: Draw) -> list[Example]:
    better, worse = clean(row["baseline"]), clean(row["less_pleasant"])
    if better.casefold() == worse.casefold():
        return []
    shown = "\n".join([worse, better] if draw(2) else [better, worse])
    # Rows rank several continuations of one beginning: the worse scenario of one is the baseline of another. 98 % of
    # such pairs of training rows share the first sentence, 0 % the baseline.
    # The others share the scenario in another role.
    group, also = (re.split(r"[.!?]", text, maxsplit=1)[0] for text in (better, worse))
    return [
        Example(shown, f"More pleasant: {claimed}", gt_label, group, candidate=claimed, also=also)
        for claimed, gt_label in ((better, 1), (worse, 0))
    ]


_UTILITARIANISM = Dataset(
    # EleutherAI/hendrycks_ethics calls these columns activity and baseline: its baseline is the worse one.
    hub_id="hendrycks/ethics",
    hub_config="utilitarianism",
    hub_revision="refs/convert/parquet",
    splits={"train": "train", "test": "validation"},
    columns={"baseline": str, "less_pleasant": str},
    format=_ethics_utilitarianism,
    max_chars=700,
    licence="MIT",
    unverified="the converted branch was not tried; that its validation split is the ordinary test",
)
DATASETS.register("ethics_utilitarianism", _UTILITARIANISM)
DATASETS.register(
    "ethics_utilitarianism_hard",
    replace(
        _UTILITARIANISM,
        splits={"train": "train", "test": "test"},
        sizes=(11_000, 4_166),
        unverified="the converted branch was not tried; that its test split is the hard one",
    ),
)
