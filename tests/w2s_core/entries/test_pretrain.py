"""Pretraining a model of the offline ladder, at a size that takes a second."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from w2s_core.config import PretrainConfig, SizeConfig, WorldConfig
from w2s_core.entries.pretrain import pretrain
from w2s_core.errors import TrainingError
from w2s_core.offline.corpora import CORPORA
from w2s_core.offline.world import build_tokenizer, build_world, corpus
from w2s_core.watch import Checkpoint, Silent

WORLD = WorldConfig(n_words=64, n_classes=2)
CONFIG = PretrainConfig(
    size=SizeConfig(n_layers=1, width=8, n_heads=1),
    n_tokens=8_000,
    batch_size=8,
    sequence_length=16,
    lr=1e-2,
)


class Curve(Silent):
    """Keeps the losses."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def curve(self, rows: Any) -> None:
        self.losses += [row["loss"] for row in rows]


class Mortal(Silent):
    """Keeps a checkpoint of every step, and dies after one of them."""

    def __init__(self, die_after: int, kept: Checkpoint | None = None) -> None:
        super().__init__()
        self.checkpoints = self
        self.kept = kept
        self.steps: list[int] = []
        self._die_after = die_after

    def resume(self, choices: Mapping[str, Any]) -> Checkpoint | None:
        return self.kept

    def is_due(self) -> bool:
        return True

    def save(self, checkpoint: Checkpoint) -> None:
        # As on a disk.
        self.kept = checkpoint._replace(values=json.loads(json.dumps(checkpoint.values)))

    def progress(self, done: int, total: int, unit: str) -> None:
        self.steps.append(done)
        if done == self._die_after:
            raise KeyboardInterrupt


def run(folder: Path, watch: Silent | None = None, world: WorldConfig = WORLD, **changes: Any) -> dict[str, Any]:
    params = {**CONFIG.model_copy(update=changes).model_dump(), "world": world.model_dump()}
    return pretrain(params, {}, folder, watch or Silent())


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_killed_pretraining_goes_on_after_its_last_step_to_the_same_bytes(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    first = Mortal(die_after=7)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", first)
    second = Mortal(die_after=-1, kept=first.kept)

    assert run(tmp_path / "killed", second) == whole

    assert second.steps[0] == 8
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


@pytest.mark.parametrize("changes", [{"seed": 1}, {"world": WorldConfig(n_words=64, n_classes=2, seed=1)}])
def test_another_seed_gives_other_weights(tmp_path: Path, changes: dict[str, Any]) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b", **changes)
    assert weights(tmp_path / "a") != weights(tmp_path / "b")


def test_the_loss_falls(tmp_path: Path) -> None:
    watch = Curve()
    metrics = run(tmp_path, watch)
    assert metrics["loss"] < watch.losses[0] - 0.5


def test_random_numbers_of_the_process_are_left_alone(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    run(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_transformers_loads_the_model_and_its_tokenizer(tmp_path: Path) -> None:
    run(tmp_path)
    model = AutoModel.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokens = tokenizer(["Q: baba bade?", "bade"], padding=True, return_tensors="pt")
    assert model(**tokens).last_hidden_state.shape == (2, 5, 8)


def test_the_tokens_are_the_corpus_in_order() -> None:
    world = build_world(WORLD)
    tokenizer = build_tokenizer(world, None, 16)
    document = next(corpus(world, CONFIG.seed))
    batches, asks = CORPORA.get("words").lines(world, CONFIG, tokenizer)
    assert asks is None
    assert batches.shape == (62, 8, 16)
    assert tokenizer.decode(list(itertools.chain(*batches[0].tolist()))).startswith(document + " <eos>")


def test_a_diverging_loss_stops_with_step_and_learning_rate(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss nan at step \d+; lower lr \(now 1e\+30\)"):
        run(tmp_path, lr=1e30)
