"""Classifiers on the image models of transformers: build, save, load.

They offer what ``classifier.Classifier`` does, so that all that trains or asks one trains or asks the other; how images
become pixels is in ``w2s_core.data.images``. Letters: B images of H × W pixels, T positions, D hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel
from transformers.image_processing_utils import BaseImageProcessor

from w2s_core.errors import DataError
from w2s_core.models.architecture import fuse_activations, keep_layers, resize
from w2s_core.models.classifier import Classifier, with_lora
from w2s_core.models.heads import load_head, make_head, save_head
from w2s_core.models.packing import on_device
from w2s_core.models.pretrained import able, isolated, read_backbone, readable

NORMS = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
"""Layers whose statistics of a batch would make the logits of an image depend on the others, and on how it is cut."""


class ImageClassifier(Classifier):
    """A backbone, a linear head in float32, and the processor that makes pixels of images."""

    def __init__(
        self, backbone: nn.Module, head: nn.Linear, processor: BaseImageProcessor, *, pooling: str, precision: str
    ) -> None:
        nn.Module.__init__(self)
        self.backbone = backbone
        self.head = head
        self.processor = processor
        self.pooling = pooling
        self.precision = precision
        scale = processor.rescale_factor if processor.do_rescale else 1.0
        mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0] * 3, [1.0] * 3)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1) / scale, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1) / scale, persistent=False)

    tokenizer = None
    """It reads no texts."""

    def forward(self, pixels: Tensor) -> Tensor:
        """The head's outputs [B, K] float32 of [B, 3, H, W] uint8, which are scaled and normalised first."""
        values = (on_device(pixels, self.device).float() - self.mean) / self.std
        with self._autocast():
            output = self.backbone(pixel_values=values)
            pooled = _pooled(output, self.pooling)
        return self.head(pooled.float())

    @property
    def attention(self) -> str:
        """The attention kernel in use, where there is any."""
        return getattr(self.backbone.config, "_attn_implementation", None) or "none"

    @property
    def is_packed(self) -> bool:
        """All images are of one size, and a pass costs what they cost."""
        return True

    def use_attention_for(self, n_tokens: int) -> None:
        """There is nothing to choose: all images are of one size."""

    def use_dropout(self, of_backbone: bool) -> None:
        """See ``Classifier``; statistics of batches stay those that the model came with."""
        super().use_dropout(of_backbone)
        for module in self.modules():
            if isinstance(module, NORMS):
                module.eval()


def _pooled(output: Any, pooling: str) -> Tensor:
    """[B, D]: the model's own pooling of a map [B, D, h, w]; of positions [B, T, D] the first or the mean."""
    hidden = output.last_hidden_state
    if hidden.ndim == 4:
        pooled = getattr(output, "pooler_output", None)
        return hidden.mean((2, 3)) if pooled is None else pooled.flatten(1)
    return hidden[:, 0] if pooling == "first" else hidden.mean(1)


def build(model: Mapping[str, Any], base: Path | None, seed: int, n_outputs: int) -> ImageClassifier:
    """A classifier ready to be finetuned, in float32, on the CPU; arguments as of ``classifier.build``.

    Raises:
        DataError: configuration, weights or image processor cannot be read, or do not fit ``model``.
    """
    name, revision = (str(base), None) if base else (model["hub"]["id"], model["hub"]["revision"])
    if base and not base.is_dir():
        raise DataError(f"{base}: no such folder; give a model's folder or Hub id")
    if model["head"] not in ("zeros", "small"):
        raise DataError(f"{name}: head: {model['head']} is of language models; set the model's head to zeros or small")
    with isolated():
        torch.manual_seed(seed)
        with readable(name, "configuration"):
            config = AutoConfig.from_pretrained(name, revision=revision)
        family = config.model_type
        fuse_activations(config)
        if model["n_layers"] is not None:
            with able(name, f"n_layers: a {family} cannot be cut", "leave n_layers out"):
                keep_layers(name, config, model["n_layers"])
        if model["init"] == "random":
            size = dict(model["size"])
            with able(name, f"init: a {family} cannot be built at size {size}", "set init to pretrained"):
                resize(config, size)
                backbone = AutoModel.from_config(config, dtype=torch.float32)
        else:
            backbone = read_backbone(name, revision, config)
        processor = read_processor(name, revision)
        pooling = model["pooling"]
        if pooling == "auto":
            has_class_token = any(part.endswith("cls_token") for part, _ in backbone.named_parameters())
            pooling = "first" if has_class_token else "mean"
        probe = ImageClassifier(backbone, nn.Identity(), processor, pooling=pooling, precision="fp32").eval()
        with able(name, f"a {family} makes nothing of an image", "choose an image model, such as a ViT or a ConvNext"):
            pixels = torch.zeros(1, 3, *_size(processor), dtype=torch.uint8)
            with torch.no_grad():
                hidden = _pooled(backbone(pixel_values=(pixels.float() - probe.mean) / probe.std), pooling)
            width = hidden.shape[-1]
        head = make_head(model["head"], width, name, revision, config, None, n_outputs)
        if model["lora"]:
            with able(name, f"lora: a {family} takes no adapters", "leave lora out"):
                backbone = with_lora(backbone, model["lora"])
        return ImageClassifier(backbone, head, processor, pooling=pooling, precision=model["precision"])


def _size(processor: BaseImageProcessor) -> tuple[int, int]:
    """Height and width of what the processor makes, of an image that is square."""
    from PIL import Image

    made = processor(images=[Image.new("RGB", (64, 64))], return_tensors="np")["pixel_values"]
    height, width = made.shape[-2:]
    return int(height), int(width)


def read_processor(name: str, revision: str | None) -> BaseImageProcessor:
    """What makes pixels of images for a model; without torchvision, which is not needed.

    Raises:
        DataError: it cannot be read, or does more than resize, crop, scale and normalise.
    """
    with readable(name, "image processor (preprocessor_config.json)"):
        processor = AutoImageProcessor.from_pretrained(name, revision=revision, backend="pil")
    unknown = [step for step in ("rescale_offset", "do_pad", "do_flip_channel_order") if getattr(processor, step, None)]
    if unknown:
        raise DataError(f"{name}: its image processor asks for {unknown[0]}, which is not done here; choose another")
    return processor


def save(classifier: ImageClassifier, folder: Path) -> None:
    """Write a self-contained folder that ``load`` reads; adapters are merged into the weights, in place."""
    if hasattr(classifier.backbone, "merge_and_unload"):
        classifier.backbone = classifier.backbone.merge_and_unload()
    with isolated():
        classifier.backbone.save_pretrained(folder)
        classifier.processor.save_pretrained(folder)
    save_head(classifier.head, folder / "head.safetensors")
    about = {"pooling": classifier.pooling, "precision": classifier.precision}
    (folder / "classifier.json").write_text(json.dumps(about, indent=2) + "\n")


def load(folder: Path) -> ImageClassifier:
    """Read what ``save`` wrote, onto the CPU.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    with isolated():
        with readable(str(folder), "classifier"):
            about = json.loads((folder / "classifier.json").read_text())
            head = load_head(folder / "head.safetensors")
            config = AutoConfig.from_pretrained(folder)
        backbone = read_backbone(str(folder), None, config)
        return ImageClassifier(backbone, head, read_processor(str(folder), None), **about).eval()
