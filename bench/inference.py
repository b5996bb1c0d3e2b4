"""Weak labelling: this engine's ``predict`` against ``Trainer.predict``; the last line is the ratios.

Rows of mixed length: short and long ones of a folder together, or up to ten texts of the generated world in a row. One
process each, in turn; tokenizing counts, reading the model does not. ``Trainer`` twice: in the order of the rows, which
is what labels need, and with ``group_by_length``, after which nothing says which prediction is whose.

    python bench/inference.py [--rows 10000] [--data FOLDER]     FOLDER holds {sst2,boolq}/{train,test}.parquet
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from contenders import TRAINER, ForTrainer, Spec, features, warm_up
from rounds import Ratio, apart, in_turn, measured, say
from subjects import (
    BF16_PAYS,
    SUBJECTS,
    Subject,
    machine,
    make_rows,
    matrix_rates,
    model_params,
    peak_bytes,
    told_rates,
)
from transformers import logging

from w2s_core.data.rows import Rows, read_rows
from w2s_core.data.tokens import tokenize
from w2s_core.models.classifier import Classifier, build
from w2s_core.models.pretrained import read_tokenizer
from w2s_core.settings.setting import SETTINGS
from w2s_core.training.predict import predict
from w2s_core.watch import Silent

BATCH_SIZE = 32
"""Of Trainer."""
Results = dict[str, list[dict[str, Any]]]
"""Contender to what was measured in each round."""

MAX_TEXTS = 10
"""Of the generated world in one row."""


def of_engine(spec: Spec, rows: Rows) -> tuple[float, np.ndarray]:
    """``predict`` as the stage ``weak_labels`` calls it; seconds and [N] P(class 1)."""
    classifier = classifier_of(spec)
    start = time.perf_counter()
    probs = predict(SETTINGS.get("classify"), classifier, rows, Silent(device=spec.device))[:, 1]
    return time.perf_counter() - start, probs


def of_trainer(spec: Spec, rows: Rows) -> tuple[float, np.ndarray]:
    """``Trainer.predict``; seconds and [N] P(class 1), if grouped in an order that it keeps to itself."""
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    model = ForTrainer(spec, head="small").to(spec.device)
    warm_up(model.classifier, spec.device)
    strategy = "group_by_length" if spec.contender == "trainer-grouped" else "random"
    settings = TRAINER | {"train_sampling_strategy": strategy, "per_device_eval_batch_size": BATCH_SIZE}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, bf16=spec.precision == "bf16", use_cpu=spec.device == "cpu",
            dataloader_pin_memory=spec.device == "cuda", **settings,
        )  # fmt: skip
        start = time.perf_counter()
        trainer = Trainer(model, arguments, DataCollatorWithPadding(model.tokenizer), processing_class=model.tokenizer)
        logits = trainer.predict(features(rows, model.tokenizer, spec.subject.max_length)).predictions
    return time.perf_counter() - start, torch.from_numpy(logits).double().softmax(-1)[:, 1].numpy()


RUNS = {"engine": of_engine, "trainer": of_trainer, "trainer-grouped": of_trainer}
NAMES = {"trainer-grouped": "Trainer.predict grouped by length", "trainer": "Trainer.predict ungrouped"}


def classifier_of(spec: Spec) -> Classifier:
    """The model with a head that tells rows apart."""
    params = model_params(spec.subject, spec.base, precision=spec.precision, head="small")
    classifier = build(params, spec.base, spec.seed).to(spec.device).eval()
    warm_up(classifier, spec.device)
    return classifier


def make_mixed_rows(folder: Path, subject: Subject, n_rows: int, data: Path | None) -> Path:
    """The file of ``n_rows`` rows, or of as many as the folder ``data`` has."""
    parts = []
    for dataset in ("sst2", "boolq") if data else ("sst2",):
        (folder / dataset).mkdir(parents=True)
        one = dataclasses.replace(
            subject, dataset=dataset, n_train=n_rows // 2 if data else n_rows, n_validation=2, n_joined=1
        )
        make_rows(folder / dataset, one, data)
        names = ("weak_train", "transfer_train") if data else ("weak_train",)
        parts += [pq.read_table(folder / dataset / f"{name}.parquet") for name in names]
    table = pa.concat_tables(parts)
    rng = np.random.default_rng(0)
    if not data:
        texts = np.array(table["passage"].to_pylist(), dtype=object)
        joined = [" ".join(rng.choice(texts, size=rng.integers(1, MAX_TEXTS + 1))) for _ in texts]
        table = table.set_column(table.schema.get_field_index("passage"), "passage", pa.array(joined))
    path = folder / "rows.parquet"
    pq.write_table(table.take(rng.permutation(len(table))[:n_rows]), path)
    return path


def main() -> None:
    """Read the command line, run every contender in a process of its own, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--subject", default="encoder-long", choices=SUBJECTS, metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--data", type=Path, help="folder of real rows; default: rows of the generated world")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    args = parser.parse_args()
    logging.disable_progress_bar()
    rates = matrix_rates(args.device)
    print(f"{machine(args.device)}; {told_rates(rates)}")
    with tempfile.TemporaryDirectory() as name:
        runs = measure(
            SUBJECTS[args.subject], Path(name), args.rows, rates, range(args.repeats), args.device, args.data
        )
    print(table(args.subject, runs))
    if args.json:
        about = {"machine": machine(args.device), "args": {k: str(v) for k, v in vars(args).items()}}
        short = {c: [{k: v for k, v in run.items() if k != "probs"} for run in found] for c, found in runs.items()}
        args.json.write_text(json.dumps({**about, "runs": short}, indent=1) + "\n")
    print(f"rows/s of this engine: {ratios(runs)}")


