"""The stage ``audit``: facts about the examples of a dataset, and whether it can be trusted.

It reads what ``prepare`` reads and changes nothing. Whether labels leak is asked of the setting.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from w2s_core.config import WorldConfig
from w2s_core.data.checks import Check, Limits, judged, table, worst
from w2s_core.data.rows import Rows
from w2s_core.data.sampling import Row
from w2s_core.entries.prepare import Collected, collect, of_classes, shown_by_column
from w2s_core.settings.setting import LEAKS, SETTINGS, VIEWS, Setting, View
from w2s_core.watch import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOO_LONG = Limits(0.2)
"""Share of the examples. Past it, those that are short enough are another dataset."""
IN_TEST = Limits(0.05, 0.5)
"""Share of the training examples. They are left out, but a sound dataset hardly has any."""
DUPLICATES = Limits(0.05, 0.5)
"""Share of the examples. Past it, there is notably less to learn from than the number of rows says."""
CONTRADICTIONS = Limits(0.01, 0.1)
"""Share of the examples. No model can be right on more than half of them."""
SHARED = Limits(0.01, 0.1)
"""Share of the examples. Test accuracy can be too high by as much, and students can have seen their own labels."""
MAJORITY = Limits(0.56, 0.9)
"""Share of the larger class. ``prepare`` leaves 0.55, in whole rows; past the second, accuracy says little."""
CUT = Limits(0.1, 0.9)
"""Share of the examples. Past the second, a model hardly ever reads a whole text."""
UNREADABLE = Limits(1, 1)
"""Examples. A single one ends the training."""
MAPPED = Limits(1)
"""Label columns. What the source calls its classes is believed, so somebody should see that it is right."""


def audit(params: Mapping[str, Any], inputs: Mapping[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Check one dataset.

    Args:
        params: those of ``prepare``, and ``tokenizers``: for each its ``name``, its ``max_length``, and where it is
            from (``kind`` with ``hub``, or ``n_words``, ``world`` and ``corpus``); ``corpus``: all that these name.
        inputs: those of ``prepare``, and ``tokenizer.<name>`` for each that is in a folder.
        out: gets ``checks.parquet``.
        watch: hears of every part that is finished.

    Returns:
        The worst verdict, how many checks failed and warned, and the headline numbers.

    Raises:
        DataError: the dataset cannot be prepared, or a tokenizer cannot be read.
    """
    collected = collect(params, inputs)
    tokenizers = params["tokenizers"]
    find_leaks = LEAKS.get(params["setting"])
    setting, view = SETTINGS.get(params["setting"]), VIEWS.get(params["setting"])
    checks = [*data_checks(collected, view), *find_leaks(collected.usable["train"])]
    watch.progress(1, 1 + len(tokenizers), "parts")
    for done, spec in enumerate(tokenizers, start=2):
        tokenizer = _tokenizer(spec, inputs)
        reader = Tokenizer(tokenizer, min(spec["max_length"], tokenizer.model_max_length))
        for split, rows in collected.splits.items():
            checks += token_checks(split, rows, spec["name"], reader, setting, view, watch.scratch)
        watch.progress(done, 1 + len(tokenizers), "parts")
    pq.write_table(table(checks), out / "checks.parquet", compression="zstd")
    return headline(checks)


def headline(checks: Sequence[Check]) -> dict[str, Any]:
    """One row about a dataset: its size, its worst verdict, how often there was which, and the reasons."""
    raw = {(check.split, check.check): check.value for check in checks}
    found = Counter(check.verdict for check in checks)

    def both(check: str) -> int:
        return int(raw["train", check] + raw["test", check])

    return {
        "rows_in": both("rows_in"),
        "examples": both("kept"),
        "class_1": both("kept.positive") / both("kept") if ("train", "kept.positive") in raw else None,
        "groups": both("kept.groups"),
        "verdict": worst(check.verdict for check in checks),
        "n_fail": found["fail"],
        "n_warn": found["warn"],
        "reasons": "; ".join(f"{check.split}: {check.detail}" for check in checks if check.detail),
    }


def data_checks(collected: Collected, view: View) -> Iterator[Check]:
    """What rows there are, in which split, and which of them there are twice."""
    yield judged("all", "labels.mapped", len(collected.notes), MAPPED, "; ".join(collected.notes))
    for raw, rows in collected.usable.items():
        yield from _raw_checks(raw, collected.n_raw[raw], collected.dropped[raw], rows, collected.n_classes, view)
    for split, rows in collected.splits.items():
        yield from _split_checks(split, rows, collected.n_classes, view)
    splits = collected.splits
    earlier, where = splits["weak_train"], "weak_train"
    for part in [split for split in splits if split.startswith("part.")]:
        yield from _shared(view, part, splits[part], earlier, f"of {part} are in {where}")
        earlier, where = [*earlier, *splits[part]], "weak_train or an earlier part"
    yield from _shared(view, "halves", splits["transfer_train"], earlier, f"of transfer_train are in {where}")
    halves = [*earlier, *splits["transfer_train"]]
    yield from _shared(view, "validation", splits["validation"], halves, "of validation are in the halves")
    yield from _shared(view, "test", splits["test"], collected.usable["train"], "of test are in train")


