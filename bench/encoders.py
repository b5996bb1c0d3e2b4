"""Weak-to-strong on real rows and real encoders: an untrained model, and encoders of 17M, 23M and 110M parameters.

Each loss with soft, hardened and calibrated labels, a probe, and early stopping. Writes a grid beside the home and runs
it; killed and started again, it goes on.

Run: python bench/encoders.py ROWS MODELS [--datasets A,B] [--seeds 0,1] [--n-train 4000] [--without encoder-110m]
where ROWS holds <dataset>/{train,test}.parquet in the Hub's columns, and MODELS is what bench/weights.py made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

GRID = """
name = "encoders"
datasets = {datasets}
source = {source}
seeds = {seeds}
pairs = {pairs}
methods = [
    "xent", "logconf",
    {{ name = "xent-hard", loss = "xent", labels = [{{ kind = "harden", at = "median" }}] }},
    {{ name = "logconf-hard", loss = "logconf", labels = [{{ kind = "harden", at = "median" }}] }},
    {{ name = "xent-calibrated", loss = "xent", labels = ["calibrate"] }},
    {{ name = "logconf-calibrated", loss = "logconf", labels = ["calibrate"] }},
    "probe", "val_weak",
]

[data]
n_train = {n_train}
n_validation = 200
n_test = 1000
allow_fewer = true

[training]
epochs = 2
warmup_frac = 0.1

[[models]]
name = "untrained"
path = "{models}/encoder-23m"
init = "random"
size = {{ n_layers = 2, width = 64, n_heads = 2 }}
lr = 1e-3
max_length = 128
"""

ENCODER = """
[[models]]
name = "{name}"
path = "{models}/{name}"
lr = {lr}
max_length = 128
"""

LADDER = {"encoder-17m": 2e-4, "encoder-23m": 1e-4, "encoder-110m": 3e-5}
"""Name to learning rate."""


def main() -> int:
    """Write the grid, and run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("--datasets", default="sst2,amazon_polarity,boolq,sciq,piqa")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--n-train", type=int, default=4000, help="rows of both halves together")
    parser.add_argument("--without", default="", help="encoders to leave out, with commas")
    given = parser.parse_args()
    names = [name for name in LADDER if name not in given.without.split(",")]
    models = given.models.absolute()
    grid = Path("encoders.toml")
    grid.write_text(
        GRID.format(
            datasets=given.datasets.split(","),
            source=repr(str(given.rows.absolute())),
            seeds=[int(seed) for seed in given.seeds.split(",")],
            pairs=[[weak, names[-1]] for weak in ("untrained", *names[:-1])],
            n_train=given.n_train,
            models=models,
        )
        + "".join(ENCODER.format(name=name, models=models, lr=LADDER[name]) for name in names)
    )
    return subprocess.call([Path(sys.executable).with_name("w2s"), "run", str(grid)])


if __name__ == "__main__":
    sys.exit(main())