def measure(
    subject: Subject,
    folder: Path,
    n_rows: int,
    rates: dict[str, float],
    numbers: Iterable[int],
    device: str,
    data: Path | None = None,
) -> Results:
    """Let every contender predict the same rows in every round, in a new folder."""
    precision = "bf16" if rates["bf16"] > BF16_PAYS * rates["fp32"] else "fp32"
    (folder / "model").mkdir(parents=True)
    base = subject.make(folder / "model")
    rows = make_mixed_rows(folder, subject, n_rows, data)
    about = {"subject": subject.name, "precision": precision, "device": device, "base": str(base), "rows": str(rows)}
    runs: Results = {name: [] for name in RUNS}
    for n in numbers:
        for contender in in_turn(list(RUNS), n):
            found = measured(apart("inference.py", "--run", json.dumps({"contender": contender, **about})))
            say(f"prediction of {subject.name}: {contender}: {found['seconds']:.1f} s")
            runs[contender].append({**found, "precision": precision})
    return runs


def table(name: str, runs: Results) -> str:
    """What was measured, medians of the rounds."""
    one = runs["engine"][0]
    lengths = f"{one['n_tokens'] / one['n_rows']:.0f} tokens each, from {one['shortest']} to {one['longest']}"
    lines = [f"prediction of {name} in {one['precision']}: {one['n_rows']} rows, {lengths}"]
    for contender, found in runs.items():
        seconds = statistics.median(run["seconds"] for run in found)
        speed = f"{one['n_rows'] / seconds:8.1f} rows/s {one['n_tokens'] / seconds:10,.0f} tokens/s"
        lines.append(f"{contender:16}{speed} {found[0]['peak_bytes'] / 1e6:8,.0f} MB at most")
    alike = np.corrcoef(one["probs"], runs["trainer"][0]["probs"])[0, 1]
    return "\n".join([*lines, f"probabilities of engine and trainer, row by row: correlation {alike:.5f}"])


def ratios(runs: Results) -> str:
    """Of this engine to each of the others."""
    seconds = {contender: [run["seconds"] for run in found] for contender, found in runs.items()}
    return ", ".join(Ratio.of(seconds["engine"], seconds[c]).against(name) for c, name in NAMES.items())


def run(given: dict[str, str]) -> None:
    """Label all rows; the last line of stdout is what was measured, as JSON."""
    paths = {name: Path(given[name]) for name in ("base", "rows")}
    same = {"subject": SUBJECTS[given["subject"]], "seed": 0, "epochs": 0, "batch_size": BATCH_SIZE}
    spec = Spec(**given | paths | same)
    rows = read_rows(spec.rows)
    seconds, probs = RUNS[spec.contender](spec, rows)
    peak = peak_bytes(spec.device)
    tokenizer = read_tokenizer(str(spec.base), None)
    lengths = tokenize(rows, tokenizer, spec.subject.max_length, Path(tempfile.gettempdir())).lengths
    about = {"n_rows": len(rows), "n_tokens": int(lengths.sum()), "shortest": int(lengths.min())}
    measured = {"seconds": seconds, "peak_bytes": peak, "probs": probs.tolist()}
    print(json.dumps({**about, "longest": int(lengths.max()), **measured}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(json.loads(sys.argv[2]))
    else:
        main()
