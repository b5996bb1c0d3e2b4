"""The NLP datasets, one registry entry each; their offline counterparts are in ``offline``."""

from __future__ import annotations

from w2s_core.datasets import DATASETS, Dataset, Draw, Example, RawRow, clean, multiple_choice


def _sst2(row: RawRow, draw: Draw) -> list[Example]:
    sentence = clean(row["sentence"])
    return [Example(sentence, "Positive?", row["label"], sentence)]


DATASETS.register(
    "sst2",
    Dataset(
        hub_id="stanfordnlp/sst2",
        splits={"train": "train", "test": "validation"},
        columns={"sentence": str, "label": int},
        format=_sst2,
        max_chars=1_000,
    ),
)


def _amazon_polarity(row: RawRow, draw: Draw) -> list[Example]:
    review = f"{clean(row['title'])}\n{clean(row['content'])}"
    return [Example(review, "Positive?", row["label"], review)]


DATASETS.register(
    "amazon_polarity",
    Dataset(
        hub_id="fancyzhx/amazon_polarity",
        splits={"train": "train", "test": "test"},
        columns={"title": str, "content": str, "label": int},
        format=_amazon_polarity,
        max_chars=1_500,
    ),
)


def _sciq(row: RawRow, draw: Draw) -> list[Example]:
    # Without the supporting passage, in which the right answer nearly always stands word for word.
    wrong = [row["distractor1"], row["distractor2"], row["distractor3"]]
    return multiple_choice(row["question"], row["correct_answer"], wrong, draw)


DATASETS.register(
    "sciq",
    Dataset(
        hub_id="allenai/sciq",
        splits={"train": "train", "test": "test"},
        columns={
            "question": str,
            "correct_answer": str,
            "distractor1": str,
            "distractor2": str,
            "distractor3": str,
        },
        format=_sciq,
        max_chars=1_000,
        licence="CC BY-NC 3.0",
    ),
)


def _boolq(row: RawRow, draw: Draw) -> list[Example]:
    passage = clean(row["passage"])
    return [Example(passage, f"Q: {clean(row['question'])}", int(row["answer"]), passage)]


DATASETS.register(
    "boolq",
    Dataset(
        hub_id="google/boolq",
        splits={"train": "train", "test": "validation"},
        columns={"question": str, "answer": bool, "passage": str},
        format=_boolq,
        max_chars=2_000,
        licence="CC BY-SA 3.0",
    ),
)
