"""Landings bring only what differs, and end where building anew does."""

from __future__ import annotations

import dataclasses
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from artifacts import files
from artifacts.errors import Stopped
from artifacts.identity.keys import JSON
from artifacts.results import landing
from artifacts.results.build import build
from artifacts.results.landing import Landing
from artifacts.results.query import run_query
from artifacts.store.grids import Grids
from flows.home import output_kinds
from tests.artifacts.results.test_results import TABLES
from tests.toy_grid import ToyGrid, rights, rows

WEAK, TRANSFER, CEILING = rights(60, 40), rights(70, 30), rights(85, 15)


@pytest.fixture
def grid(tmp_path: Path) -> ToyGrid:
    return ToyGrid(tmp_path)


def land(grid: ToyGrid) -> None:
    grid.run()
    build(grid.store, grid.results, output_kinds)


def differing(one: Path, other: Path) -> list[str]:
    """Tables that have not the same rows."""
    with duckdb.connect() as connection:
        for name, path in (("one", one), ("other", other)):
            connection.execute(f"ATTACH '{path}' AS {name} (READ_ONLY)")
        queries = {
            table: f"(FROM {a}.{table} EXCEPT ALL FROM {b}.{table}) LIMIT 1"
            for table in TABLES
            for a, b in (("one", "other"), ("other", "one"))
        }
        return [table for table, query in queries.items() if connection.execute(query).fetchall()]


