"""Two-layer random models with a tokenizer of a dozen words, and rows whose label one word decides."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast

from flows.plan.grid import TrainingConfig
from w2s_core.config import ModelConfig
from w2s_core.data.rows import Rows
from w2s_core.methods.losses import LOSSES
from w2s_core.models.classifier import Classifier
from w2s_core.settings.setting import SETTINGS, VIEWS
from w2s_core.training.predict import predict
from w2s_core.watch import Watch

WORDS = ("zero", "good", "bad", "the", "a", "is", "one", "two", "three", "four", "?")
"""The first has token id 0."""
SPECIALS = ("[UNK]", "[CLS]", "[SEP]")

CLASSIFY = SETTINGS.get("classify")
VIEW = VIEWS.get("classify")

SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "bos_token_id": 0, "eos_token_id": 0},
    "bert": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "llama": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 2},
    "qwen2": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 2},
    "gpt_neox": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
}  # fmt: skip


LOSS_PARAMS: dict[str, dict[str, Any]] = {name: LOSSES.get(name).params().model_dump() for name in LOSSES}
"""The ``loss`` of a training's parameters, for every loss at its defaults."""

LOSS_CASES: dict[str, dict[str, Any]] = {
    **LOSS_PARAMS,
    "logconf match_prior": LOSS_PARAMS["logconf"] | {"threshold": "match_prior"},
    "logconf fixed": LOSS_PARAMS["logconf"] | {"threshold": "fixed", "schedule": "oai_step"},
    "logconf buffer": LOSS_PARAMS["logconf"] | {"threshold": "buffer", "buffer": 13},
    "entropy detached": LOSS_PARAMS["entropy"] | {"detached": True},
    "window midweak": LOSS_PARAMS["window"] | {"radius": "midweak"},
    "balanced and smoothed": LOSS_PARAMS["logconf"] | {"balance_batch": True, "smoothing": 0.1},
}
"""Besides, their other forms."""


def tiny_tokenizer(*, with_specials: bool = False) -> PreTrainedTokenizerFast:
    """Words to ids; with specials it frames a text in [CLS] and [SEP], as encoders do. It has no padding token."""
    vocabulary = {word: i for i, word in enumerate((*WORDS, *SPECIALS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"unk_token": "[UNK]"}
    if with_specials:
        ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
        tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
        names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def tiny_base(folder: Path, family: str = "gpt2", **changes: Any) -> Path:
    """A transformers folder of a random model, the same each time."""
    shutil.copytree(_made(family, json.dumps(changes)), folder, dirs_exist_ok=True)
    return folder


@cache
def _made(family: str, changes: str) -> Path:
    """Made once per process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    fields = SIZES[family] | json.loads(changes)
    config = AutoConfig.for_model(family, vocab_size=len(WORDS) + len(SPECIALS), **fields)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    tiny_tokenizer(with_specials=family == "bert").save_pretrained(folder)
    return folder


def tiny_chat(folder: Path) -> Path:
    """A transformers folder of a random language model with a chat template, the same each time."""
    config = AutoConfig.for_model(
        "gpt2", vocab_size=len(WORDS) + len(SPECIALS), **SIZES["gpt2"] | {"n_positions": 1_024}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = tokenizer.pad_token = WORDS[0]
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    return folder


def model_params(**changes: Any) -> dict[str, Any]:
    """The ``model`` of a training's parameters."""
    model = ModelConfig(name="tiny", path="tiny", lr=1e-2, max_length=32).model_dump()
    return {key: model[key] for key in model.keys() - {"name", "path", "revision", "pretrain"}} | {
        "hub": None,
        **changes,
    }


def training_params(**changes: Any) -> dict[str, Any]:
    """The ``training`` of a training's parameters."""
    return TrainingConfig(batch_size=8).model_dump() | changes


def toy_rows(n: int, seed: int = 0) -> Rows:
    """Passages of 1 to 12 words, one of them "good" (class 1) or "bad" (class 0), and a question."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 2).astype(np.int8)
    passages = []
    for label in labels:
        words = list(rng.choice(WORDS[3:], size=rng.integers(0, 12)))
        words.insert(rng.integers(0, len(words) + 1), "good" if label else "bad")
        passages.append(" ".join(words))
    return rows_of([f"row-{seed}-{i}" for i in range(n)], passages, ["is one ?"] * n, labels)


def prob_of_1(classifier: Classifier, rows: Rows, watch: Watch) -> np.ndarray:
    """P(class 1) of each row, [N]."""
    return predict(CLASSIFY, classifier, rows, watch)[:, 1]


def rows_of(ids: list[str], passages: list[str], prompts: list[str], gt_labels: np.ndarray | None = None) -> Rows:
    """Rows that are in no file."""
    labels = np.zeros(len(ids), np.int8) if gt_labels is None else gt_labels
    return Rows(ids, labels, lambda: iter([{"passage": passages, "prompt": prompts}]))


def write_rows(path: Path, rows: Rows) -> Path:
    """What ``prepare`` writes."""
    (shown,) = rows.shown()
    columns = {
        "id": rows.ids,
        "group": rows.ids,
        **shown,
        "gt_label": pa.array(rows.gt_labels, pa.int8()),
    }
    pq.write_table(pa.table(columns), path)
    return path
