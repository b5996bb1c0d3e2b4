"""The trainings that ``bench/train.py`` compares, each a process of its own: settings first, then how they are run.

Tokenizing counts, reading the model does not. Run by ``bench/train.py``: python bench/contenders.py SPEC
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from subjects import SUBJECTS, Subject, model_params, peak_bytes
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from flows.plan.grid import TrainingConfig
from w2s_core.data.rows import Rows, read_rows
from w2s_core.data.tokens import tokenize
from w2s_core.methods.losses import cross_entropy
from w2s_core.metrics import two_classes
from w2s_core.models.classifier import Classifier, build
from w2s_core.models.pretrained import read_tokenizer
from w2s_core.settings.setting import SETTINGS
from w2s_core.training.fit import Recipe, batches, fit, lr_factor
from w2s_core.training.predict import predict
from w2s_core.watch import Silent

MAX_GRAD_NORM = 1.0
"""For all, so that their loss curves can be compared; the published reference does not clip."""
LORA = {"rank": 8, "alpha": 16.0, "dropout": 0.0}

ENGINE = TrainingConfig(max_grad_norm=MAX_GRAD_NORM).model_dump()
"""Besides batches and epochs, which are the subject's for all. Everything else is what a grid does by default: AdamW
without weight decay, cosine schedule, no dropout."""

TRAINER = {
    "train_sampling_strategy": "group_by_length",
    "optim": "adamw_torch_fused",
    "lr_scheduler_type": "cosine",
    "weight_decay": 0.0,
    "max_grad_norm": MAX_GRAD_NORM,
    "eval_strategy": "no",
    "save_strategy": "no",
    "logging_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}
"""With a collator that pads to the longest of a batch, bf16 where the machine is faster in it, and PyTorch's SDPA; the
same classifier as for the others, without dropout."""

REFERENCE_MICRO_BATCH = 1
"""Of the plain loop, in the style of openai/weak-to-strong (weak_to_strong/train.py): the logits of a batch one example
at a time, one backward pass, default Adam, cosine schedule, float32, the model in eval mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One training."""

    contender: str
    subject: Subject
    precision: str
    device: str
    seed: int
    base: Path
    """The model's folder."""
    rows: Path
    """Folder with the rows."""
    epochs: int
    batch_size: int
    reference_steps: int | None = None
    """After which the reference stops: it is slow, and what it takes for an example hardly changes."""
    is_profiled: bool = False


@dataclass
class Losses(Silent):
    """A watch that keeps the losses."""

    losses: list[float] = field(default_factory=list)

    def curve(self, rows: Sequence[Any]) -> None:
        """Keep them."""
        self.losses += [row["loss"] for row in rows if "loss" in row]


def run_engine(spec: Spec, rows: Rows, validation: Rows) -> dict[str, Any]:
    """``fit`` as the stages call it."""
    changes = {"precision": spec.precision, "lora": LORA if spec.contender == "engine-lora" else None}
    classifier = build(model_params(spec.subject, spec.base, **changes), spec.base, spec.seed)
    warm_up(classifier.to(spec.device), spec.device)
    watch, result = Losses(device=spec.device), size(classifier.backbone)
    training = ENGINE | {"epochs": spec.epochs, "batch_size": spec.batch_size}
    with profiled(spec), timed(spec.device, result):
        fit(
            SETTINGS.get("classify"),
            classifier,
            rows,
            two_classes(rows.gt_labels.astype(float)),
            Recipe({"loss": "xent"}, training, spec.subject.lr, spec.seed),
            watch=watch,
        )
    return {**result, "losses": watch.losses, "accuracy": accuracy(classifier, validation, spec.device)}


def run_reference(spec: Spec, rows: Rows, validation: Rows) -> dict[str, Any]:
    """The plain loop."""
    subject, device = spec.subject, spec.device
    classifier = build(model_params(subject, spec.base, precision=spec.precision), spec.base, spec.seed)
    warm_up(classifier.to(device).eval(), device)
    losses, result = [], size(classifier.backbone)
    with timed(device, result):
        tokens = tokenize(rows, classifier.tokenizer, classifier.max_length, Path(tempfile.gettempdir()))
        targets = torch.from_numpy(two_classes(rows.gt_labels.astype(float))).to(device)
        optimizer = torch.optim.Adam(classifier.parameters(), lr=subject.lr)
        # The engine's batches, so that the losses can be compared step by step.
        epochs = [batches(len(tokens), spec.batch_size, (spec.seed, i)) for i in range(spec.epochs)]
        plan = [batch for epoch in epochs for batch in epoch]
        for step, batch in enumerate(plan[: spec.reference_steps]):
            for group in optimizer.param_groups:
                group["lr"] = subject.lr * lr_factor(step, len(plan), "cosine", 0.0)
            logits = []
            for start in range(0, len(batch), REFERENCE_MICRO_BATCH):
                ids, mask = tokens.padded(batch[start : start + REFERENCE_MICRO_BATCH], classifier.pad_id)
                logits.append(classifier(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)))
            loss = cross_entropy(torch.cat(logits), targets[torch.from_numpy(batch).to(device)])
            loss.backward()
            nn.utils.clip_grad_norm_(classifier.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    if len(losses) < len(plan):
        return {**result, "losses": losses, **work(tokens.lengths[np.concatenate(plan[: len(losses)])])}
    return {**result, "losses": losses, "accuracy": accuracy(classifier, validation, device)}


def run_trainer(spec: Spec, rows: Rows, validation: Rows) -> dict[str, Any]:
    """``transformers.Trainer``."""
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    class Recorded(Trainer):
        """A Trainer that keeps the losses."""

        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            result = super().compute_loss(*args, **kwargs)
            losses.append((result[0] if isinstance(result, tuple) else result).detach())
            return result

    model = ForTrainer(spec).to(spec.device)
    warm_up(model.classifier, spec.device)
    tokenizer = model.tokenizer
    losses: list[Tensor] = []
    result = size(model.classifier.backbone)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, seed=spec.seed, learning_rate=spec.subject.lr, num_train_epochs=spec.epochs,
            per_device_train_batch_size=spec.batch_size, per_device_eval_batch_size=spec.batch_size,
            bf16=spec.precision == "bf16", use_cpu=spec.device == "cpu", dataloader_pin_memory=spec.device == "cuda",
            **TRAINER,
        )  # fmt: skip
        with timed(spec.device, result):
            trainer = Recorded(
                model, arguments, DataCollatorWithPadding(tokenizer), processing_class=tokenizer,
                train_dataset=features(rows, tokenizer, spec.subject.max_length),
            )  # fmt: skip
            trainer.train()
        n_steps = len(losses)
        # With group_by_length they come in another order, and their labels too.
        answers = trainer.predict(features(validation, tokenizer, spec.subject.max_length))
    right = float(np.mean(answers.predictions.argmax(-1) == answers.label_ids))
    return {**result, "losses": [loss.item() for loss in losses[:n_steps]], "accuracy": right}


