"""Builds ``results.duckdb`` from the store and its grid files. Its SQL is in the files beside this one.

The file is derived: it can be deleted and built again at any time. DuckDB lets one process write and then locks readers
out, so a new version is built beside the file that users read and renamed over it.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from artifacts import files
from artifacts.errors import CorruptArtifact
from artifacts.identity.keys import JSON, canonical_json
from artifacts.results.curves import CURVE, Curve, curves_table
from artifacts.results.query import COPY
from artifacts.store.contract import Reader, Store
from artifacts.store.grids import Grids
from artifacts.store.manifest import Manifest
from artifacts.waiting import take

Kinds = Callable[[str, Mapping[str, JSON]], Mapping[str, str]]
"""A stage and its parameters to the kind of each output, by name."""

ARROW = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}
"""Arrow types of columns; all others are given as text, which DuckDB casts."""

LABELS = ("dataset", "kind", "model", "half", "supervisor", "method", "seed")
"""Labels that are columns of ``nodes``."""

N_READERS = 16

OLD_S = 24 * 3600
"""Age at which a reader's copy is nobody's any more."""

OF_TRAINING = ("near_chance", "label_certainty", "n_parameters")
"""Metrics of a training that are columns of the ``scores`` of its model."""

METRICS = ("n", "accuracy", "auroc", "brier", "ece")
"""Metrics that are columns of ``scores``."""


def build(store: Store, path: Path, kinds: Kinds) -> None:
    """Write what ``store`` and its grid files know to ``path``; readers meanwhile get the old version or the new.

    Builders take turns, and each lists the store after its turn has come, so no version replaces a newer one.

    Args:
        store: what is read.
        path: the DuckDB file.
        kinds: what the outputs of a stage are; those of kind ``predictions``, ``labels`` and ``checks`` are copied.

    Raises:
        CorruptArtifact: a grid file, or a table that a manifest vouches for, cannot be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    turn = take(path.with_suffix(".lock"), what=f"another run that writes {path}")
    new = path.with_name(f"{path.name}.new")
    try:
        _discard(new)  # what a killed builder left; it held the turn, so nobody is at it now
        _discard_copies(path.parent)
        with files.room(path), duckdb.connect(new) as connection:
            connection.execute(sql("schema"))
            connection.execute(sql("intervals"))
            statements = _by_name(sql("fill"))
            _fill(connection, store, kinds, statements)
            for statement in (
                statements["judged"],
                statements["outcomes"],
                sql("uncertainty"),
                sql("views"),
                sql("analyses"),
            ):
                connection.execute(statement)
        # A log beside the new file would be taken for its own, and make it unreadable. Whoever wrote it had the old
        # file, which is gone with it; he may go on, and begin another log in the very moment of the renaming.
        _discard_logs(path)
        new.replace(path)
        _discard_logs(path)
    finally:
        _discard(new)
        turn.release(remove=True)


def sql(name: str) -> str:
    """``schema``, ``intervals``, ``fill``, ``uncertainty``, ``views`` or ``analyses``, which are run in this order."""
    return Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")


def shows(path: Path, run: str) -> bool:
    """Whether the results at ``path`` have a run, by id; a store that is shared gets runs from other machines."""
    if not path.exists():
        return False
    try:
        with duckdb.connect(path, read_only=True) as connection:
            return connection.execute("SELECT run FROM grids WHERE run = ?", [run]).fetchone() is not None
    except duckdb.Error:
        return False  # damaged, of another version, held by a writer, or with a log that is not its own


def _discard(new: Path) -> None:
    """Remove an unfinished version, with what DuckDB keeps beside it."""
    for suffix in ("", ".tmp"):
        files.remove(new.with_name(f"{new.name}{suffix}"))
    _discard_logs(new)


def _discard_copies(folder: Path) -> None:
    """Remove what readers left that were killed."""
    for name in files.names(folder):
        if name.startswith(COPY) and time.time() - (folder / name).stat().st_mtime > OLD_S:
            files.remove(folder / name)


def _discard_logs(path: Path) -> None:
    for suffix in (".wal", ".wal.checkpoint", ".wal.recovery"):
        files.remove(path.with_name(f"{path.name}{suffix}"))


