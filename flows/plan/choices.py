"""Fields of a grid that are one of several registered tables, where kinds of supervisors have them, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BaseModel, Field

from w2s_core.config import Frozen
from w2s_core.methods.losses import LOSSES


def any_of(classes: list[type[BaseModel]], field: str) -> Any:
    """One of several tables, told apart by a field of each."""
    return Annotated[Union[tuple(classes)], Field(discriminator=field)] if len(classes) > 1 else classes[0]  # noqa: UP007


if TYPE_CHECKING:
    LossChoice = Frozen
else:
    LossChoice = any_of([LOSSES.get(name).params for name in LOSSES], "loss")