RUNS = {"engine": run_engine, "engine-lora": run_engine, "trainer": run_trainer, "reference": run_reference}


class ForTrainer(nn.Module):
    """The same classifier as the others train, as Trainer wants a model to be, without dropout."""

    def __init__(self, spec: Spec, **changes: Any) -> None:
        super().__init__()
        params = model_params(spec.subject, spec.base, precision=spec.precision, **changes)
        self.classifier = build(params, spec.base, spec.seed)
        self.tokenizer = self.classifier.tokenizer
        for module in self.classifier.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss and logits."""
        logits = self.classifier(input_ids, attention_mask)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def features(rows: Rows, tokenizer: Any, max_length: int) -> list[dict[str, Any]]:
    """Rows as Trainer takes them, of the same tokens as for the others."""
    tokens = tokenize(rows, tokenizer, max_length, Path(tempfile.gettempdir()))
    ids = np.split(tokens.ids, tokens.offsets[1:-1])
    return [{"input_ids": x.tolist(), "labels": label} for x, label in zip(ids, rows.gt_labels.tolist(), strict=True)]


def size(backbone: nn.Module) -> dict[str, int]:
    """What the work of a training follows from."""
    config = backbone.config
    embedded = {id(m.weight) for m in backbone.modules() if isinstance(m, nn.Embedding)}
    n_parameters = sum(p.numel() for p in backbone.parameters() if id(p) not in embedded)
    return {"n_parameters": n_parameters, "n_layers": config.num_hidden_layers, "width": config.hidden_size}


def work(lengths: np.ndarray) -> dict[str, int]:
    """What there was to do, from the tokens of each example, [N]; in every epoch anew."""
    return {"n_examples": len(lengths), "n_tokens": int(lengths.sum()), "n_token_pairs": int((lengths**2).sum())}


def warm_up(model: Classifier, device: str) -> None:
    """One short pass, so that nobody's time holds the loading of libraries."""
    ids = torch.ones(1, 8, dtype=torch.long, device=device)
    model(ids, torch.ones_like(ids)).sum().backward()
    model.zero_grad()


@contextmanager
def timed(device: str, result: dict[str, Any]) -> Iterator[None]:
    """Adds seconds, those of all cores together, and the peak memory at the end, of what runs inside."""
    start, cpu_start = time.perf_counter(), time.process_time()
    yield
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
    result |= {**seconds, "peak_bytes": peak_bytes(device)}


@contextmanager
def profiled(spec: Spec) -> Iterator[None]:
    """Prints the operators that take the most time, if that is asked for."""
    if not spec.is_profiled:
        yield
        return
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (spec.device == "cuda")
    with profile(activities=activities) as profiler:
        yield
    kind = "self_cuda_time_total" if spec.device == "cuda" else "self_cpu_time_total"
    print(profiler.key_averages().table(sort_by=kind, row_limit=25, max_name_column_width=50))


def accuracy(classifier: Classifier, rows: Rows, device: str) -> float:
    """Share of the rows that it gets right."""
    probs = predict(SETTINGS.get("classify"), classifier, rows, Silent(device=device))[:, 1]
    return float(np.mean((probs > 0.5) == rows.gt_labels))


def main() -> None:
    """Run one training; the last line of stdout is what was measured, as JSON."""
    given = json.loads(sys.argv[1])
    paths = {name: Path(given[name]) for name in ("base", "rows")}
    spec = Spec(**given | paths | {"subject": SUBJECTS[given["subject"]]})
    rows, validation = (read_rows(spec.rows / f"{name}.parquet") for name in ("weak_train", "validation"))
    tokens = tokenize(rows, read_tokenizer(str(spec.base), None), spec.subject.max_length, Path(tempfile.gettempdir()))
    print(json.dumps(work(np.tile(tokens.lengths, spec.epochs)) | RUNS[spec.contender](spec, rows, validation)))


if __name__ == "__main__":
    main()
