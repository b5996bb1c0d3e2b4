"""Text in, text out: a prompt and the text that answers it, right when both have one normal form.

A language model is trained on the tokens of the answer, and decodes its own greedily, so that chess puzzles, sums and
short answers are one setting; what else tells them apart is their dataset and the form of its answers
(``w2s_core.data.forms``). Labels are texts, and so hard. Letters: N rows, B of a portion, T tokens, V tokens of the
vocabulary, W of the longest answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from w2s_core.data.answers import read_answers, texts, with_answers, write_answers, write_said
from w2s_core.data.checks import Check, Limits, judged
from w2s_core.data.forms import FORMS, AnswerForm, Said
from w2s_core.data.given import read_given_answers
from w2s_core.data.rows import Rows, Shown, each
from w2s_core.data.sampling import Row
from w2s_core.data.tokens import Tokens, tokenize_answers
from w2s_core.settings.answers import Lesson, share
from w2s_core.settings.kinds import TEXT_MODELS
from w2s_core.settings.reports import GIVEN, QUALITIES, SCORES, Lure, Metrics
from w2s_core.settings.setting import KINDS, LEAKS, SETTINGS, VIEWS, Reader, Setting, View

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from w2s_core.models.classifier import Classifier

LONGEST = 12
"""W, with the end of text. A move takes at most eight besides, letter by letter."""

SURE = -1e-9
"""The log-probability past which an answer has no gradient any more: that of all other texts would be lost to
rounding."""

DUPLICATES = Limits(0.05, 0.5)
"""Share of the examples."""
CONTRADICTIONS = Limits(0.01, 0.1)
"""Share of the examples."""


def no_head(n_classes: int) -> None:
    """It is that of the language model."""


def encode(rows: Rows, reader: Reader, scratch: Path) -> Tokens:
    """Prompt and answer as one sequence, which the end of text follows."""
    return tokenize_answers(rows, reader.tokenizer, reader.max_length, scratch, LONGEST)


def _places(tokens: Tokens, portion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[M] rows and [M] columns, in a padded portion, of the tokens of all answers."""
    assert tokens.n_asked is not None
    n_answer = tokens.longest[portion] - tokens.n_asked[portion]  # [B]
    rows = np.repeat(np.arange(len(portion)), n_answer)
    before = np.repeat(np.cumsum(n_answer) - n_answer, n_answer)
    return rows, np.arange(len(rows)) - before + tokens.n_asked[portion][rows]


def logits(classifier: Classifier, tokens: Tokens, portion: np.ndarray) -> Tensor:
    """[B, 2] float64, the log-probabilities of the answer, end of text and all, and of all other texts together.

    So the answer is the one class that there is, the second logit stands for all that is none, and the cross-entropy
    of a loss is the answer's, in nats.
    """
    import torch

    ids, mask = (torch.from_numpy(array) for array in tokens.padded(portion, classifier.pad_id))
    rows, columns = (torch.from_numpy(array) for array in _places(tokens, portion))
    head = classifier.head(classifier.states_at(ids, mask, rows, columns - 1))  # [M, V]
    of_token = head.log_softmax(-1).gather(1, ids[rows, columns].to(head.device)[:, None])[:, 0].double()
    of_answer = of_token.new_zeros(len(portion)).index_add(0, rows.to(head.device), of_token)
    of_answer = of_answer.clamp(max=SURE)
    return torch.stack([of_answer, torch.log(-torch.expm1(of_answer))], 1)


def features(classifier: Classifier, tokens: Tokens, portion: np.ndarray) -> Tensor:
    """[B, D], of the last token before the answer."""
    import torch

    assert tokens.n_asked is not None
    ids, mask = (torch.from_numpy(array) for array in tokens.padded(portion, classifier.pad_id))
    columns = torch.from_numpy(tokens.n_asked[portion]) - 1
    found: Tensor = classifier.head(classifier.states_at(ids, mask, torch.arange(len(portion)), columns))
    return found


def probs(logits: Tensor) -> Tensor:
    """[B, 1] float64, of the answer that is shown."""
    return logits[:, :1].double().exp()


def decode(classifier: Classifier, tokens: Tokens, portion: np.ndarray) -> Tensor:
    """[B, W] int64, the tokens of the model's own answers, which it finds without any that are shown."""
    from w2s_core.models.decoding import go_on

    assert tokens.n_asked is not None
    starts = tokens.offsets[portion]
    ends = starts + tokens.n_asked[portion]
    prompts = [tokens.ids[start:end] for start, end in zip(starts, ends, strict=True)]
    return go_on(classifier, prompts, LONGEST, int(classifier.tokenizer.eos_token_id))


