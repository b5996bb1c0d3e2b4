"""How many classes labels may have for what is done with them: what a plan looks at before anything runs."""

from __future__ import annotations

from typing import Any


def any_number(params: Any) -> int | None:
    """Of what is defined for any number of classes: None."""
    return None


def two(params: Any) -> int | None:
    """Of what is defined for two classes alone."""
    return 2
