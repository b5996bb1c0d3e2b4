"""The stage ``salience``: how much a strong model's features know of the truth, and of what a supervisor has wrong.

Only files in, files out; what is measured is in ``w2s_core.methods.salience``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from w2s_core.data.rows import read_features, read_rows, read_weak_probs
from w2s_core.methods.salience import salience as salience_of
from w2s_core.metrics import harden
from w2s_core.watch import Watch


def salience(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Of the truth, of the supervisor's classes, and of whether these are wrong; probes see the student's rows.

    Args:
        params: ``l2``, the penalty per feature, and the ``seed`` of the order of rows.
        inputs: ``rows``, ``labels`` and ``features`` of ``transfer_train`` and of ``test``.
        out: gets ``salience``, a row per property and measure.
        watch: not used.
    """
    features, properties = [], []
    for split in ("transfer_train", "test"):
        rows = read_rows(inputs[f"rows.{split}"])
        given = harden(read_weak_probs(inputs[f"labels.{split}"], rows.ids))
        features.append(read_features(inputs[f"features.{split}"], rows.ids))
        properties.append({"truth": rows.gt_labels, "labels": given, "errors": given != rows.gt_labels})
    found: dict[str, float | None] = {}
    for name in properties[0]:
        has, other_has = (np.asarray(of_split[name]).astype(np.int8) for of_split in properties)
        of_name = salience_of(features[0], has, features[1], other_has, params["l2"], params["seed"])
        found |= {f"{name}_{measure}": value for measure, value in of_name._asdict().items()}
    columns = {"what": pa.array(list(found)), "value": pa.array(list(found.values()), pa.float64())}
    pq.write_table(pa.table(columns), out / "salience.parquet")
    return found
