"""What stages of one worker share: tokens of equal texts, and the model that the last of them read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from tasks.runtime import RuntimeConfig
from tasks.workers.kept import Kept
from tasks.workers.watch import NodeWatch
from tests.tiny_models import CLASSIFY, model_params, rows_of, tiny_base, toy_rows, write_rows
from w2s_core.data.rows import Rows
from w2s_core.data.tokens import Tokens
from w2s_core.entries.predict import score, weak_labels
from w2s_core.models.classifier import Classifier, build, save
from w2s_core.training.encoded import encoded
from w2s_core.watch import Silent


@dataclass
class Counted:
    """The setting ``classify``, which counts."""

    n_times: int = 0

    def encode(self, rows: Rows, classifier: Classifier, scratch: Path) -> Tokens:
        self.n_times += 1
        return CLASSIFY.encode(rows, classifier, scratch)


@dataclass
class Stages:
    """Stages of one process, that begin one after the other."""

    home: Path
    kept: Kept = field(default_factory=Kept)

    def begin(self, **digests: str) -> NodeWatch:
        inputs = {name: {"digest": digest} for name, digest in digests.items()}
        order = {"node": "id", "key": "key", "name": "a stage", "inputs": inputs}
        return NodeWatch(order, self.home, "cpu", RuntimeConfig().model_dump(mode="json"), kept=self.kept)


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return Stages(tmp_path)


@pytest.fixture
def new(tmp_path: Path) -> Callable[[], Classifier]:
    base = tiny_base(tmp_path / "base")
    return lambda: build(model_params(head="small"), base, seed=0)


def test_a_split_is_tokenized_once_for_models_with_equal_tokenizers(
    stages: Stages, new: Callable[[], Classifier]
) -> None:
    counted, rows = Counted(), toy_rows(20)
    setting = replace(CLASSIFY, encode=counted.encode)
    first, again = (encoded(setting, rows, new(), stages.begin()) for _ in range(2))
    assert counted.n_times == 1
    assert np.array_equal(first.ids, again.ids)


@pytest.mark.parametrize("what", ["texts", "rows", "length", "words"])
def test_tokens_are_made_anew_where_anything_that_decides_them_differs(
    stages: Stages, new: Callable[[], Classifier], what: str
) -> None:
    counted, rows, classifier = Counted(), rows_of(["a", "b"], ["good", "bad"], ["is", "is"]), new()
    setting = replace(CLASSIFY, encode=counted.encode)
    encoded(setting, rows, classifier, stages.begin())
    if what == "texts":
        rows = rows_of(["a", "b"], ["good", "badis"], ["is", ""])
    elif what == "rows":
        rows = rows_of(["a", "c"], ["good", "bad"], ["is", "is"])
    elif what == "length":
        classifier.max_length = 2
    else:
        classifier.tokenizer.add_tokens(["good"])
    assert np.array_equal(
        encoded(setting, rows, classifier, stages.begin()).ids, CLASSIFY.encode(rows, classifier, stages.home).ids
    )
    assert counted.n_times == 2


def test_tokens_that_were_not_used_for_longest_go_first(tmp_path: Path, new: Callable[[], Classifier]) -> None:
    splits, classifier = [toy_rows(20, seed) for seed in range(3)], new()
    sizes = [CLASSIFY.encode(rows, classifier, tmp_path) for rows in splits]
    two = sum(x.ids.nbytes + x.offsets.nbytes + x.longest.nbytes for x in sizes) - 1
    stages, counted = Stages(tmp_path, Kept(most_token_bytes=two)), Counted()
    setting = replace(CLASSIFY, encode=counted.encode)
    made = []
    for i in (0, 1, 0, 2, 0, 1):
        before = counted.n_times
        encoded(setting, splits[i], classifier, stages.begin())
        made.append(counted.n_times > before)
    assert made == [True, True, False, True, False, True]


def test_a_model_that_labels_and_is_scored_is_read_once_and_says_the_same(
    stages: Stages, new: Callable[[], Classifier], tmp_path: Path
) -> None:
    save(new(), tmp_path / "model")
    splits = ("transfer_train", "validation", "test")
    paths = {split: write_rows(tmp_path / f"{split}.parquet", toy_rows(20, i)) for i, split in enumerate(splits)}
    inputs, params = {"model": tmp_path / "model", **paths}, {"setting": "classify"}
    for name in ("alone", "labels", "scores"):
        (tmp_path / name).mkdir()
    score(params, inputs, tmp_path / "alone", Silent())
    watch = stages.begin(model="of the model")
    weak_labels(params, inputs, tmp_path / "labels", watch)
    watch.close()
    (tmp_path / "model" / "head.safetensors").unlink()  # nobody could read it now
    score(params, inputs, tmp_path / "scores", stages.begin(model="of the model"))
    alone, scores = (tmp_path / name / "predictions.parquet" for name in ("alone", "scores"))
    assert alone.read_bytes() == scores.read_bytes()


@pytest.mark.parametrize(
    ("digests", "is_kept"),
    [({"model": "a"}, True), ({"model": "b"}, False), ({"train": "rows"}, False), ({}, False)],
)
def test_a_model_goes_before_a_stage_that_does_not_read_it(
    stages: Stages, new: Callable[[], Classifier], digests: dict[str, str], is_kept: bool
) -> None:
    watch = stages.begin(model="a")
    classifier = watch.model("model", new)
    watch.close()
    stages.begin(**digests).close()
    assert (stages.begin(model="a").model("model", new) is classifier) == is_kept


def test_a_large_model_is_not_kept(tmp_path: Path, new: Callable[[], Classifier]) -> None:
    stages = Stages(tmp_path, Kept(most_model_bytes=100))
    watch = stages.begin(model="a")
    classifier = watch.model("model", new)
    watch.close()
    assert stages.begin(model="a").model("model", new) is not classifier
