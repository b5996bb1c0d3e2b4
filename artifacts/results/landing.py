"""Brings the tables of ``results.duckdb`` up to what a store has: reads and writes only what differs from last time.

What differs is found by SQL, in ``landing.sql``. The file, its versions and turns are for ``build``.
"""

from __future__ import annotations

import datetime
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import duckdb
import pyarrow as pa

from artifacts.errors import CorruptArtifact, Stopped
from artifacts.identity.keys import JSON, canonical_json
from artifacts.results.curves import CURVE, Curve, curves_table
from artifacts.store.contract import Store
from artifacts.store.grids import Grids
from artifacts.store.manifest import Manifest
from artifacts.waiting import STOPPED

Kinds = Callable[[str, Mapping[str, JSON]], Mapping[str, str]]
"""A stage and its parameters to the kind of each output, by name."""

TABLES = {"predictions": "predictions", "labels": "labels", "checks": "audits", "texts": "texts"}
"""Kinds of outputs that land, to the table to which the statement of that name in ``fill.sql`` copies. Its rows have
a ``key``. Of checks only the newest of each audit land, whichever grid made them; of others those of latest runs."""

DERIVED = ("outcomes", "uncertainty", "agreement_uncertainty")
"""Tables that are derived of pairs. Their rows have what names a comparison: grid, dataset, weak and strong."""

ARROW = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}
"""Arrow types of columns; all others are given as text, which DuckDB casts."""

LABELS = ("dataset", "kind", "model", "half", "supervisor", "method", "seed")
"""Labels that are columns of ``nodes``."""

OF_TRAINING = ("near_chance", "label_certainty", "n_parameters")
"""Metrics of a training that are columns of the ``scores`` of its model."""

METRICS = ("n", "accuracy", "auroc", "brier", "ece")
"""Metrics that are columns of ``scores``."""

N_READERS = 16
N_MANIFESTS = 1_000
"""So many are in memory at a time."""
N_CURVES = 200
N_FILES = 500
FILES_BYTES = 1 << 26
"""At most so many files, or so many of their bytes, are copied by one statement: all of them are open at once."""
N_ROWS = 500_000
"""About so many rows of pairs are joined at a time."""

T = TypeVar("T")


class Outdated(Exception):
    """The tables cannot be brought up to date: outputs are of other kinds than they were."""


def sql(name: str) -> str:
    """One of the ``.sql`` files here."""
    return Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")


def by_name(text: str) -> dict[str, str]:
    """Statements by what the line ``-- name: NAME`` above them says."""
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


