"""Fields of a grid that are one of several registered tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Field

from w2s_core.config import Frozen
from w2s_core.methods.losses import LOSSES
from w2s_core.registry import Registry, unknown_name


def any_of(registry: Registry[Any], table: str, field: str) -> Any:
    """The type of a field that is one of several tables; a name alone is the table of this name with its defaults.

    Args:
        registry: what there is.
        table: the attribute of its entries that is the table's class.
        field: which of each table's fields holds the name.
    """

    def as_table(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in registry:
            raise ValueError(unknown_name(registry.kind, value, registry.names()))
        return {field: value}

    tables = tuple(getattr(registry.get(name), table) for name in registry)
    return Annotated[Union[tables], Field(discriminator=field), BeforeValidator(as_table)]  # noqa: UP007


if TYPE_CHECKING:
    LossChoice = Frozen
else:
    LossChoice = any_of(LOSSES, "params", "loss")