def _raw_checks(
    split: str, n_raw: int, dropped: Mapping[str, int], rows: list[Row], n_classes: int, view: View
) -> Iterator[Check]:
    """Of a raw file, and of the examples that are left of it to choose from."""
    yield Check(split, "rows_in", n_raw)
    for reason, n in dropped.items():
        yield Check(split, f"dropped.{reason}", n)
    yield Check(split, "kept", len(rows))
    for name, n in of_classes(rows, n_classes).items():
        yield Check(split, f"kept.{name}", n)
    yield Check(split, "kept.groups", len({row.group for row in rows}))

    n = len(rows) + sum(dropped.values())
    too_long = dropped["too_long"] / n
    yield judged(split, "too_long", too_long, TOO_LONG, f"{too_long:.1%} of the examples are longer than max_chars")
    if split == "train":
        in_test = dropped["in_test"] / n
        detail = f"{in_test:.1%} of the examples belong to groups of the test file, and were left out"
        yield judged(split, "in_test", in_test, IN_TEST, detail)

    labelled = Counter((view.exact(row), row.gt_label) for row in rows)
    labels_of = Counter(shown for shown, _ in labelled)
    share = 1 - len(labelled) / len(rows)
    yield judged(split, "duplicates", share, DUPLICATES, f"{share:.1%} of the examples are there again, label and all")
    share = sum(n for (shown, _), n in labelled.items() if labels_of[shown] > 1) / len(rows)
    several = "both" if n_classes == 2 else "several"
    detail = f"{share:.1%} of the examples have {view.a_thing} that is there with {several} labels"
    yield judged(split, "contradictions", share, CONTRADICTIONS, detail)


def _split_checks(split: str, rows: list[Row], n_classes: int, view: View) -> Iterator[Check]:
    """Of one output of ``prepare``."""
    counts = Counter(row.gt_label for row in rows)
    larger = max(sorted(counts), key=counts.__getitem__)
    majority = counts[larger] / len(rows)
    yield Check(split, "rows", len(rows))
    if n_classes <= 2:
        yield Check(split, "class_1", counts[1] / len(rows))
    else:
        yield Check(split, "classes", len(counts))
    detail = f"{majority:.1%} of the examples are of class {larger}"
    if n_classes > 1:
        yield judged(split, "majority", majority, MAJORITY, detail)
    groups = Counter(row.group for row in rows)
    yield Check(split, "groups", len(groups))
    yield Check(split, "rows_per_group.mean", len(rows) / len(groups))
    yield Check(split, "rows_per_group.max", max(groups.values()))
    yield from _distribution(split, view.size.name, [view.size.of(row) for row in rows])


def _distribution(split: str, check: str, lengths: Iterable[int]) -> Iterator[Check]:
    ordered = np.array([*lengths])
    for name, q in (("min", 0), ("p50", 50), ("p95", 95), ("max", 100)):
        yield Check(split, f"{check}.{name}", float(np.percentile(ordered, q, method="inverted_cdf")))


def _shared(view: View, check: str, rows: list[Row], others: list[Row], where: str) -> Iterator[Check]:
    """How many of ``rows`` are, exactly or nearly, among ``others``."""
    for kind, key in (("exact", view.exact), ("near", view.near)):
        there = {key(row) for row in others}
        share = sum(key(row) in there for row in rows) / len(rows)
        alike = "" if kind == "exact" else view.alike
        yield judged("all", f"shared.{check}.{kind}", share, SHARED, f"{share:.1%} of the {view.things} {where}{alike}")


class Tokenizer(NamedTuple):
    """A tokenizer, and how many tokens its model reads."""

    tokenizer: PreTrainedTokenizerBase
    max_length: int


def token_checks(
    split: str, rows: list[Row], name: str, reader: Tokenizer, setting: Setting, view: View, scratch: Path
) -> Iterator[Check]:
    """How long examples are in the tokens of a model, and how many of them it cannot read whole."""
    whole, max_length = reader._replace(max_length=sys.maxsize), reader.max_length
    shown = shown_by_column(view, [row.shown for row in rows])
    labels = np.array([row.gt_label for row in rows])
    examples = Rows([row.id for row in rows], labels, shown=lambda: iter([shown]))
    n_tokens = setting.encode(examples, whole, scratch).longest
    yield from _distribution(split, f"tokens.{name}", n_tokens)
    cut = float(np.mean(n_tokens > max_length))
    detail = f"{cut:.1%} of the texts lose their beginning at the {max_length} tokens of {name}"
    yield judged(split, f"tokens.{name}.cut", cut, CUT, detail)
    if view.cut is not None:
        shown = {**shown, view.cut: [""] * len(rows)}
        n_tokens = setting.encode(examples, whole, scratch).longest
    n_unreadable = int(np.sum(n_tokens > max_length))
    uncut = " or ".join(f"{column}s" for column in view.shows if column != view.cut)
    detail = f"{n_unreadable} {uncut} alone are longer than the {max_length} tokens of {name}; lower data.max_chars"
    yield judged(split, f"tokens.{name}.unreadable", n_unreadable, UNREADABLE, detail)


def _tokenizer(spec: Mapping[str, Any], inputs: Mapping[str, Path]) -> PreTrainedTokenizerBase:
    if spec["kind"] == "offline":
        from w2s_core.offline.corpora import CORPORA
        from w2s_core.offline.world import build_world

        corpus = CORPORA.get(spec.get("corpus", "words"))
        return corpus.tokenizer(build_world(WorldConfig(**spec["world"])), spec["n_words"], spec["max_length"])
    from w2s_core.models.pretrained import read_tokenizer

    if spec["kind"] == "folder":
        return read_tokenizer(str(inputs[f"tokenizer.{spec['name']}"]), None)
    return read_tokenizer(spec["hub"]["id"], spec["hub"]["revision"])
