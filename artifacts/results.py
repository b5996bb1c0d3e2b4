"""Builds ``results.duckdb`` from the store and its grid files. Its schema is in ``results.sql``, queries in ``query``.

The file is derived: it can be deleted and built again at any time. DuckDB lets one process write and then locks readers
out, so a new version is built beside the file that users read and renamed over it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from artifacts import files
from artifacts.curves import CURVE, Curve, curves_table
from artifacts.errors import CorruptArtifact
from artifacts.grids import Grids
from artifacts.keys import JSON, canonical_json
from artifacts.manifest import Manifest
from artifacts.store import Reader, Store

SCHEMA = Path(__file__).with_name("results.sql")

ARROW = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}
"""Arrow types of columns; all others are given as text, which DuckDB casts."""

LABELS = ("dataset", "kind", "model", "half", "supervisor", "method", "seed")
"""Labels that are columns of ``nodes``."""

N_READERS = 16

METRICS = ("n", "accuracy", "auroc", "brier", "ece")
"""Metrics of a score that are columns of ``scores``."""

COPY_PREDICTIONS = """
INSERT INTO predictions
SELECT files.key, rows.id, rows.prob, rows.gt_label
FROM read_parquet($files, filename = true) AS rows JOIN files ON files.file = rows.filename
"""

COPY_WEAK_LABELS = """
INSERT INTO weak_labels
SELECT files.key, files.output, rows.id, rows.weak_prob
FROM read_parquet($files, filename = true) AS rows JOIN files ON files.file = rows.filename
"""

COPY_AUDITS = """
INSERT INTO audits
SELECT
    nodes.dataset, nodes.params ->> '$.source.kind', nodes.started,
    rows.split, rows.check, rows.value, rows.threshold, rows.verdict, rows.detail, nodes.key
FROM read_parquet($files, filename = true) AS rows
JOIN files ON files.file = rows.filename
JOIN nodes ON nodes.stage = 'audit' AND nodes.key = files.key
"""

# Which models of a pair are right on which test item: one row per pair and item.
JUDGE = """
CREATE TEMP TABLE judged AS
WITH answers AS (SELECT key, id, (prob > 0.5) = (gt_label = 1) AS is_right FROM predictions)
SELECT
    pairs.position,
    weak.id,
    weak.is_right AS weak_right,
    transfer.is_right AS transfer_right,
    ceiling.is_right AS ceiling_right
FROM pairs
JOIN answers AS weak ON weak.key = pairs.weak_score
JOIN answers AS transfer ON transfer.key = pairs.transfer_score AND transfer.id = weak.id
LEFT JOIN answers AS ceiling ON ceiling.key = pairs.ceiling_score AND ceiling.id = weak.id
"""

COUNT_OUTCOMES = """
INSERT INTO outcomes
SELECT grid, dataset, weak, strong, method, seed, weak_right, transfer_right, ceiling_right, count(*)
FROM judged JOIN pairs USING (position)
GROUP BY ALL
ORDER BY ALL
"""

# The gap is the mean over n test items of d = [ceiling right] - [weak right], each -1, 0 or 1; its standard error is
# sd(d) / sqrt(n), with n - 1 in the deviation. Paired: an item that is hard for both adds nothing to it.
# Rounded, here and below, since parallel sums differ in their last bits from build to build.
SET_GAP_SE = """
UPDATE pairs SET gap_se = errors.gap_se
FROM (
    SELECT
        position,
        round(stddev_samp(ceiling_right::INTEGER - weak_right::INTEGER) / sqrt(count(*)), 12) AS gap_se
    FROM judged
    WHERE ceiling_right IS NOT NULL
    GROUP BY position
) AS errors
WHERE errors.position = pairs.position
"""

# Per pair, over its seeds: they share the test items, so an item counts once, with its mean over seeds. The interval of
# the ratio gain / gap is Fieller's (1954, JRSS B 16): all r for which the mean of gain - r gap over n paired items lies
# within 1.96 of its standard errors of 0. It is what resampling items jointly for the three models tends to, without
# the resampling; it is an interval where gap > 1.96 gap_se, and has no finite ends elsewhere.
ESTIMATE_UNCERTAINTY = """
INSERT INTO uncertainty
WITH
    places AS (
        SELECT position, min(position) OVER (PARTITION BY grid, dataset, weak, strong, method) AS pair
        FROM pairs
    ),
    effects AS (
        SELECT
            pair,
            avg(transfer_right::INTEGER - weak_right::INTEGER) AS gain,
            avg(ceiling_right::INTEGER - weak_right::INTEGER) AS gap
        FROM judged JOIN places USING (position)
        WHERE ceiling_right IS NOT NULL
        GROUP BY pair, id
    ),
    moments AS (
        SELECT
            pair,
            avg(gain) AS gain,
            avg(gap) AS gap,
            1.96 ** 2 * var_samp(gain) / count(*) AS gain_var,
            1.96 ** 2 * var_samp(gap) / count(*) AS gap_var,
            1.96 ** 2 * covar_samp(gain, gap) / count(*) AS covariance,
            stddev_samp(gap) / sqrt(count(*)) AS gap_se
        FROM effects
        GROUP BY pair
    ),
    roots AS (
        SELECT
            *,
            gain * gap - covariance AS middle,
            gap ** 2 - gap_var AS divisor,
            sqrt(greatest(0, middle ** 2 - (gain ** 2 - gain_var) * divisor)) AS reach
        FROM moments
    )
