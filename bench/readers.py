"""At most how much memory reading a folder takes at 10,000 and at 1,000,000 rows, for each format; one line for each.

Made tweets, in the columns of Twitter sentiment, in a temporary folder. Every reading is a process of its own, which
looks at all rows and keeps none. Of a file that is mapped, pages that were looked at count as memory as long as nobody
else needs it; what cannot be taken back is told apart.
Run: python bench/readers.py [FORMATS]
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from w2s_core.data.datasets import DATASETS
from w2s_core.data.layouts import folder_files
from w2s_core.data.sources import SOURCES

DATASET = "twitter_sentiment"
SCHEMA = pa.schema({"text": pa.string(), "label": pa.int64()})
SIZES = (10_000, 1_000_000)
FORMATS = (".csv", ".jsonl", ".jsonl.gz", ".parquet", ".parquet whole", ".arrow", ".arrow whole", "save_to_disk")
"""Parquet and Arrow have 10,000 rows together, or all."""


class Measured(NamedTuple):
    """A reading."""

    seconds: float
    megabytes: float
    """The most that was resident."""
    own: float
    """Of what is resident at the end, that of no file."""


def rows(seed: str, n: int) -> Iterator[dict[str, object]]:
    """``n`` tweets of 5 to 20 words; one in two is positive."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]
    for i in range(n):
        yield {"text": " ".join([f"@{i}", *rng.choices(words, k=rng.randint(5, 20))]), "label": i % 2}


def write(split: Path, format: str, n: int) -> None:
    """``n`` rows in a format of `FORMATS`; ``split`` is a path without suffix."""
    suffix, _, whole = format.partition(" ")
    made, path = rows(split.name, n), split.with_name(split.name + suffix)
    if suffix == "save_to_disk":
        import datasets

        datasets.disable_progress_bars()
        with tempfile.TemporaryDirectory() as cache:
            from_rows = datasets.Dataset.from_generator(rows, gen_kwargs={"seed": split.name, "n": n}, cache_dir=cache)
            from_rows.save_to_disk(split)
    elif suffix in (".parquet", ".arrow"):
        batches = iter(lambda: list(itertools.islice(made, n if whole else 10_000)), [])
        with pq.ParquetWriter(path, SCHEMA) if suffix == ".parquet" else pa.ipc.new_stream(path, SCHEMA) as writer:
            for batch in batches:
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=SCHEMA))
    elif suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, SCHEMA.names)
            table.writeheader()
            table.writerows(made)
    else:
        with gzip.open(path, "wt") if suffix.endswith(".gz") else path.open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in made)


def measure(folder: Path) -> Measured:
    """Read all rows in this process."""
    inputs = folder_files(folder, DATASET)
    clock = time.perf_counter()
    read = SOURCES.get("folder")({"source": {"kind": "folder"}}, inputs, DATASETS.get(DATASET).columns, print)
    for split in read.values():
        deque(split, maxlen=0)
    seconds = time.perf_counter() - clock
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak, own = (int(status[name].split()[0]) / 1024 for name in ("VmHWM", "RssAnon"))
    return Measured(seconds, peak, own)


def main(formats: list[str]) -> None:
    """Write, read, print."""
    for format in formats:
        told, spawn = [], multiprocessing.get_context("spawn")
        for n in SIZES:
            with (
                tempfile.TemporaryDirectory() as name,
                spawn.Pool(1, maxtasksperchild=1) as pool,
            ):
                place = Path(name) / DATASET
                place.mkdir()
                # Each in a process of its own, or the memory of the one that writes would count.
                for split, n_rows in (("train", n), ("test", 10)):
                    pool.apply(write, (place / split, format, n_rows))
                measured = pool.apply(measure, (Path(name),))
            told.append(f"{n:,} rows {measured.seconds:.1f} s, {measured.megabytes:.0f} MB ({measured.own:.0f} own)")
        print(f"{format}: {'; '.join(told)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(FORMATS))
