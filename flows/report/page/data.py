"""What the page of a grid shows, as plain rows: from ``results.duckdb``, and from the grid file where that is there.

How it is drawn is in ``charts.py``, how it becomes a file in ``page.py``.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pyarrow as pa

from artifacts.errors import UsageError, W2sError
from artifacts.results.comparisons import compare_at
from artifacts.results.query import pgr_table, reading, run_query
from artifacts.store.grid_runs import GridNode
from flows.home import Home
from flows.report.page.spoken import spoken

Rows = list[dict[str, Any]]

DECIMALS = 5
"""Of every fraction on the page: a test set of 100,000 rows tells no more."""

N_POINTS = 24
"""Of a curve at most: steps in between are averaged, what validation says is kept."""

KEY_LENGTH = 12
"""Letters of a key on the page; `w2s explain` takes as few."""

LINE = 100

N_REFERENCES = 4
"""Methods that others are compared with, with intervals: the first ones. Each takes seconds of a large grid."""

PAIRS = """
    WITH
        chosen AS (FROM pgr_by_pair WHERE grid = $grid),
        agreed AS (
            SELECT * EXCLUDE (grid, weak_acc, transfer_acc, interval_of, n_items, n_seeds)
            FROM agreement_by_pair WHERE grid = $grid
        ),
        sizes AS (
            SELECT model, max(n_parameters) AS size FROM scores WHERE grid = $grid AND supervisor IS NULL GROUP BY model
        ),
        listed AS (
            SELECT dataset, weak, strong, method, min(position) AS position FROM pairs WHERE grid = $grid GROUP BY ALL
        ),
        medians AS (FROM pgr_over(['weak', 'strong', 'method'], pairs := 'chosen')),
        -- By the rules of pgr_over: of all datasets from a number of them on, else the median of the ends.
        parts AS (
            SELECT weak, strong, method, dataset, unnest([
                {part: 'right', share: agreement_right, low: agreement_right_low, high: agreement_right_high},
                {part: 'wrong', share: agreement_wrong, low: agreement_wrong_low, high: agreement_wrong_high}
            ], recursive := true)
            FROM agreed
        ),
        shares AS (SELECT row(weak, strong, part) AS grid, method, dataset, share AS value FROM parts),
        ends AS (
            SELECT
                weak, strong, parts.method, part,
                coalesce(any_value(median_low), median(low)) AS low,
                coalesce(any_value(median_high), median(high)) AS high
            FROM parts LEFT JOIN over_datasets('shares') AS found
            ON (found.grid, found.method) = (row(weak, strong, part), parts.method)
            GROUP BY ALL
        ),
        bands AS (
            SELECT
                weak, strong, method,
                max(low) FILTER (part = 'right') AS right_low, max(high) FILTER (part = 'right') AS right_high,
                max(low) FILTER (part = 'wrong') AS wrong_low, max(high) FILTER (part = 'wrong') AS wrong_high
            FROM ends GROUP BY ALL
        )
    SELECT chosen.* EXCLUDE grid, agreed.* EXCLUDE (dataset, weak, strong, method),
        weaker.size AS weak_size, stronger.size AS strong_size,
        medians.median_pgr_low AS median_low, medians.median_pgr_high AS median_high,
        bands.* EXCLUDE (weak, strong, method)
    FROM chosen
    JOIN listed USING (dataset, weak, strong, method)
    LEFT JOIN agreed USING (dataset, weak, strong, method)
    LEFT JOIN medians USING (weak, strong, method)
    LEFT JOIN bands USING (weak, strong, method)
    LEFT JOIN sizes AS weaker ON weaker.model = weak
    LEFT JOIN sizes AS stronger ON stronger.model = strong
    ORDER BY listed.position
