"""Text in, text out: what is trained on, what is decoded, what is right, and what labels hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tests.tiny_models import model_params, training_params
from w2s_core.config import WorldConfig
from w2s_core.data.answers import read_answers
from w2s_core.data.rows import Rows
from w2s_core.data.sampling import Row
from w2s_core.data.tokens import Tokens
from w2s_core.entries.predict import score, weak_labels
from w2s_core.entries.prompt import prompt
from w2s_core.entries.train import train_gt, train_w2s
from w2s_core.errors import DataError
from w2s_core.methods.losses import LOSSES, Batch
from w2s_core.models.classifier import Classifier, build, load, save
from w2s_core.offline.world import build_tokenizer, build_world
from w2s_core.settings.setting import LEAKS, SETTINGS, VIEWS, Forward
from w2s_core.stages import LABELLED
from w2s_core.training.predict import predict_tokens
from w2s_core.watch import Silent

MOVE, VIEW = SETTINGS.get("move"), VIEWS.get("move")
ASKED = {"setting": "move", "form": "number"}
ANSWERS = MOVE.answers(ASKED)
LENGTH = 32


def rows_of(prompts: list[str], answers: list[str]) -> Rows:
    shown = {"prompt": prompts, "answer": answers, "about": [""] * len(prompts)}
    return Rows([f"row {i}" for i in range(len(prompts))], np.zeros(len(prompts), np.int8), lambda: iter([shown]))


def sums(n: int, seed: int = 0, longest: int = 5) -> Rows:
    """Prompts of several lengths; the answer is one more than the digit at their end."""
    rng = np.random.default_rng(seed)
    digits = rng.integers(0, 5, n)
    return rows_of([f"{'a ' * rng.integers(0, longest + 1)}{d} =" for d in digits], [str(d + 1) for d in digits])


def base(folder: Path) -> Path:
    tokenizer = build_tokenizer(build_world(WorldConfig(n_words=64)), None, LENGTH)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=LENGTH, n_embd=16, n_layer=2, n_head=2,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("move") / "base")


@pytest.fixture
def model(folder: Path) -> Classifier:
    return build(model_params(max_length=LENGTH), folder, 0, MOVE.n_outputs(2)).eval()


def encoded(rows: Rows, model: Classifier) -> Tokens:
    return MOVE.encode(rows, model, Silent().scratch)


def test_logits_are_the_log_probability_of_the_answer_and_of_all_other_texts(model: Classifier, folder: Path) -> None:
    rows, whole = sums(9), GPT2LMHeadModel.from_pretrained(folder).eval()
    tokens = encoded(rows, model)
    order = np.array([4, 0, 7])
    with torch.no_grad():
        found = MOVE.logits(model, tokens, order)
        for row, i in zip(found, order, strict=True):
            ids = torch.tensor(tokens.ids[tokens.offsets[i] : tokens.offsets[i + 1]]).long()
            of_token = whole(ids[None]).logits[0].double().log_softmax(-1)
            n_asked = int(tokens.n_asked[i])
            expected = sum(of_token[t - 1, ids[t]] for t in range(n_asked, len(ids)))
            assert int(ids[-1]) == model.tokenizer.eos_token_id
            torch.testing.assert_close(row[0], expected, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(row.exp().sum(), torch.tensor(1.0).double())


def test_naive_finetuning_is_the_negative_log_likelihood_of_the_answers() -> None:
    log_p = torch.tensor([-0.5, -3.0, -20.0], dtype=torch.float64, requires_grad=True)
    logits = torch.stack([log_p, torch.log(-torch.expm1(log_p))], 1)
    loss = LOSSES.get("xent")
    batch = Batch(torch.ones(3, 1, dtype=torch.float64), torch.arange(3), 0.0)
    value = loss.of(logits, batch, loss.params()).value
    torch.testing.assert_close(value, -log_p.mean())
    [gradient] = torch.autograd.grad(value, log_p)
    torch.testing.assert_close(gradient, torch.full((3,), -1 / 3, dtype=torch.float64))


def test_an_answer_that_is_certain_has_a_finite_loss_and_gradient(model: Classifier) -> None:
    tokens = encoded(rows_of(["1 ="], ["2"]), model)
    with torch.no_grad():
        model.head.weight.zero_()
    logits = MOVE.logits(model, tokens, np.array([0]))
    assert torch.isfinite(logits).all()


def test_decoding_with_a_cache_beside_others_is_decoding_alone_without(model: Classifier, folder: Path) -> None:
    rows, whole = sums(7), GPT2LMHeadModel.from_pretrained(folder).eval()
    tokens = encoded(rows, model)
    said = predict_tokens(Forward(MOVE, model, tokens), Silent()).astype(int)
    for i in range(len(rows)):
        ids = tokens.ids[tokens.offsets[i] : tokens.offsets[i] + tokens.n_asked[i]].tolist()
        expected: list[int] = []
        while len(expected) < MOVE.n_decoded:
            with torch.no_grad():
                token = int(whole(torch.tensor([ids + expected])).logits[0, -1].argmax())
            if token == model.tokenizer.eos_token_id:
                break
            expected.append(token)
        assert said[i].tolist() == expected + [-1] * (MOVE.n_decoded - len(expected))


def test_what_is_decoded_does_not_depend_on_the_answer_that_is_shown(model: Classifier) -> None:
    one = predict_tokens(
        Forward(MOVE, model, encoded(rows_of(["a " * 40 + "3 ="] * 2, ["4", "1 2 3 4 5 6"]), model)), Silent()
    )
    assert one[0].tolist() == one[1].tolist()


def test_a_long_prompt_loses_its_beginning_and_an_answer_nothing(model: Classifier) -> None:
    tokens = encoded(rows_of(["1 " * 50 + "2 =", "1 " * 50 + "2 ="], ["34", "5"]), model)
    assert tokens.n_asked.tolist() == [LENGTH - MOVE.n_decoded] * 2
    assert tokens.n_truncated == 2
    assert model.tokenizer.decode(tokens.ids).split()[-4:] == ["2", "=", "5", "<eos>"]


def test_an_answer_that_does_not_end_loses_its_own_end(model: Classifier) -> None:
    tokens = encoded(rows_of(["1 ="], ["1 " * 20]), model)
    assert len(tokens.ids) == tokens.n_asked[0] + MOVE.n_decoded
    assert tokens.n_truncated == 1


def test_a_model_that_has_no_room_for_answers_is_refused(model: Classifier) -> None:
    model.max_length = MOVE.n_decoded
    with pytest.raises(DataError, match="raise the model's max_length to 13 or more"):
        encoded(rows_of(["1 ="], ["2"]), model)


def test_a_language_model_is_saved_and_loaded_with_its_head(model: Classifier, tmp_path: Path) -> None:
    tokens = encoded(sums(3), model)
    with torch.no_grad():
        before = MOVE.logits(model, tokens, np.arange(3))
        save(model, tmp_path / "saved")
        torch.testing.assert_close(MOVE.logits(load(tmp_path / "saved"), tokens, np.arange(3)), before)


def test_answers_are_right_or_the_same_in_normal_form() -> None:
    rows = rows_of(["6 + 6 ="] * 4, ["12"] * 4)
    said = ANSWERS.said(np.zeros((4, 0)), rows, _Says([" 1 2", "012 apples\nand more", "-12", "none"]))
    assert said.tolist() == ["12", "12", "-12", "none"]
    assert ANSWERS.is_right(said, rows).tolist() == [True, True, False, False]
    assert ANSWERS.are_same(said, said[[1, 0, 3, 3]]).tolist() == [True, True, False, True]


class _Says:
    def __init__(self, said: list[str]) -> None:
        self._said = said

    def batch_decode(self, ids: list[list[int]], *, skip_special_tokens: bool) -> list[str]:
        return self._said


def test_a_student_is_trained_on_the_texts_of_its_labels() -> None:
    lesson = ANSWERS.lesson(rows_of(["1 =", "2 ="], ["2", "3"]), np.array(["7", "none"], object))
    [shown] = lesson.rows.shown()
    assert shown["answer"] == ["7", "none"]
    assert lesson.targets.tolist() == [[1.0], [1.0]]


def test_prompts_that_come_again_are_audited() -> None:
    def row(prompt: str, answer: str) -> Row:
        return Row("", "", (prompt, answer, ""), 0, "")

    rows = [row("a", "1"), row("a", "2"), row("b", "1"), row("c", "1")]
    found = {check.check: check.value for check in LEAKS.get("move")(rows)}
    assert found["prompts.again"] == 0.25
    assert found["prompts.differ"] == 0.5
    assert found["answers.commonest"] == 0.75


def written(path: Path, rows: Rows) -> Path:
    [shown] = rows.shown()
    pq.write_table(pa.table({"id": rows.ids, "group": rows.ids, **shown, "gt_label": rows.gt_labels}), path)
    return path


def test_a_supervisor_labels_in_texts_and_its_student_learns_them(folder: Path, tmp_path: Path) -> None:
    paths = {split: written(tmp_path / f"{split}.parquet", sums(96, seed, 0)) for seed, split in enumerate(LABELLED)}
    training = {**ASKED, "model": model_params(max_length=LENGTH, lr=2e-2), "training": training_params(epochs=5)}
    training |= {"loss": LOSSES.get("xent").params().model_dump(), "seed": 0, "stop": [{"rule": "final"}]}
    inputs = {"base": folder, "train": paths["transfer_train"], "validation": paths["validation"]}

    def run(name: str, entry: Any, params: dict[str, Any], inputs: dict[str, Path]) -> dict[str, Any]:
        (tmp_path / name).mkdir()
        return entry(params, inputs, tmp_path / name, Silent())

    of_gt = run("gt", train_gt, training, inputs)
    labelled = run("labels", weak_labels, ASKED, {"model": tmp_path / "gt" / "model", **paths})
    given = {f"{name}labels": tmp_path / "labels" / f"{split}.parquet"
             for name, split in (("", "transfer_train"), ("validation_", "validation"))}  # fmt: skip
    of_w2s = run("w2s", train_w2s, training, {**inputs, **given})
    scored = run("score", score, ASKED, {"model": tmp_path / "w2s" / "model", "test": paths["test"]})

    assert of_gt["train_label_accuracy"] == 1
    assert labelled["accuracy_test"] > 0.5
    assert of_w2s["train_label_accuracy"] == labelled["accuracy_transfer_train"]
    table = pq.read_table(tmp_path / "score" / "predictions.parquet")
    assert table.column_names == ["id", "group", "answer", "right"]
    assert scored == {"n": 96, "accuracy": np.mean(table["right"].to_pylist())}
    assert len(read_answers(tmp_path / "labels" / "test.parquet", sums(96).ids)) == 96

    shown = {"base": folder, **paths, "train": paths["transfer_train"], "labels": given["labels"]}
    asked = {**ASKED, "seed": 0, "model": {"n_layers": None, "max_length": LENGTH, "hub": None}}
    few = run("few", prompt, {**asked, "prompt": {"k": 2, "draws": 3}}, shown)
    assert few["n_draws"] == 3
    assert 0 <= few["accuracy_test"] <= 1