SELECT
    grid, dataset, weak, strong, method, round(roots.gap_se, 12),
    CASE WHEN divisor > 0 THEN round((middle - reach) / divisor, 12) END,
    CASE WHEN divisor > 0 THEN round((middle + reach) / divisor, 12) END
FROM roots JOIN pairs ON pairs.position = roots.pair
ORDER BY pair
"""


def build(store: Store, path: Path) -> None:
    """Write what ``store`` and its grid files know to ``path``; readers meanwhile get the old version or the new.

    Builders take turns, and each lists the store after its turn has come, so no version replaces a newer one.

    Raises:
        CorruptArtifact: a grid file, or a table that a manifest vouches for, cannot be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    turn = files.lock(path.with_suffix(".lock"), wait=True)
    assert turn is not None
    new = path.with_name(f"{path.name}.new")
    try:
        _discard(new)  # what a killed builder left; it held the turn, so nobody is at it now
        with files.room(path), duckdb.connect(new) as connection:
            connection.execute(SCHEMA.read_text())
            _fill(connection, store)
            for statement in (JUDGE, COUNT_OUTCOMES, SET_GAP_SE, ESTIMATE_UNCERTAINTY):
                connection.execute(statement)
        new.replace(path)
    finally:
        _discard(new)
        turn.release(remove=True)


def shows(path: Path, run: str) -> bool:
    """Whether the results at ``path`` have a run, by id; a store that is shared gets runs from other machines."""
    if not path.exists():
        return False
    try:
        with duckdb.connect(path, read_only=True) as connection:
            return connection.execute("SELECT run FROM grids WHERE run = ?", [run]).fetchone() is not None
    except duckdb.Error:
        return False  # made by an earlier version


def _discard(new: Path) -> None:
    """Remove an unfinished version, with what DuckDB keeps beside it."""
    for suffix in ("", ".wal", ".tmp"):
        files.remove(new.with_name(f"{new.name}{suffix}"))


