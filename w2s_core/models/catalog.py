"""Models that a grid can name, and ladders of them from weakest to strongest. Names and numbers only."""

from __future__ import annotations

from w2s_core.config import ImagePretrainConfig, ModelConfig, PretrainConfig, SizeConfig

LONGEST_POSITION = 104
"""Tokens of a position, letter by letter, and of the longest answer."""


def _offline(name: str, shape: tuple[int, int, int], n_words: int | None, n_tokens: int, lr: float) -> ModelConfig:
    n_layers, width, n_heads = shape
    size = SizeConfig(n_layers=n_layers, width=width, n_heads=n_heads)
    pretrain = PretrainConfig(size=size, n_words=n_words, n_tokens=n_tokens)
    return ModelConfig(name=name, pretrain=pretrain, lr=lr, max_length=pretrain.sequence_length)


def _chess(name: str, shape: tuple[int, int, int], n_tokens: int, lr: float) -> ModelConfig:
    n_layers, width, n_heads = shape
    size = SizeConfig(n_layers=n_layers, width=width, n_heads=n_heads)
    pretrain = PretrainConfig(
        corpus="positions", size=size, n_tokens=n_tokens, lr=2e-3, batch_size=32, sequence_length=LONGEST_POSITION
    )
    return ModelConfig(name=name, pretrain=pretrain, lr=lr, max_length=pretrain.sequence_length)


def _images(name: str, widths: tuple[int, ...], depths: tuple[int, ...], n_steps: int, lr: float) -> ModelConfig:
    made = ImagePretrainConfig(widths=widths, depths=depths, n_steps=n_steps)
    return ModelConfig(name=name, pretrain_images=made, lr=lr)


def _hub(name: str, path: str, lr: float, *, bf16: bool = False, max_length: int = 512) -> ModelConfig:
    return ModelConfig(name=name, path=path, lr=lr, precision="bf16" if bf16 else "fp32", max_length=max_length)


MODELS: dict[str, ModelConfig] = {
    model.name: model
    for model in (
        # A smaller model knows fewer of the rare words.
        _offline("offline-xs", (2, 16, 2), 120, 1_300_000, lr=2e-3),
        _offline("offline-s", (2, 24, 2), 300, 1_300_000, lr=2e-3),
        _offline("offline-m", (2, 32, 2), 720, 1_000_000, lr=2e-3),
        _offline("offline-l", (2, 64, 4), None, 1_000_000, lr=1.5e-3),
        # Of boards and moves.
        _chess("chess-s", (2, 32, 2), 4_000_000, lr=1e-3),
        _chess("chess-m", (3, 64, 4), 8_000_000, lr=1e-3),
        _chess("chess-l", (4, 128, 4), 16_000_000, lr=5e-4),
        # The first knows nothing before it is finetuned, the second what it saw without labels.
        _images("offline-convnet", (8, 16), (1, 1), 0, lr=1e-2),
        _images("offline-convnext", (32, 64), (1, 2), 300, lr=3e-3),
        # Learning rates of openai/weak-to-strong, for batches of 32.
        _hub("gpt2", "openai-community/gpt2", 5e-5),
        _hub("gpt2-medium", "openai-community/gpt2-medium", 5e-5),
        _hub("gpt2-large", "openai-community/gpt2-large", 1e-5),
        _hub("gpt2-xl", "openai-community/gpt2-xl", 1e-5),
        _hub("pythia-160m", "EleutherAI/pythia-160m", 3e-5),
        _hub("pythia-410m", "EleutherAI/pythia-410m", 2e-5),
        _hub("pythia-1b", "EleutherAI/pythia-1b", 1e-5),
        _hub("pythia-1.4b", "EleutherAI/pythia-1.4b", 1e-5),
        _hub("pythia-2.8b", "EleutherAI/pythia-2.8b", 1e-5, bf16=True),
        _hub("qwen3-0.6b", "Qwen/Qwen3-0.6B-Base", 1e-5, bf16=True),
        _hub("qwen3-1.7b", "Qwen/Qwen3-1.7B-Base", 1e-5, bf16=True),
        _hub("qwen3-4b", "Qwen/Qwen3-4B-Base", 5e-6, bf16=True),
    )
}

LADDERS: dict[str, tuple[str, ...]] = {
    "offline": ("offline-xs", "offline-s", "offline-m", "offline-l"),
    "offline-chess": ("chess-s", "chess-m", "chess-l"),
    "offline-images": ("offline-convnet", "offline-convnext"),
    "gpt2": ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"),
    "pythia": ("pythia-160m", "pythia-410m", "pythia-1b", "pythia-1.4b", "pythia-2.8b"),
    "qwen": ("qwen3-0.6b", "qwen3-1.7b", "qwen3-4b"),
}
"""Weakest first."""