"""
"""Of the median over datasets of PGR, and of agreement where the supervisor is right and wrong, each row has the
interval: it is the same for all datasets of a pair and method."""

SEEDS = """
    WITH
        trainings AS (
            SELECT DISTINCT ON (key) key, concat_ws('|', kind, model, half, supervisor, method, seed) AS training
            FROM scores WHERE grid = $grid
        ),
        agreed AS (SELECT * EXCLUDE (n, weak_acc, transfer_acc) FROM agreement WHERE grid = $grid)
    SELECT pgr.dataset, pgr.weak, pgr.strong, pgr.method, pgr.seed, weak_acc, supervisor_acc, transfer_acc,
        ceiling_acc, pgr.gap, pgr.pgr, pgr.pgr_low, pgr.pgr_high, pgr.flag,
        agreed.* EXCLUDE (grid, dataset, weak, strong, method, seed),
        weak_score, transfer_score, ceiling_score, made.flow_run,
        w.training AS weak_training, t.training AS transfer_training, c.training AS ceiling_training
    FROM pgr
    JOIN pairs USING (grid, dataset, weak, strong, method, seed)
    LEFT JOIN agreed USING (grid, dataset, weak, strong, method, seed)
    LEFT JOIN nodes AS made ON made.key = transfer_score
    LEFT JOIN trainings AS w ON w.key = weak_score
    LEFT JOIN trainings AS t ON t.key = transfer_score
    LEFT JOIN trainings AS c ON c.key = ceiling_score
    WHERE pgr.grid = $grid
    ORDER BY position
"""

CURVES = f"""
    SELECT dataset, training, kind, method,
        round(coalesce(max(fraction) FILTER (gt_accuracy IS NOT NULL), max(fraction)), 4) AS fraction,
        avg(loss) AS loss, avg(gt_accuracy) AS gt_accuracy, avg(label_accuracy) AS label_accuracy
    FROM (
        SELECT *, concat_ws('|', kind, model, half, supervisor, method, seed) AS training,
            ceil(round(fraction * {N_POINTS}, 6)) AS bin
        FROM curves WHERE grid = $grid AND kind IN ('gt', 'w2s')
    )
    GROUP BY dataset, training, kind, method, bin
    ORDER BY dataset, training, fraction
"""

CALIBRATION = """
    WITH roles AS (
        SELECT DISTINCT dataset, weak, strong, method, unnest([
            {role: 'supervisor', key: coalesce(supervisor_score, weak_score)},
            {role: 'student', key: transfer_score},
            {role: 'ceiling', key: ceiling_score}
        ], recursive := true)
        FROM pairs WHERE grid = $grid
    )
    SELECT roles.dataset, weak, strong, roles.method, role, prob_from, sum(n)::BIGINT AS n,
        sum(n * mean_prob) / sum(n) AS mean_prob, sum(n * share_of_class_1) / sum(n) AS share
    FROM roles
    JOIN (SELECT DISTINCT ON (key, prob_from) key, prob_from, n, mean_prob, share_of_class_1
          FROM calibration WHERE grid = $grid) USING (key)
    GROUP BY ALL
    ORDER BY ALL
"""

LABELS = """
    SELECT dataset, supervisor, split, avg(accuracy) AS accuracy, avg(certainty) AS certainty, avg(ece) AS ece,
        avg(length_correlation) AS length_correlation, count(*) AS n_seeds
    FROM label_quality
    WHERE dataset IN (SELECT dataset FROM pairs WHERE grid = $grid)
        AND supervisor IN (SELECT weak FROM pairs WHERE grid = $grid)
    GROUP BY ALL
    ORDER BY ALL
"""

AUDITS = """
    SELECT dataset, source, split, "check", value, threshold, verdict, detail, key
    FROM audits
    WHERE verdict IS NOT NULL AND dataset IN (SELECT dataset FROM pairs WHERE grid = $grid)
    ORDER BY dataset, verdict = 'ok', verdict, split, "check"
"""

HISTORY = """
    WITH now AS (
        SELECT DISTINCT nodes.node FROM nodes JOIN scores USING (key) WHERE grid = $grid
    ),
    versions AS (
        SELECT node, nodes.dataset, nodes.kind, model, supervisor, method, seed, started, key,
            (metrics ->> '$.accuracy')::DOUBLE AS accuracy, count(*) OVER (PARTITION BY node) AS n_versions,
            row_number() OVER (PARTITION BY node ORDER BY started) AS version
        FROM nodes JOIN now USING (node)
        WHERE metrics ->> '$.accuracy' IS NOT NULL
    )
    SELECT * EXCLUDE (node, n_versions), left(node, 12) AS node FROM versions WHERE n_versions > 1
    ORDER BY dataset, kind, model, supervisor, method, seed, started
"""

PUBLISHED = """
    SELECT * EXCLUDE grid FROM beside_published WHERE grid = $grid
    ORDER BY dataset, method, supervisor, metric, source, weak
"""

MEDIANS = """
    SELECT method, median_pgr_low AS median_low, median_pgr_high AS median_high, n_pairs - n_flagged AS n_sound
    FROM pgr_by_method WHERE grid = $grid
