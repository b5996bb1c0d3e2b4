"""Peak memory of a training at 1,000 and at 100,000 rows; the last line is the figures.

Each training is a process of its own, the stage `train_gt` on a tiny model. Of the difference, the tokens (4 bytes
each, mapped from a file) are expected; the rest should stay below 5 %.
Run: python bench/memory.py
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flows.plan.grid import TrainingConfig
from w2s_core.config import ModelConfig, PretrainConfig, SizeConfig, WorldConfig
from w2s_core.offline.world import build_world, corpus

SIZES = (1_000, 100_000)
WORDS = 60
"""Per text."""
BATCH_SIZE = 500
PRETRAIN = PretrainConfig(size=SizeConfig(n_layers=1, width=16, n_heads=1), n_tokens=1_000, sequence_length=128)


def write_rows(path: Path, n_rows: int) -> None:
    """Texts of the world's words, as ``prepare`` writes them."""
    words = [word for document, _ in zip(corpus(build_world(WorldConfig()), 0), range(200), strict=False)
             for word in document.split()]  # fmt: skip
    rng = random.Random(0)
    columns = {
        "id": [f"train-{i:08}" for i in range(n_rows)],
        "group": [f"train-{i:08}" for i in range(n_rows)],
        "passage": [" ".join(rng.choices(words, k=WORDS)) for _ in range(n_rows)],
        "prompt": ["Positive?"] * n_rows,
        "gt_label": pa.array([i % 2 for i in range(n_rows)], pa.int8()),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def train(folder: Path, n_rows: int) -> None:
    """Train on so many rows, and print the peak of this process."""
    from w2s_core.entries.train import train_gt
    from w2s_core.stages import LAST
    from w2s_core.watch import Silent

    model = ModelConfig(name="tiny", path="tiny", lr=1e-3, max_length=128).model_dump()
    params = {
        "model": {**model, "hub": None},
        "training": TrainingConfig(epochs=1, batch_size=BATCH_SIZE).model_dump(),
        "loss": {"loss": "xent"},
        "setting": "classify",
        "stop": [LAST],
        "seed": 0,
    }
    inputs = {"base": folder / "model", "train": folder / f"{n_rows}.parquet", "validation": folder / "1000.parquet"}
    out = folder / f"out-{n_rows}"
    out.mkdir()
    n_steps = train_gt(params, inputs, out, Silent(micro_tokens=4_096, scratch=folder))["n_steps"]
    print(json.dumps({"peak": peak_bytes(), "n_steps": n_steps}))


def peak_bytes() -> int:
    """Peak resident memory of this process; what ``getrusage`` says may be that of its parent before ``exec``."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def n_tokens(folder: Path, n_rows: int) -> int:
    """Tokens of the training rows."""
    from transformers import AutoTokenizer

    from w2s_core.data.rows import read_rows
    from w2s_core.data.tokens import tokenize

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    return len(tokenize(read_rows(folder / f"{n_rows}.parquet"), tokenizer, 128, folder).ids)


def main() -> None:
    """Measure both sizes."""
    from w2s_core.entries.pretrain import pretrain
    from w2s_core.watch import Silent

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pretrain({**PRETRAIN.model_dump(), "world": WorldConfig().model_dump()}, {}, folder, Silent())
        for n_rows in SIZES:
            write_rows(folder / f"{n_rows}.parquet", n_rows)
        peaks = []
        for n_rows in SIZES:
            command = [sys.executable, __file__, name, str(n_rows)]
            path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **path})
            found = json.loads(done.stdout)
            peaks.append(found["peak"])
            print(f"{n_rows:,} rows, {found['n_steps']} steps: peak {found['peak'] / 1e6:.0f} MB")
        tokens = 4 * (n_tokens(folder, SIZES[1]) - n_tokens(folder, SIZES[0]))
        text = sum(len(p) for p in pq.read_table(folder / f"{SIZES[1]}.parquet")["passage"].to_pylist())
    more = peaks[1] - peaks[0]
    print(
        f"{more / 1e6:+.1f} MB, of which tokens {tokens / 1e6:.1f} MB (texts: {text / 1e6:.0f} MB); "
        f"the rest is {(more - tokens) / peaks[0]:+.1%} of {peaks[0] / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