def _by_name(text: str) -> dict[str, str]:
    """Statements by what the line ``-- name: NAME`` above them says."""
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


class _Wanted(NamedTuple):
    """A Parquet file to copy."""

    stage: str
    key: str
    output: str


def _fill(connection: duckdb.DuckDBPyConnection, store: Store, kinds: Kinds, statements: Mapping[str, str]) -> None:
    """The tables that are copied."""

    def wanted(manifest: Manifest, kind: str) -> list[_Wanted]:
        kind_of = kinds(manifest.stage, manifest.params)
        named = [output for output in manifest.outputs if kind_of.get(output) == kind]
        return [_Wanted(manifest.stage, manifest.key, output) for output in named]

    found = store.listing()
    manifests = list(found.manifests())
    _insert(connection, "nodes", map(_node_row, manifests))
    audits = sorted((m for m in manifests if wanted(m, "checks")), key=lambda m: _utc(m.timings["started"]))
    newest = {manifest.node: manifest for manifest in audits if found.get(manifest.stage, manifest.key)}.values()
    grids: list[dict[str, JSON]] = []
    scores: list[dict[str, JSON]] = []
    pairs: list[dict[str, JSON]] = []
    copied: dict[str, list[_Wanted]] = {
        "checks": [one for manifest in newest for one in wanted(manifest, "checks")],
        "predictions": [],
        "labels": [],
    }
    curves: list[Curve] = []
    of_training = {m.key: {name: m.metrics[name] for name in OF_TRAINING if name in m.metrics} for m in manifests}
    for grid in Grids(store).all():
        latest = grid.runs[-1]
        grids.append({"grid": grid.name, "run": latest.id, "started": _utc(latest.started), "state": latest.state})
        for node in latest.nodes:
            manifest = found.get(node.stage, node.key) if node.key is not None else None
            if node.key is None or manifest is None:
                continue
            if CURVE in manifest.side:
                curves.append(Curve(node.key, grid.name, node.stage, node.labels))
            if wanted(manifest, "predictions"):
                metrics = {"near_chance": False, **{name: manifest.metrics.get(name) for name in METRICS}}
                for source in manifest.inputs.values():
                    metrics |= of_training.get(source.get("key") or "", {})
                scores.append({"grid": grid.name, **node.labels, **metrics, "key": node.key})
            for kind in ("predictions", "labels"):
                copied[kind] += wanted(manifest, kind)
        for pair in latest.pairs:
            # A pair has these two where they are others, and then they stay NULL until they are known.
            usual = {"supervisor_score": pair.get("weak_score"), "ceiling_plain_score": pair.get("ceiling_score")}
            pairs.append({"position": len(pairs), "grid": grid.name, **usual, **pair})
    _insert(connection, "grids", grids)
    _insert(connection, "scores", scores)
    _insert(connection, "pairs", pairs)
    _insert_table(connection, "curves", curves_table(found, curves))
    for kind, files_of_kind in copied.items():
        _copy(connection, statements[kind], found, dict.fromkeys(files_of_kind))


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
    _insert_table(connection, table, source)


def _insert_table(connection: duckdb.DuckDBPyConnection, table: str, source: pa.Table) -> None:
    connection.register("rows", source)
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows")
    connection.unregister("rows")


def _copy(connection: duckdb.DuckDBPyConnection, statement: str, store: Reader, wanted: Collection[_Wanted]) -> None:
    """Run ``statement`` on files, with a table ``files`` that says what they are."""
    if not wanted:
        return
    with ThreadPoolExecutor(N_READERS) as readers:  # a store elsewhere fetches them
        listed = [str(path) for path in readers.map(lambda one: store.output_path(*one), wanted)]
    what = {name: [getattr(one, name) for one in wanted] for name in _Wanted._fields}
    connection.register("files", pa.table({"file": listed, **what}))
    try:
        connection.execute(statement, {"files": listed})
    except duckdb.Error as error:
        reason = str(error).split("\n", 1)[0]
        raise CorruptArtifact(f"cannot read a table of the store: {reason}; see `w2s store verify`") from error
    connection.unregister("files")
