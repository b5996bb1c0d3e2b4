"""The examples of CONTRIBUTING.md, added to a copy of the project and run."""

from __future__ import annotations

import copy
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.harness import N_NODES, TINY, Project
from tests.places import ROOT

EXAMPLES = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
"""File and text of each."""

LEARNING = {**TINY, "models": [{**model, "lr": 0.01} for model in TINY["models"]]}
"""Its models learn something, so that another loss or label makes another model."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a finished run, to which all examples have then been added."""
    project = Project(tmp_path_factory.mktemp("contributing"))
    assert project.run(LEARNING).stages == N_NODES
    project.copy_code()
    for name, text in EXAMPLES:
        path = project.code / name
        path.write_text((path.read_text() if path.exists() else "") + text)
    return project


def grid(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(LEARNING), **changes}


def test_there_is_an_example_of_each_kind() -> None:
    folders = {str(Path(name).parent) for name, _ in EXAMPLES}
    assert folders == {
        "w2s_core/methods", "flows/plan/supervisors", "w2s_core/data/nlp", "w2s_core/offline", "w2s_core/settings",
    }  # fmt: skip


def test_what_was_there_before_stays_fresh(project: Project) -> None:
    assert not project.run(LEARNING).stages


def test_examples_are_planned_run_and_landed_together(project: Project) -> None:
    ran = project.run(
        grid(
            name="examples",
            datasets=["sst2", "mood"],
            models=[*LEARNING["models"], {**LEARNING["models"][1], "name": "l", "lr": 0.02}],
            supervisors=[{"name": "relay", "kind": "relay", "models": ["s", "m"]}],
            pairs=[["s", "m"], ["relay", "l"]],
            methods=["xent", "brier", {"name": "m", "labels": [{"kind": "dilute", "share": 0.99}]}],
        )
    )

    assert ran.failed == []
    assert project.count_pgr() == 1 + 2 * 2 * 3  # that of the first run, too
    of_sst2 = Counter(stage for stage, name in ran.executed if name.startswith("sst2 "))
    # Two methods of the pair that was there; of the other, the relay's labels, the ceiling, and three methods. The
    # relay's model is the student of the first pair.
    assert of_sst2 == {"treat": 2, "weak_labels": 1, "train_gt": 1, "train_w2s": 2 + 3, "score": 2 + 1 + 3}
    assert "sst2 train_w2s relay->l brier seed 0" in [name for _, name in ran.executed]
    settings = {
        manifest["labels"]["dataset"]: manifest["params"].get("setting")
        for manifest in project.manifests()
        if manifest["stage"] == "train_gt"
    }
    assert settings == {"sst2": "classify", "mood": "blind"}
