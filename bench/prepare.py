"""How long it takes to prepare made tweets from JSON Lines, and at most how much memory; one line for each size.

The rows have the columns of Twitter sentiment and stand in a temporary folder; each size has a process of its own.
Run: python bench/prepare.py
"""

from __future__ import annotations

import json
import multiprocessing
import random
import resource
import tempfile
import time
from pathlib import Path

from flows.plan.grid import DataConfig
from w2s_core.data.datasets import DATASETS
from w2s_core.entries.prepare import prepare
from w2s_core.watch import Silent

DATASET = "twitter_sentiment"
SIZES = (100_000, 1_600_000)
N_TEST = 10_000


def write(path: Path, n: int) -> None:
    """``n`` tweets of 5 to 20 words; one in two is positive."""
    rng = random.Random(path.stem)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]
    with path.open("w") as file:
        for i in range(n):
            text = " ".join([f"@{rng.choice(words)}{i}", *rng.choices(words, k=rng.randint(5, 20))])
            file.write(json.dumps({"text": text, "label": i % 2}) + "\n")


def measure(folder: Path) -> tuple[float, float]:
    """Seconds that the stage takes in this process, and the most megabytes that it held so far."""
    dataset = DATASETS.get(DATASET)
    data = DataConfig(max_chars=dataset.max_chars).model_dump()
    params = {
        "dataset": DATASET,
        "setting": dataset.setting,
        "source": {"kind": "folder"},
        "data_seed": 0,
        "data": data,
    }
    inputs = {split: folder / f"{split}.jsonl" for split in ("train", "test")}
    clock = time.perf_counter()
    prepare(params, inputs, folder, Silent())
    return time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Write, prepare, print, for each size."""
    for n in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder / "train.jsonl", n)
            write(folder / "test.jsonl", N_TEST)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, megabytes = pool.apply(measure, (folder,))
        print(f"{n} rows prepared: {seconds:.1f} s, {megabytes:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