"""
"""Of all pairs and datasets; the page works out what is of some of them as far as no bootstrap is needed."""

RULES = """
    SELECT least_datasets() AS least_datasets, [t_quantile(df) FOR df IN range(1, n_datasets)] AS quantiles
    FROM (SELECT count(DISTINCT dataset) AS n_datasets FROM pgr_by_pair WHERE grid = $grid)
"""
"""What the page needs for an interval over some of the datasets; Student's t by degrees of freedom, from 1."""

STAGES = """
    SELECT stage, count(*) AS n, sum(seconds) / 3600 AS hours,
        count(*) FILTER (started < $began) AS n_reused,
        sum(seconds) FILTER (started < $began) / 3600 AS hours_reused
    FROM nodes JOIN (SELECT unnest($keys) AS key) USING (key)
    GROUP BY stage
    ORDER BY hours DESC NULLS LAST
"""

MACHINES = """
    SELECT torch, transformers, host, device, count(*) AS n, min(started) AS first, max(started) AS last
    FROM nodes JOIN (SELECT unnest($keys) AS key) USING (key)
    GROUP BY ALL ORDER BY n DESC
"""

TIMES = """
    SELECT stage, left(key, 12) AS key, seconds, started, device, flow_run
    FROM nodes JOIN (SELECT unnest($keys) AS key) USING (key)
    WHERE stage LIKE 'train%' OR stage = 'fit_probe'
"""


def grid_names(results: Path) -> list[str]:
    """The grids of which some pair is done.

    Raises:
        UsageError: no results yet, or they cannot be read.
    """
    names: list[str] = run_query(results, "SELECT DISTINCT grid FROM pgr ORDER BY grid")["grid"].to_pylist()
    return names


def grid_data(home: Home, grid: str) -> dict[str, Any]:
    """All that the page shows of one grid: names to columns and rows, and to what is known of its latest run.

    Raises:
        UsageError: no results, no such grid in them, or none of its pairs is done.
    """
    if not pgr_table(home.results, grid, "pair").num_rows:
        raise UsageError(f"grid {grid} has no pair with all of its scores yet; `w2s status` says how far it is")
    statements = {
        "pairs": PAIRS,
        "seeds": SEEDS,
        "calibration": CALIBRATION,
        "labels": LABELS,
        "audits": AUDITS,
        "history": HISTORY,
        "published": PUBLISHED,
        "medians": MEDIANS,
    }
    found: dict[str, Any] = {name: _rows(home.results, sql, grid=grid) for name, sql in statements.items()}
    order = places(found["pairs"])
    for row in found["pairs"]:
        row["strong_place"], row["weak_place"] = order[row["strong"]], order[row["weak"]]
    for row in found["seeds"]:
        for score in ("weak_score", "transfer_score", "ceiling_score"):
            row[score] = row[score] and row[score][:KEY_LENGTH]
    found["differences"], found["tests"] = _compared(home.results, grid, found["pairs"])
    found["transcripts"] = spoken(home, grid)
    found["curves"] = _curves(_rows(home.results, CURVES, grid=grid))
    run = _run(home, grid)
    found["trainings"] = run.pop("trainings")
    [rules] = _rows(home.results, RULES, grid=grid)
    return {"grid": grid, "run": run, "rules": rules, **{name: _packed(rows) for name, rows in found.items()}}


def _compared(results: Path, grid: str, pairs: Rows) -> tuple[Rows, Rows]:
    """Differences of each method from others, pair by pair, and over datasets with their tests."""
    methods = list(dict.fromkeys(row["method"] for row in pairs))
    by_pair: Rows = []
    by_method: Rows = []
    for reference in methods[:N_REFERENCES] if len(methods) > 1 else ():
        found = compare_at(results, grid, [reference], ("pair", "method"))
        by_pair += _plain_rows(found["pair"].drop_columns(["interval_of", "n_items", "n_seeds"]))
        by_method += _plain_rows(found["method"])
    return by_pair, by_method


def pairs_of(results: Path, grid: str) -> Rows:
    """The rows of ``pairs`` alone, for figures."""
    rows = _rows(results, PAIRS, grid=grid)
    order = places(rows)
    return [{**row, "strong_place": order[row["strong"]], "weak_place": order[row["weak"]]} for row in rows]


def _rows(results: Path, sql: str, **parameters: Any) -> Rows:
    with reading(results) as connection:
        return _plain_rows(connection.sql(sql, params=parameters or None).to_arrow_table())


