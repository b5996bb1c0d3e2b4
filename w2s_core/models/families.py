"""What families of transformers cannot do, where a model's ``config.json`` tells it, before anything is built.

Light: a plan reads it. What else a model cannot do is found, and said likewise, when ``classifier`` builds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from w2s_core.config import ModelConfig
from w2s_core.errors import DataError

CANNOT = {
    "lora": ("takes no adapters", "leave lora out"),
    "n_layers": ("cannot be cut", "leave n_layers out"),
    "init": ("cannot be built at another size", "set init to pretrained"),
    "precision": ("cannot compute in bf16", "set precision to fp32"),
    "head": ("has no LM head that is one linear layer", "set head to zeros or small"),
}
"""Field of a model to what a family says of it, and what works instead."""

UNABLE = {
    "lora": {"ibert", "mamba", "mamba2", "squeezebert"},
    "n_layers": {"funnel", "mamba2", "rwkv"},
    "init": {"funnel", "mamba2", "rwkv"},
    "precision": {"deberta"},
    "head": {
        "albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert",
        "electra", "ernie", "esm", "fnet", "funnel", "ibert", "layoutlm", "longformer", "mamba2", "megatron-bert",
        "mobilebert", "modernbert", "mpnet", "nystromformer", "rembert", "roberta", "roberta-prelayernorm", "roformer",
        "rwkv", "squeezebert", "xlm-roberta", "yoso",
    },
}  # fmt: skip
"""Field of `CANNOT` to the families, tried with transformers 5.23 and peft 0.21 by ``tests/families.py``."""

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""What configurations call the number of layers."""


def check_family(model: ModelConfig, file: Path) -> None:
    """Refuse what the family of a model cannot do.

    Args:
        model: what is asked of it.
        file: its ``config.json``.

    Raises:
        DataError: a field that cannot be had, and what works instead; or the file is no configuration.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read ({error})") from None
    if not isinstance(config, dict):
        raise DataError(f"{file} is no configuration of a model")
    if config.get("is_encoder_decoder") is True:
        raise DataError(f"a {config.get('model_type')} is an encoder-decoder; use a causal LM or an encoder")
    of_text = config.get("text_config")
    config = of_text if isinstance(of_text, dict) else config
    _check_fields(model, config)


def _check_fields(model: ModelConfig, config: Mapping[str, Any]) -> None:
    family, n_layers = config.get("model_type"), next((config[name] for name in LAYERS if name in config), None)
    wanted = {
        "lora": model.lora is not None,
        "n_layers": model.n_layers is not None,
        "init": model.init == "random",
        "precision": model.precision == "bf16",
        "head": model.head in ("unembed_rows", "lm_head_tokens"),
    }
    for field, (what, instead) in CANNOT.items():
        if wanted[field] and str(family) in UNABLE[field]:
            raise DataError(f"{field}: a {family} {what}; {instead}")
    if model.n_layers is not None and isinstance(n_layers, int) and model.n_layers > n_layers:
        raise DataError(f"n_layers = {model.n_layers}, but the model has {n_layers} layers")
