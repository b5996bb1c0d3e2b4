"""A setting is four entries, so that an edit reruns what it is about and nothing else."""

from __future__ import annotations

import pytest

from artifacts.identity.fingerprint import Sources, fingerprint


def reached(entry: str, setting: str) -> set[str]:
    params = {
        "setting": setting, "dataset": "sst2", "source": {"kind": "offline"}, "loss": {"loss": "xent"},
        "form": "number", "corpus": ["words"], "stop": [{"rule": "final"}], "training": {"optimizer": "adamw"},
    }  # fmt: skip
    return set(fingerprint(Sources.on_disk("w2s_core"), f"w2s_core.entries.{entry}", params).parts)


@pytest.mark.parametrize("setting", ["classify", "prefer", "move"])
def test_trainings_reach_neither_prompts_nor_audits_nor_other_settings(setting: str) -> None:
    here = f"w2s_core.settings.{setting}:"
    of_training, of_audit = reached("train:train_gt", setting), reached("audit:audit", setting)
    assert {f"{here}encode", f"{here}logits"} <= of_training
    assert not {f"{here}text", f"{here}lure", f"{here}leaks", "w2s_core.data.leaks:leak_checks"} & of_training
    assert f"{here}leaks" in of_audit or "w2s_core.data.leaks:leak_checks" in of_audit
    shared = tuple(f"w2s_core.settings.{name}:" for name in ("setting", "answers", "kinds"))
    assert all(part.startswith((here, *shared)) for part in of_training if ".settings." in part)
    assert "w2s_core.models.classifier:build" in of_training - of_audit
    assert not any(part.startswith("w2s_core.models.images:") for part in of_training)