def _plain_rows(table: pa.Table) -> Rows:
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def _plain(value: Any) -> Any:
    """As JSON has it, and no more digits than are worth it."""
    if isinstance(value, float):
        return round(value, DECIMALS) if math.isfinite(value) else None
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return value


def _packed(rows: Rows) -> dict[str, Any]:
    """Names once, not with every row."""
    names = list(rows[0]) if rows else []
    return {"names": names, "rows": [[row[name] for name in names] for row in rows]}


def unpacked(packed: Mapping[str, Any]) -> Rows:
    """The rows of a table of ``grid_data``."""
    return [dict(zip(packed["names"], row, strict=True)) for row in packed["rows"]]


def places(pairs: Rows) -> dict[str, int]:
    """Models and supervisors from small to large; those of the same or of no known size from weak to strong."""
    order: TopologicalSorter[str] = TopologicalSorter()
    sizes: dict[str, float] = {}
    for row in pairs:
        order.add(row["strong"], *({row["weak"]} - {row["strong"]}))
        sizes |= {row[role]: row[f"{role}_size"] or 0 for role in ("weak", "strong")}
    try:
        names = list(order.static_order())
    except CycleError:  # models that supervise each other
        names = list(sizes)
    return {name: place for place, name in enumerate(sorted(names, key=lambda name: sizes[name]))}


def _curves(points: Rows) -> Rows:
    """One row per training, its points as lists."""
    curves: dict[tuple[str, str], dict[str, Any]] = {}
    columns = ("fraction", "loss", "gt_accuracy", "label_accuracy")
    for point in points:
        known = {name: point[name] for name in ("dataset", "training", "kind", "method")}
        curve = curves.setdefault((point["dataset"], point["training"]), {**known, **{name: [] for name in columns}})
        for name in columns:
            curve[name].append(point[name])
    return list(curves.values())


def _run(home: Home, grid: str) -> dict[str, Any]:
    """What made the numbers: configuration, versions, machines, hours; ``trainings`` with their keys and seconds."""
    from artifacts.store.grids import Grids

    [recorded] = _rows(home.results, "SELECT run, started, state FROM grids WHERE grid = $grid", grid=grid)
    try:
        runs = [run for run in Grids(home.open_store()).runs(grid) if run.id == recorded["run"]]
    except W2sError:  # the numbers can be looked at where the store cannot
        runs = []
    if not runs:
        return {**recorded, "toml": None, "revisions": {}, "stages": [], "machines": [], "trainings": []}
    [run] = runs
    keys = [node.key for node in run.nodes if node.key is not None]
    began = datetime.datetime.fromisoformat(run.started).replace(tzinfo=None)
    times = {(row["stage"], row["key"]): row for row in _rows(home.results, TIMES, keys=keys)}
    trainings = []
    for node in run.nodes:
        time = node.key and times.get((node.stage, node.key[:KEY_LENGTH]))
        if time:
            trainings.append({"dataset": node.labels.get("dataset"), "training": _training(node), **time})
    return {
        **recorded,
        "toml": _toml(run.config),
        "revisions": dict(run.revisions),
        "stages": _rows(home.results, STAGES, keys=keys, began=began),
        "machines": _rows(home.results, MACHINES, keys=keys),
        "trainings": trainings,
    }


def _training(node: GridNode) -> str:
    """The words of ``concat_ws`` in the SQL above; trainings themselves do not say their kind."""
    kind = node.labels.get("kind") or ("w2s" if node.stage == "train_w2s" else "gt")
    words = [kind, *(node.labels.get(name) for name in ("model", "half", "supervisor", "method", "seed"))]
    return "|".join(str(word) for word in words if word is not None)


def _toml(config: Mapping[str, Any]) -> str:
    """A grid's file that says all that its defaults say."""
    import tomli_w

    text = tomli_w.dumps(_without_none(config))
    return re.sub(r"\[\n((?:    [^\[\]{}\n]+,\n)+)\]", lambda found: f"[{_joined(found[1])}]", text)


def _joined(lines: str) -> str:
    """Short lists stand on one line."""
    joined = " ".join(line.strip() for line in lines.splitlines()).removesuffix(",")
    return joined if len(joined) < LINE else f"\n{lines}"


def _without_none(value: Any) -> Any:
    """TOML has no word for it, and leaving a field out says the same."""
    if isinstance(value, Mapping):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_none(item) for item in value if item is not None]
    return value
