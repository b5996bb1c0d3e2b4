"""Presets have the nodes that they had: their node ids, which know parameters and parents but no code, are golden."""

from __future__ import annotations

import json
from collections import defaultdict

from artifacts.identity.keys import JSON, json_digest
from flows.plan.load import load_grid, preset_names
from flows.plan.resolve import resolve
from tests.places import GOLDEN

GROWS = "methods"
"""The preset that has a node for whatever there is."""

GRIDS = GOLDEN / "grids.json"


def ids_of_presets() -> dict[str, JSON]:
    """Preset and stage to how many nodes there are, and a digest of all their ids."""
    found: dict[str, JSON] = {}
    for name in sorted({*preset_names()} - {GROWS}):
        by_stage: dict[str, list[str]] = defaultdict(list)
        for node in resolve(load_grid(name, {}), {}).graph.nodes.values():
            by_stage[node.stage].append(node.id)
        found[name] = {stage: f"{len(ids)} {json_digest(sorted(ids))}" for stage, ids in sorted(by_stage.items())}
    return found


def write_golden() -> None:
    """Record the ids anew: every artifact of these stages is made again where they change."""
    GRIDS.write_text(json.dumps(ids_of_presets(), indent=2) + "\n")


def test_node_ids_of_presets_are_golden() -> None:
    assert ids_of_presets() == json.loads(GRIDS.read_text(encoding="utf-8"))