class Landed:
    """What landings did from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.copied: list[str] = []
        self.derived: list[int] = []
        copy, derive = Landing._copy, Landing._derive

        def _copy(this: Landing, statement: str, wanted: list[landing._Wanted]) -> None:
            self.copied += [one.key for one in wanted]
            copy(this, statement, wanted)

        def _derive(this: Landing, positions: list[int]) -> None:
            self.derived += positions
            derive(this, positions)

        monkeypatch.setattr(Landing, "_copy", _copy)
        monkeypatch.setattr(Landing, "_derive", _derive)


class World:
    """Grids of one store to which something happens again and again."""

    def __init__(self, root: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.grids = [ToyGrid(root, name) for name in ("toy", "another")]
        self.store, self.results = self.grids[0].store, self.grids[0].results

    def answers(self, skill: float) -> list[bool]:
        return [self.rng.random() < skill for _ in range(40)]

    def some(self) -> ToyGrid:
        return self.rng.choice(self.grids)

    def pair(self) -> None:
        """One more pair, of a few comparisons."""
        grid, seed = self.some(), len(self.grids[0].pairs) + len(self.grids[1].pairs)
        ceiling = self.answers(0.9) if self.rng.random() < 0.8 else None
        dataset, method = self.rng.choice(["boolq", "sciq"]), self.rng.choice(["xent", "logconf"])
        grid.pair(self.answers(0.6), self.answers(0.7), ceiling, dataset=dataset, method=method, seed=seed)

    def rerun(self) -> None:
        """A student has another key, as after an edit of the code."""
        grid = self.some()
        if grid.pairs:
            pair = self.rng.choice(grid.pairs)
            grid.nodes.pop(str(pair["transfer_score"]), None)
            labels: dict[str, JSON] = {"model": "large", "kind": "w2s", "supervisor": "small", "method": "xent"}
            pair["transfer_score"] = grid.score(self.answers(0.7), training={"n_parameters": 5}, **labels)

    def unknown(self) -> None:
        """A score is not known yet in a run that goes on."""
        grid = self.some()
        if grid.pairs:
            self.rng.choice(grid.pairs)["weak_score"] = None

    def others(self) -> None:
        grid, seed = self.some(), self.rng.randrange(100)
        grid.weak_labels(metrics={"accuracy_test": 0.7}, dataset="boolq", model="small", seed=seed)
        grid.audit(self.rng.choice(["ok", "fail"]), code=str(seed % 10) * 64)
        grid.training([{"step": 1, "loss": self.rng.random()}], dataset="boolq", model="small", seed=seed)

    def evict(self) -> None:
        made = [node for node in self.some().nodes.values() if node.stage in ("weak_labels", "train_gt")]
        if made:
            node = self.rng.choice(made)
            self.store.evict(node.stage, str(node.key), "test" if node.stage == "weak_labels" else "model")

    def drop(self) -> None:
        grid = self.some()
        grid.pairs.clear()
        grid.nodes.clear()

    def damage(self) -> None:
        """A file of a score or a curve is cut short, or comes back as it was."""
        made = [node for node in self.some().nodes.values() if node.stage in ("score", "train_gt")]
        if made:
            node = self.rng.choice(made)
            name = "predictions.parquet" if node.stage == "score" else "side/curve.parquet"
            path = self.store.folder(node.stage, str(node.key)) / name
            kept = path.with_suffix(".kept")
            if kept.exists():
                kept.replace(path)
            elif path.exists():
                path.with_suffix(".kept").write_bytes(path.read_bytes())
                path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("seed", "n_landings"), [(0, 3), *(pytest.param(seed, 5, marks=pytest.mark.slow) for seed in range(3))]
)
def test_landings_end_where_building_anew_does(
    seed: int, n_landings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, anew = World(tmp_path, seed), tmp_path / "anew.duckdb"
    events: list[Callable[[], None]] = [
        world.pair, world.pair, world.rerun, world.unknown, world.others, world.evict, world.damage, world.drop,
    ]  # fmt: skip
    for _ in range(3):
        world.pair()
    for _ in range(n_landings):
        for event in world.rng.choices(events, weights=[3, 3, 3, 1, 3, 2, 3, 1], k=3):
            event()
        for grid in world.grids:
            if grid.pairs:
                grid.run()
            elif grid.name in Grids(grid.store).names():
                Grids(grid.store).drop(grid.name)
        with monkeypatch.context() as patch:
            if world.results.exists():
                patch.setattr("artifacts.results.build.by_name", None)  # which is for building anew
            build(world.store, world.results, output_kinds)
        build(world.store, anew, output_kinds, is_anew=True)
        assert differing(world.results, anew) == []


def test_only_what_is_new_is_copied_and_derived(grid: ToyGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    for dataset in ("boolq", "sciq"):
        grid.pair(WEAK, TRANSFER, CEILING, dataset=dataset)
    grid.pair(WEAK, rights(75, 25), CEILING, dataset="sciq", method="logconf")
    made = str(grid.pairs[-1]["transfer_score"])
    known = grid.nodes[made]
    grid.nodes[made] = dataclasses.replace(known, key=None)
    grid.pairs[-1]["transfer_score"] = None
    land(grid)
    landed = Landed(monkeypatch)

    grid.nodes[made] = known
    grid.pairs[-1]["transfer_score"] = made
    land(grid)

    assert landed.copied == [made]
    # All methods of a comparison together, and no other comparison.
    found = rows(grid, f"SELECT grid, dataset, method FROM pairs WHERE position IN {tuple(landed.derived)}")
    assert found == [{"grid": "toy", "dataset": "sciq", "method": method} for method in ("xent", "logconf")]
    assert len(rows(grid, "SELECT gap_se FROM pairs WHERE gap_se > 0")) == 3


def test_landing_of_nothing_new_copies_and_derives_nothing(grid: ToyGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    grid.pair(WEAK, TRANSFER, CEILING)
    grid.weak_labels(model="small")
    grid.audit("ok")
    grid.training([{"step": 1, "loss": 0.7}], dataset="boolq")
    land(grid)
    landed = Landed(monkeypatch)
    monkeypatch.setattr("artifacts.results.landing.curves_table", None)

    land(grid)

    assert (landed.copied, landed.derived) == ([], [])


def test_score_made_again_lands_again(grid: ToyGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    grid.pair(WEAK, TRANSFER, CEILING)
    land(grid)
    key = str(grid.pairs[0]["weak_score"])
    files.remove(grid.store.folder("score", key))
    land(grid)
    assert rows(grid, "FROM pgr") == []

    grid.pair(WEAK, TRANSFER, CEILING)
    grid.pairs.pop()
    land(grid)

    assert len(rows(grid, "FROM pgr WHERE flag IS NULL")) == 1


N_HEADER_BYTES = 12_288
"""What DuckDB reads of a file before it opens it again for its blocks."""


def test_reader_that_has_the_header_of_the_version_before_reads_that_version(grid: ToyGrid, tmp_path: Path) -> None:
    for seed in range(3):
        grid.pair(WEAK * 40, TRANSFER * 40, CEILING * 40, seed=seed)
    land(grid)
    torn, sizes = tmp_path / "torn.duckdb", []
    for n in (3, 3, 1, 1, 1):
        header = grid.results.read_bytes()[:N_HEADER_BYTES]
        before = rows(grid, "SELECT grid, seed, pgr FROM pgr ORDER BY ALL")
        del grid.pairs[n:]
        land(grid)
        sizes.append(grid.results.stat().st_size)

        torn.write_bytes(header + grid.results.read_bytes()[N_HEADER_BYTES:])

        assert run_query(torn, "SELECT grid, seed, pgr FROM pgr ORDER BY ALL").to_pylist() == before
        assert run_query(torn, "SELECT count(prob) AS n FROM predictions").to_pylist() == [{"n": 4000 * 9}]
    assert len(set(sizes)) > 1


def change(results: Path) -> None:
    with duckdb.connect(results) as connection:
        connection.execute("UPDATE scores SET accuracy = 0")


def of_other_version(results: Path) -> None:
    with duckdb.connect(results) as connection:
        connection.execute("UPDATE landing.written SET version = 'other'")
        connection.execute("DROP VIEW pgr")
        (second,) = connection.execute("SELECT second FROM landing.written").fetchone() or (0,)
    os.utime(results, (second, second))


@pytest.mark.parametrize("accident", [change, of_other_version])
def test_results_that_are_not_as_they_were_left_are_built_anew(
    accident: Callable[[Path], None], grid: ToyGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid.pair(WEAK, TRANSFER, CEILING)
    land(grid)
    accident(grid.results)
    landed = Landed(monkeypatch)

    land(grid)

    assert len(landed.copied) == 3
    assert [row["pgr"] for row in rows(grid, "FROM pgr")] == [pytest.approx(0.4)]


def test_outputs_that_become_of_another_kind_land(grid: ToyGrid) -> None:
    grid.score(rights(2, 1), stage="former_score", kind="gt", model="small")
    land(grid)
    assert rows(grid, "FROM predictions") == []

    build(grid.store, grid.results, lambda stage, params: {"predictions": "predictions"})

    assert len(rows(grid, "FROM predictions")) == 3


def test_landing_that_is_stopped_leaves_the_version_before(grid: ToyGrid) -> None:
    grid.pair(WEAK, TRANSFER, CEILING)
    land(grid)
    grid.pair(WEAK, rights(75, 25), CEILING, seed=1)
    grid.run()
    stop = threading.Event()
    stop.set()

    with pytest.raises(Stopped):
        build(grid.store, grid.results, output_kinds, stop=stop)

    assert len(rows(grid, "FROM pgr")) == 1
    assert files.names(grid.results.parent) == ["results.duckdb", "store"]


def test_nodes_of_former_code_and_of_former_grids_are_marked(grid: ToyGrid) -> None:
    grid.pair(WEAK, TRANSFER, CEILING)
    land(grid)
    former = grid.pairs[0]["transfer_score"]
    assert rows(grid, "SELECT DISTINCT is_current FROM nodes") == [{"is_current": True}]

    grid.nodes.pop(str(former))
    grid.pairs.clear()
    grid.pair(WEAK, rights(75, 25), CEILING)
    land(grid)

    assert rows(grid, "SELECT key FROM nodes WHERE NOT is_current") == [{"key": former}]
    # What is compared is not the same nodes: the former definition has a name of its own.
    assert rows(grid, "SELECT grid, is_current FROM grids ORDER BY grid") == [
        {"grid": "toy", "is_current": True},
        {"grid": "toy@1", "is_current": False},
    ]