def _fill(connection: duckdb.DuckDBPyConnection, store: Store) -> None:
    """The tables that are copied."""
    found = store.listing()
    manifests = list(found.manifests())
    _insert(connection, "nodes", map(_node_row, manifests))
    audits = sorted((m for m in manifests if m.stage == "audit"), key=lambda m: _utc(m.timings["started"]))
    newest = {manifest.node: manifest for manifest in audits if found.get("audit", manifest.key)}.values()
    _copy(connection, COPY_AUDITS, found, [_Wanted(manifest, "checks") for manifest in newest])
    grids: list[dict[str, JSON]] = []
    scores: list[dict[str, JSON]] = []
    pairs: list[dict[str, JSON]] = []
    predictions: dict[str, list[_Wanted]] = {}
    weak_labels: dict[str, list[_Wanted]] = {}
    curves: list[Curve] = []
    for grid in Grids(store).all():
        latest = grid.runs[-1]
        grids.append({"grid": grid.name, "run": latest.id, "started": _utc(latest.started), "state": latest.state})
        for node in latest.nodes:
            manifest = found.get(node.stage, node.key) if node.key is not None else None
            if node.key is None or manifest is None:
                continue
            if CURVE in manifest.side:
                curves.append(Curve(node.key, grid.name, node.stage, node.labels))
            if node.stage not in ("score", "weak_labels"):
                continue
            copied = predictions
            if node.stage == "score":
                metrics = {name: manifest.metrics[name] for name in METRICS}
                scores.append({"grid": grid.name, **node.labels, **metrics, "key": node.key})
            else:
                copied = weak_labels
            copied[node.key] = [_Wanted(manifest, output) for output in manifest.outputs]
        for pair in latest.pairs:
            pairs.append({"position": len(pairs), "grid": grid.name, **pair})
    _insert(connection, "grids", grids)
    _insert(connection, "scores", scores)
    _insert(connection, "pairs", pairs)
    connection.register("curve_rows", curves_table(found, curves))
    connection.execute("INSERT INTO curves BY NAME SELECT * FROM curve_rows")
    connection.unregister("curve_rows")
    _copy(connection, COPY_PREDICTIONS, found, chain.from_iterable(predictions.values()))
    _copy(connection, COPY_WEAK_LABELS, found, chain.from_iterable(weak_labels.values()))


def _node_row(manifest: Manifest) -> dict[str, JSON]:
    environment = manifest.environment
    outputs = manifest.outputs.values()
    sizes = [size for output in outputs if not output.evicted for size in output.files.values()]
    return {
        "stage": manifest.stage,
        "key": manifest.key,
        "node": manifest.node,
        **{name: manifest.labels.get(name) for name in LABELS},
        "labels": canonical_json(manifest.labels),
        "params": canonical_json(manifest.params),
        "metrics": canonical_json(manifest.metrics),
        "started": _utc(manifest.timings["started"]),
        "seconds": manifest.timings["seconds"],
        **{name: environment.get(name) for name in ("torch", "transformers", "host", "device")},
        "size_bytes": sum(sizes) + sum(manifest.side.values()),
        "evicted": any(output.evicted for output in outputs),
    }


def _utc(text: str) -> str:
    """A time in DuckDB's form, without the zone that would need an extension to be read."""
    moment = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    return moment.replace(tzinfo=None).isoformat(sep=" ")


class _Wanted(NamedTuple):
    """A Parquet file to copy."""

    manifest: Manifest
    output: str


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Mapping[str, JSON]]) -> None:
    """Insert ``rows`` by column name: NULL where they lack a column; what is no column of ``table`` is left out."""
    columns = {name: kind for name, kind, *_ in connection.sql(f"DESCRIBE {table}").fetchall()}
    listed = list(rows)
    source = pa.table(
        {
            name: pa.array([row.get(name) for row in listed], ARROW.get(kind, pa.string()))
            for name, kind in columns.items()
        }
    )
    connection.register("rows", source)
    connection.execute(f"INSERT INTO {table} SELECT * FROM rows")
    connection.unregister("rows")


def _copy(connection: duckdb.DuckDBPyConnection, statement: str, store: Reader, rows: Iterable[_Wanted]) -> None:
    """Run ``statement`` on files, with a table ``files`` that says what they are."""
    wanted = list(rows)
    if not wanted:
        return
    with ThreadPoolExecutor(N_READERS) as readers:  # a store elsewhere fetches them
        paths = readers.map(lambda one: store.output_path(one.manifest.stage, one.manifest.key, one.output), wanted)
        listed = [str(path) for path in paths]
    keys, outputs = [one.manifest.key for one in wanted], [one.output for one in wanted]
    connection.register("files", pa.table({"file": listed, "key": keys, "output": outputs}))
    try:
        connection.execute(statement, {"files": listed})
    except duckdb.Error as error:
        reason = str(error).split("\n", 1)[0]
        raise CorruptArtifact(f"cannot read a table of the store: {reason}; see `w2s store verify`") from error
    connection.unregister("files")
