"""The stage ``prompt``: labels by a language model that is shown examples, and is not trained.

Only files in, files out; what it is shown is in ``w2s_core.methods.prompting``.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_core.data.answers import after, texts
from w2s_core.data.rows import each, only, read_rows, read_weak_probs, read_weights, write_weak_probs
from w2s_core.errors import DataError
from w2s_core.methods.prompting import CONTENT_FREE, Form, calibrated, chosen, shots
from w2s_core.metrics import harden, label_quality
from w2s_core.models.classifier import build
from w2s_core.models.packing import longest_text
from w2s_core.models.pretrained import language_model_of
from w2s_core.settings.answers import Answers
from w2s_core.settings.reports import QUALITIES
from w2s_core.settings.setting import SETTINGS, VIEWS, View
from w2s_core.stages import LABELLED
from w2s_core.training.asking import answer_tokens, ask
from w2s_core.training.predict import predict
from w2s_core.watch import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


AS_IT_IS = {"init": "pretrained", "size": None, "pooling": "auto", "head": "zeros", "precision": "fp32", "lora": None}
"""What of a ModelConfig a model is built with that is not trained."""


def prompt(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """What a model answers to each row of the splits that are labelled, over all draws of examples.

    Of classes that is the mean of P(class 1). Where answers are texts, it goes on after the prompt, and the commonest
    answer counts, of several the first; cue, answers and calibration are not asked of it.

    Args:
        params: ``setting``, ``model`` (``n_layers``, ``max_length`` and ``hub`` of a ModelConfig), ``prompt`` (``k``,
            ``draws``, ``calibrate``, ``cue``, and ``answers``: pairs of which the first is taken that can be) and
            ``seed``.
        inputs: the rows of the splits; ``base``; ``train``, of which examples are shown, if any, with ``labels`` or in
            truth.
        out: gets the labels of each split.
        watch: hears of every pass.
    """
    if SETTINGS.get(params["setting"]).decode is not None:
        return _texts(params, inputs, out, watch)
    settings, view = params["prompt"], VIEWS.get(params["setting"])
    model, tokenizer = language_model_of(params["model"], inputs.get("base"))
    model = model.to(watch.device)
    longest = longest_text(params["model"]["max_length"], model.config.get_text_config(), tokenizer, model)
    answers, tokens = _answers(tokenizer, settings["answers"])
    form = Form(settings["cue"], answers)
    prefixes = _prefixes(params, inputs, view, form)
    metrics: dict[str, Any] = {"n_draws": len(prefixes), "answers": "/".join(answers)}
    rows = {split: read_rows(inputs[split]) for split in LABELLED}
    texts = {split: list(each(rows[split], view.text)) for split in LABELLED}
    probs = {split: np.zeros(len(rows[split])) for split in LABELLED}
    n_cut = 0
    for prefix in prefixes:
        free, _ = ask(model, tokenizer, [prefix + form.asked(CONTENT_FREE)], tokens, longest, watch)
        for split in LABELLED:
            asked = [prefix + form.asked(text) for text in texts[split]]
            said, n_cut_here = ask(model, tokenizer, asked, tokens, longest, watch)
            n_cut += n_cut_here
            probs[split] += calibrated(said, free[0] if settings["calibrate"] else 0.0) / len(prefixes)
    for split in LABELLED:
        write_weak_probs(out / f"{split}.parquet", rows[split].ids, probs[split])
        metrics |= label_quality(probs[split], rows[split].gt_labels, list(each(rows[split], view.lure)), split)
    return {**metrics, "n_truncated": n_cut}


def _texts(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """The labels of a setting whose answers are texts."""
    setting, view = SETTINGS.get(params["setting"]), VIEWS.get(params["setting"])
    answers, classifier = setting.answers(params), build({**AS_IT_IS, **params["model"]}, inputs.get("base"), 0, None)
    prefixes = _text_prefixes(params, inputs, answers)
    metrics: dict[str, Any] = {"n_draws": len(prefixes)}
    for split in LABELLED:
        rows = read_rows(inputs[split])
        said = [
            answers.said(predict(setting, classifier, after(rows, prefix), watch), rows, classifier.tokenizer)
            for prefix in prefixes
        ]
        labels = texts([Counter(of_row).most_common(1)[0][0] for of_row in zip(*said, strict=True)])
        answers.write(out / f"{split}.parquet", rows.ids, labels)
        metrics |= QUALITIES.get(params["setting"])(params, labels, rows, view.lure, split)
    return metrics


def _text_prefixes(params: dict[str, Any], inputs: dict[str, Path], answers: Answers) -> list[str]:
    """As ``_prefixes``: prompts, each with its answer."""
    settings = params["prompt"]
    if "train" not in inputs:
        return [""]
    rows = read_rows(inputs["train"])
    labels = answers.truth(rows)
    if "labels" in inputs:
        labels = answers.read(inputs["labels"], rows.ids)
    shown = list(each(answers.lesson(rows, labels).rows, lambda some: zip(some["prompt"], some["answer"], strict=True)))
    found = []
    for draw in range(settings["draws"]):
        picked = np.random.default_rng((params["seed"], draw)).permutation(len(shown))[: settings["k"]]
        found.append("".join(f"{shown[i][0]} {shown[i][1]}\n\n" for i in picked))
    return found


def _answers(tokenizer: PreTrainedTokenizerBase, wanted: list[list[str]]) -> tuple[tuple[str, str], tuple[int, int]]:
    """The answers of both classes and their tokens: the first that the tokenizer tells apart."""
    *others, last = [(of_0, of_1) for of_0, of_1 in wanted]
    for answers in others:
        with suppress(DataError):
            return answers, answer_tokens(tokenizer, answers)
    return last, answer_tokens(tokenizer, last)


def _prefixes(params: dict[str, Any], inputs: dict[str, Path], view: View, form: Form) -> list[str]:
    """What is shown first, by draw; nothing, once, where no examples are wanted."""
    settings = params["prompt"]
    if "train" not in inputs:
        return [""]
    rows = read_rows(inputs["train"])
    labels = rows.gt_labels
    if "labels" in inputs:
        kept = read_weights(inputs["labels"], rows.ids) > 0
        rows = only(rows, kept)
        labels = harden(read_weak_probs(inputs["labels"], rows.ids))
    texts, found = list(each(rows, view.text)), []
    for draw in range(settings["draws"]):
        picked = chosen(labels, settings["k"], np.random.default_rng((params["seed"], draw)))
        found.append(shots([texts[i] for i in picked], [int(labels[i]) for i in picked], form))
    return found
