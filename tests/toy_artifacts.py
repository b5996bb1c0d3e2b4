"""Small artifacts and grid runs for tests of the store; weights are a few letters."""

from __future__ import annotations

import hashlib
from pathlib import Path

from artifacts.store.contract import Store
from artifacts.store.grid_runs import GridNode, GridRun
from artifacts.store.manifest import Manifest, Output

STAGE = "train_gt"
KEY = "a" * 64


def write_draft(draft: Path, weights: str = "weights") -> None:
    """What a stage would write."""
    (draft / "model").mkdir()
    (draft / "model" / "weights.bin").write_text(weights)
    (draft / "model" / "config.json").write_text("{}")
    (draft / "side").mkdir()
    (draft / "side" / "curve.txt").write_text(f"curve of {weights}")


def manifest(key: str = KEY, weights: str = "weights", node: str = "node") -> Manifest:
    """The manifest of what ``write_draft`` writes."""
    files = {"model/config.json": 2, "model/weights.bin": len(weights)}
    return Manifest(
        key=key,
        node=node,
        stage=STAGE,
        schema=1,
        params={"lr": 0.001, "model": {"n_layers": None}},
        labels={"dataset": "boolq", "model": "tiny", "seed": 0},
        inputs={"train": {"stage": "prepare", "key": "p", "output": "weak_train", "path": None, "digest": "d"}},
        code={"digest": "code", "parts": {"w2s_core.training.fit:fit": "0123456789abcdef"}},
        outputs={"model": Output(digest(weights), files)},
        side={"side/curve.txt": len(f"curve of {weights}")},
        metrics={"loss": 0.5},
        timings={"started": "2026-01-01T00:00:00+00:00", "seconds": 1.5},
        environment={"python": "3.11", "torch": "2.8"},
    )


def digest(weights: str) -> str:
    """Digest of the toy weights."""
    return hashlib.sha256(weights.encode()).hexdigest()


def publish(store: Store, key: str = KEY, weights: str = "weights", node: str = "node") -> Manifest:
    """Make and publish one artifact."""
    with store.draft(STAGE, key) as draft:
        write_draft(draft, weights)
        return store.publish(draft, manifest(key, weights, node))


def run_of(name: str = "demo", key: str | None = None, node: str = "node") -> GridRun:
    """A run of a grid with one node and one pair; another node is another definition."""
    pair = {"dataset": "boolq" if node == "node" else node, "weak": "s", "strong": "m", "method": "xent", "seed": 0}
    return GridRun(
        config={"name": name, "datasets": ("boolq",)},
        revisions={"org/model": "c0ffee"},
        nodes=[GridNode(node, STAGE, {"dataset": "boolq", "seed": 0}, key)],
        pairs=[{**pair, "weak_score": key, "transfer_score": None, "ceiling_score": None}],
    )
