"""What tests of trainings share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_models import model_params, tiny_base
from w2s_core.models.classifier import Classifier, build


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Classifier]:
    """Builds a small GPT-2, the same each time."""
    base = tiny_base(tmp_path / "base", resid_pdrop=0.1, embd_pdrop=0.1)
    return lambda **changes: build(model_params(head="small", **changes), base, seed=0)