class Landing:
    """One landing, in a file that nobody else has.

    Args:
        connection: to it; its tables are as the last landing left them, or empty.
        store: what is read.
        kinds: what the outputs of a stage are.
        stop: give up when this is set.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, store: Store, kinds: Kinds, stop: threading.Event
    ) -> None:
        self._db = connection
        self._store = store
        self._found = store.listing()
        self._kinds = kinds
        self._stop = stop
        self._sql = by_name(sql("landing"))
        self._fill = by_name(sql("fill"))

    def run(self) -> None:
        """Bring every table up to date.

        Raises:
            Outdated: not without building them anew.
            CorruptArtifact: a grid file, or a table that a manifest vouches for, cannot be read.
            MissingArtifact: an artifact went away meanwhile.
            Stopped: ``stop`` was set.
        """
        self._db.execute("BEGIN")
        self._check_kinds()
        self._read_manifests()
        self._read_grids()
        self._look_at_files()
        self._db.execute(self._sql["scores"])
        self._db.execute(self._sql["wanted"])
        for kind, table in TABLES.items():
            self._land(kind, table)
        self._db.execute(self._sql["landed"])
        self._land_curves()
        self._db.execute(self._sql["current"])
        self._db.execute(self._sql["used"])
        self._db.execute(self._sql["pairs"])
        for table in DERIVED:
            self._db.execute(f"""
                DELETE FROM {table} USING changed
                WHERE ({table}.grid, {table}.dataset, {table}.weak, {table}.strong)
                    = (changed.grid, changed.dataset, changed.weak, changed.strong)
            """)
        self._db.execute("COMMIT")
        for positions in self._comparisons():
            self._derive(positions)

    def _check_kinds(self) -> None:
        """See whether what landed, or did not, would be of the same kind today."""
        known = self._db.execute("SELECT stage, params, outputs FROM landing.kinds").fetchall()
        for stage, params, outputs in known:
            then = json.loads(outputs)
            if {name: self._kinds(stage, json.loads(params)).get(name) for name in then} != then:
                raise Outdated

    def _read_manifests(self) -> None:
        stamps = self._found.stamps()
        places = list(stamps)
        rows = {"stage": [s for s, _ in places], "key": [k for _, k in places], "stamp": list(stamps.values())}
        self._temporary("stamps", pa.table(rows, pa.schema(dict.fromkeys(rows, pa.string()))))
        self._db.execute(self._sql["gone"])
        if self._db.execute("SELECT 1 FROM gone LIMIT 1").fetchone():
            self._db.execute(self._sql["forget"])
        known = set(self._db.execute("SELECT stage, key FROM landing.manifests").fetchall())
        if len(known) == len(stamps):
            return
        ways = set(self._db.execute("SELECT stage, outputs FROM landing.kinds").fetchall())
        for manifests in chunks((m for m in self._found.manifests(known) if (m.stage, m.key) in stamps), N_MANIFESTS):
            self._check_stop()
            kinds = [{name: self._kinds(m.stage, m.params).get(name) for name in m.outputs} for m in manifests]
            pairs = list(zip(manifests, kinds, strict=True))
            self._insert("nodes", map(_node_row, manifests))
            self._insert("landing.manifests", (_manifest_row(m, stamps[m.stage, m.key]) for m in manifests))
            self._insert("landing.inputs", (row for m in manifests for row in _input_rows(m)))
            self._insert("landing.outputs", (row for m, kind_of in pairs for row in _output_rows(m, kind_of)))
            self._insert("landing.files", (row for m, kind_of in pairs for row in _file_rows(m, kind_of)))
            new = {(m.stage, canonical_json(kind_of)): canonical_json(m.params) for m, kind_of in pairs}
            self._insert(
                "landing.kinds",
                ({"stage": way[0], "params": new[way], "outputs": way[1]} for way in new.keys() - ways),
            )
            ways |= new.keys()

    def _read_grids(self) -> None:
        """The latest run of each grid."""
        grids: list[dict[str, JSON]] = []
        nodes: list[dict[str, JSON]] = []
        pairs: list[dict[str, JSON]] = []
        for grid in Grids(self._store).all():
            latest = grid.runs[-1]
            of_grid = {"grid": grid.name, "is_current": latest.replaced is None}
            grids.append({**of_grid, "run": latest.id, "started": _utc(latest.started), "state": latest.state})
            nodes += (
                {**of_grid, **node.labels, "stage": node.stage, "key": node.key}
                for node in latest.nodes
                if node.key is not None
            )
            for pair in latest.pairs:
                # A pair has these two where they are others, and then they stay NULL until they are known.
                usual = {"supervisor_score": pair.get("weak_score"), "ceiling_plain_score": pair.get("ceiling_score")}
                pairs.append({"position": len(pairs), "grid": grid.name, **usual, **pair})
        self._db.execute("TRUNCATE grids")
        self._insert("grids", grids)
        self._db.execute(self._sql["latest"])
        self._insert("grid_nodes", nodes)
        self._insert("new_pairs", pairs)

    def _look_at_files(self) -> None:
        """Which artifacts that may have to land are whole, and which of them have their curve."""
        payloads: dict[tuple[str, str], dict[str, int]] = {}
        curves: dict[tuple[str, str], dict[str, int]] = {}
        for stage, key, path, size_bytes, is_curve in self._db.execute(self._sql["files"]).fetchall():
            payload = payloads.setdefault((stage, key), {})
            (curves.setdefault((stage, key), {}) if is_curve else payload)[path] = size_bytes
        whole = [
            place
            for place, files in payloads.items()
            # Only the second says what is wrong, and whether it still is.
            if self._found.has_files(*place, files) or self._found.get(*place) is not None
        ]
        with_curve = [place for place, files in curves.items() if self._found.has_files(*place, files)]
        for name, places in (("whole", whole), ("with_curve", with_curve)):
            columns = {"stage": [stage for stage, _ in places], "key": [key for _, key in places]}
            self._temporary(name, pa.table(columns, pa.schema(dict.fromkeys(columns, pa.string()))))

    def _land(self, kind: str, table: str) -> None:
        """Remove what is not to be in the table of a kind of outputs, and copy what is missing there."""
        stale = "SELECT key FROM stale WHERE kind = $kind"
        if self._db.execute(f"{stale} LIMIT 1", {"kind": kind}).fetchone():
            self._db.execute(f"DELETE FROM {table} WHERE key IN ({stale})", {"kind": kind})
        missing = [_Wanted(*row) for row in self._db.execute(self._sql["missing"], {"kind": kind}).fetchall()]
        for wanted in _batches(missing):
            self._check_stop()
            self._copy(self._fill[kind], wanted)

    def _copy(self, statement: str, wanted: Sequence[_Wanted]) -> None:
        """Run ``statement`` on files, with a table ``files`` that says what they are."""
        with ThreadPoolExecutor(N_READERS) as readers:  # a store elsewhere fetches them
            paths = readers.map(lambda one: self._found.output_path(one.stage, one.key, one.output), wanted)
            listed = [str(path) for path in paths]
        what = {name: [getattr(one, name) for one in wanted] for name in ("stage", "key", "output")}
        self._db.register("files", pa.table({"file": listed, **what}))
        try:
            self._db.execute(statement, {"files": listed})
        except duckdb.Error as error:
            reason = str(error).split("\n", 1)[0]
            raise CorruptArtifact(f"cannot read a table of the store: {reason}; see `w2s store verify`") from error
        self._db.unregister("files")

    def _land_curves(self) -> None:
        self._db.execute(self._sql["curves"])
        missing = self._db.execute(self._sql["missing_curves"])
        names = [name for name, *_ in missing.description or ()]
        found = [dict(zip(names, row, strict=True)) for row in missing.fetchall()]
        for rows in chunks(found, N_CURVES):
            self._check_stop()
            curves = [
                Curve(row["key"], row["grid"], row["stage"], {k: row[k] for k in LABELS if row[k] is not None})
                for row in rows
            ]
            self._insert_table("curves", curves_table(self._found, curves))
        if found:
            self._db.execute(self._sql["landed_curves"])

    def _comparisons(self) -> Iterator[list[int]]:
        """Positions of the pairs of comparisons that have changed, of as many as are looked at together."""
        together: list[int] = []
        n_rows = 0
        for positions, n in self._db.execute(self._sql["changed"]).fetchall():
            if together and n_rows + n > N_ROWS:
                yield together
                together, n_rows = [], 0
            together += positions
            n_rows += n
        if together:
            yield together

    def _derive(self, positions: Sequence[int]) -> None:
        """Fill what is derived of pairs, for whole comparisons."""
        self._check_stop()
        with self._db.cursor() as of_batch:  # its temporary tables are its own
            of_batch.execute("BEGIN")
            of_batch.execute(
                "CREATE TEMP TABLE batch AS SELECT unnest($positions) AS position", {"positions": positions}
            )
            for statement in (*(self._fill[name] for name in ("involved", "judged", "outcomes")), sql("uncertainty")):
                of_batch.execute(statement)
            of_batch.execute("COMMIT")

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped(STOPPED)

    def _temporary(self, name: str, source: pa.Table) -> None:
        self._db.register("rows", source)
        self._db.execute(f"CREATE TEMP TABLE {name} AS FROM rows")
        self._db.unregister("rows")

    def _insert(self, table: str, rows: Iterable[Mapping[str, JSON]]) -> None:
        """Insert ``rows`` by column name: NULL where they lack one; what is no column of ``table`` is left out."""
        columns = {name: kind for name, kind, *_ in self._db.sql(f"DESCRIBE {table}").fetchall()}
        listed = list(rows)
        source = pa.table(
            {
                name: pa.array([row.get(name) for row in listed], ARROW.get(kind, pa.string()))
                for name, kind in columns.items()
            }
        )
        self._insert_table(table, source)

    def _insert_table(self, table: str, source: pa.Table) -> None:
        self._db.register("rows", source)
        self._db.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows")
        self._db.unregister("rows")


class _Wanted(NamedTuple):
    """A Parquet file to copy."""

    stage: str
    key: str
    output: str
    size_bytes: int


def chunks(items: Iterable[T], n: int) -> Iterator[list[T]]:
    """Lists of ``n`` of the items, the last one of as many as are left."""
    left = iter(items)
    while chunk := list(islice(left, n)):
        yield chunk


def _batches(wanted: Iterable[_Wanted]) -> Iterator[list[_Wanted]]:
    """Lists of files that can be open at once."""
    batch: list[_Wanted] = []
    size_bytes = 0
    for one in wanted:
        if batch and (len(batch) == N_FILES or size_bytes + one.size_bytes > FILES_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(one)
        size_bytes += one.size_bytes
    if batch:
        yield batch


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
        **{name: environment.get(name) for name in ("torch", "transformers", "host", "device", "flow_run")},
        "size_bytes": sum(sizes) + sum(manifest.side.values()),
        "evicted": any(output.evicted for output in outputs),
        "code": manifest.code_digest,
        "is_current": False,  # until the grids are looked at
    }


def _manifest_row(manifest: Manifest, stamp: str) -> dict[str, JSON]:
    metrics = {name: manifest.metrics.get(name) for name in (*METRICS, *OF_TRAINING)}
    started = manifest.timings["started"]
    return {"stage": manifest.stage, "key": manifest.key, "stamp": stamp, "started": started, **metrics}


def _input_rows(manifest: Manifest) -> Iterator[dict[str, JSON]]:
    for place, source in enumerate(manifest.inputs.values()):
        if source.get("key"):
            yield {"stage": manifest.stage, "key": manifest.key, "place": place, "source": source["key"]}


def _output_rows(manifest: Manifest, kind_of: Mapping[str, str | None]) -> Iterator[dict[str, JSON]]:
    for name, output in manifest.outputs.items():
        if kind_of[name] in TABLES:
            yield {
                "stage": manifest.stage,
                "key": manifest.key,
                "output": name,
                "kind": kind_of[name],
                # Made again it may have other values, or be of another time.
                "version": f"{output.digest} {manifest.timings['started']}",
                "size_bytes": sum(output.files.values()),
                "is_evicted": output.evicted,
            }


def _file_rows(manifest: Manifest, kind_of: Mapping[str, str | None]) -> Iterator[dict[str, JSON]]:
    has_curve = CURVE in manifest.side
    if has_curve or any(kind in TABLES for kind in kind_of.values()):
        files = {**manifest.payload, **({CURVE: manifest.side[CURVE]} if has_curve else {})}
        for path, size_bytes in files.items():
            is_curve = path == CURVE
            yield {
                "stage": manifest.stage, "key": manifest.key, "path": path, "size_bytes": size_bytes,
                "is_curve": is_curve,
            }  # fmt: skip


def _utc(text: str) -> str:
    """A time in DuckDB's form, without the zone that would need an extension to be read."""
    moment = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    return moment.replace(tzinfo=None).isoformat(sep=" ")
