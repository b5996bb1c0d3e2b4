"""Transcripts as Parquet files hold them: one row per example, seed and turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from w2s_core.errors import DataError

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("seed", pa.int64()),
        ("turn", pa.int32()),
        ("role", pa.string()),
        ("side", pa.int8()),
        ("text", pa.string()),
        ("is_cut", pa.bool_()),
        ("n_tokens", pa.int32()),
        ("n_read", pa.int32()),
    ]
)

Transcripts = Mapping[str, Sequence[Mapping[str, Any]]]
"""Id to its turns, in order, each by column."""


def write_texts(path: Path, turns: Sequence[Mapping[str, Any]]) -> None:
    """Write the turns of one split."""
    pq.write_table(pa.Table.from_pylist(list(turns), SCHEMA), path, compression="zstd")


def read_texts(path: Path, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The turns of ``ids``.

    Raises:
        DataError: an id has none.
    """
    found: dict[str, list[dict[str, Any]]] = {id: [] for id in ids}
    for turn in pq.read_table(path).to_pylist():
        if turn["id"] in found:
            found[turn["id"]].append(turn)
    missing = [id for id, turns in found.items() if not turns]
    if missing:
        raise DataError(f"{path}: {len(missing)} of {len(ids)} rows have no transcript, such as {missing[0]!r}")
    return {id: sorted(turns, key=lambda turn: turn["turn"]) for id, turns in found.items()}