class Texts:
    """Texts in normal form; see ``answers.Answers``."""

    def __init__(self, form: AnswerForm) -> None:
        self._form = form

    def truth(self, rows: Rows) -> np.ndarray:
        """The normal forms of the answers that are shown."""
        return self.normal(each(rows, lambda shown: shown["answer"]), rows)

    def lesson(self, rows: Rows, labels: np.ndarray) -> Lesson:
        """Rows that show the labels as their answers; each is the one class that there is, [N, 1]."""
        written = [self._form.written(label, about) for label, about in zip(labels, _about(rows), strict=True)]
        return Lesson(with_answers(rows, texts(written)), np.ones((len(rows), 1)))

    def said(self, found: np.ndarray, rows: Rows, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
        """Of tokens, [N, W] int64; a negative one ends them."""
        decoded = tokenizer.batch_decode(
            [ids[ids >= 0].tolist() for ids in found.astype(int)], skip_special_tokens=True
        )
        # Who was not trained to end goes on with another line.
        return self.normal([text.strip().partition("\n")[0] for text in decoded], rows)

    def is_right(self, answers: np.ndarray, rows: Rows) -> np.ndarray:
        """As the form has it."""
        return np.array([said.is_right for said in self.all_said(answers, rows)], bool)

    def are_same(self, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Whether they are equal."""
        same: np.ndarray = (answers == labels).astype(bool)
        return same

    def about_labels(self, labels: np.ndarray) -> Mapping[str, float]:
        """Nothing: all are certain."""
        return {}

    def read(self, path: Path, ids: list[str]) -> np.ndarray:
        """See ``Answers``."""
        return read_answers(path, ids)

    def write(self, path: Path, ids: list[str], labels: np.ndarray) -> None:
        """See ``Answers``."""
        write_answers(path, ids, labels)

    def normal(self, found: Any, rows: Rows) -> np.ndarray:
        """The normal forms of texts."""
        return texts([self._form.normal(text, about) for text, about in zip(found, _about(rows), strict=True)])

    def all_said(self, answers: np.ndarray, rows: Rows) -> list[Said]:
        """Each answer beside the right one."""
        triples = zip(answers.tolist(), self.truth(rows).tolist(), _about(rows), strict=True)
        return [Said(*triple[:2], self._form.is_right(*triple), triple[2]) for triple in triples]


def _about(rows: Rows) -> list[str]:
    return list(each(rows, lambda shown: shown["about"]))


def answers(params: Mapping[str, Any]) -> Texts:
    """Texts, of the form that the dataset names."""
    return Texts(FORMS.get(params["form"]))


def given(params: Mapping[str, Any], path: Path, rows: Mapping[str, Rows]) -> dict[str, np.ndarray]:
    """From a column of texts, of any form; see ``reports.GIVEN``."""
    found = read_given_answers(path, {split: of.ids for split, of in rows.items()})
    return {split: answers(params).normal(found[split], of) for split, of in rows.items()}


def quality(
    params: Mapping[str, Any], labels: np.ndarray, rows: Rows, lure: Lure, split: str
) -> dict[str, float | None]:
    """How often they are right, and what the form says of them; see ``reports.QUALITIES``."""
    said = answers(params).all_said(labels, rows)
    about = {f"{name}_{split}": value for name, value in FORMS.get(params["form"]).metrics(said).items()}
    return {f"accuracy_{split}": share([one.is_right for one in said]), **about}


def score(
    params: Mapping[str, Any], path: Path, rows: Rows, groups: list[str], found: np.ndarray, metrics: Metrics
) -> dict[str, Any]:
    """See ``reports.SCORES``."""
    said = answers(params).all_said(found, rows)
    is_right = np.array([one.is_right for one in said], bool)
    write_said(path, rows, groups, found, is_right)
    return {"n": len(rows), "accuracy": share(is_right), **FORMS.get(params["form"]).metrics(said)}


def lengths(shown: Shown) -> list[int]:
    """Prompt and answer together."""
    return [len(prompt) + 1 + len(answer) for prompt, answer in zip(shown["prompt"], shown["answer"], strict=True)]


def text(shown: Shown) -> list[str]:
    """The prompt: what a model is asked."""
    return list(shown["prompt"])


def answer_starts(shown: Shown) -> list[int]:
    """There is none: the right one is the label."""
    return [0] * len(shown["prompt"])


def lure(shown: Shown) -> list[int]:
    """Nothing: there are no classes."""
    return [0] * len(shown["prompt"])


def leaks(rows: Sequence[Row]) -> list[Check]:
    """How often a prompt is there again, and with another answer: in chess, a position.

    There is no label to give away. Games or questions cannot be in two splits: they are groups, which ``prepare`` keeps
    together.
    """
    by_prompt: dict[str, set[str]] = {}
    counts = Counter(row.shown[0] for row in rows)
    for row in rows:
        by_prompt.setdefault(row.shown[0], set()).add(row.shown[1])
    again = 1 - len(counts) / len(rows)
    other = sum(counts[prompt] for prompt, given in by_prompt.items() if len(given) > 1) / len(rows)
    answers = Counter(row.shown[1] for row in rows)
    return [
        judged("train", "prompts.again", again, DUPLICATES, f"{again:.1%} of the prompts are there again"),
        judged("train", "prompts.differ", other, CONTRADICTIONS, f"{other:.1%} of the prompts have several answers"),
        Check("train", "answers", len(answers)),
        Check("train", "answers.commonest", max(answers.values()) / len(rows)),
    ]


SETTINGS.register(
    "move",
    Setting(
        n_outputs=no_head,
        encode=encode,
        logits=logits,
        features=features,
        probs=probs,
        answers=answers,
        decode=decode,
        n_decoded=LONGEST,
    ),
)
KINDS.register("move", TEXT_MODELS)
VIEWS.register(
    "move",
    View(
        shows={"prompt": pa.string(), "answer": pa.string(), "about": pa.string()},
        n_classes=1,
        truth="answer",
        cut="prompt",
        lengths=lengths,
        text=text,
        documents=text,
        answer_starts=answer_starts,
        lure=lure,
    ),
)
LEAKS.register("move", leaks)
GIVEN.register("move", given)
QUALITIES.register("move", quality)
SCORES.register("move", score)
