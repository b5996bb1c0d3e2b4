"""``results.duckdb``: what its tables and views say of grids whose every answer is known, and how it is replaced."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from artifacts import files
from artifacts.errors import CorruptArtifact
from artifacts.identity.keys import JSON
from artifacts.results.build import build
from artifacts.store.grid_runs import GridRun
from artifacts.store.grids import Grids
from flows.home import output_kinds
from tests.places import ROOT
from tests.toy_grid import FLOW_RUN, ToyGrid, built, rights, rows

TABLES = (
    "nodes",
    "scores",
    "audits",
    "predictions",
    "labels",
    "curves",
    "grids",
    "pairs",
    "outcomes",
    "uncertainty",
    "agreement_uncertainty",
)
VIEWS = (
    "weak_labels",
    "label_quality",
    "pgr",
    "pgr_by_pair",
    "pgr_by_dataset",
    "pgr_by_method",
    "agreement",
    "agreement_by_pair",
    "errors",
    "paired_probs",
    "correction_by_confidence",
    "misfit",
    "calibration",
    "inheritance_by_size",
)
BUILDER = """
import sys
from pathlib import Path
from artifacts.results.build import build
from flows.home import output_kinds
from artifacts.store.local import LocalStore
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    build(LocalStore(Path(sys.argv[1]) / "store"), Path(sys.argv[1]) / "results.duckdb", output_kinds)
"""


@pytest.fixture
def grid(tmp_path: Path) -> ToyGrid:
    return ToyGrid(tmp_path)


def everything(grid: ToyGrid) -> dict[str, list[dict[str, JSON]]]:
    with duckdb.connect(grid.results, read_only=True) as connection:
        names = TABLES + VIEWS
        return {name: connection.sql(f"FROM {name} ORDER BY ALL").to_arrow_table().to_pylist() for name in names}


def rows_of_score(grid: ToyGrid, key: str) -> set[float]:
    """The probabilities that a score has."""
    path = grid.store.output_path("score", key, "predictions")
    return set(pq.read_table(path)["prob"].to_pylist())


def start_builder(grid: ToyGrid, times: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(grid.results.parent), str(times)]
    builder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert builder.stdout is not None
    assert builder.stdout.readline() == "ready\n"
    return builder


def end(builder: subprocess.Popen[str]) -> None:
    builder.communicate(timeout=600)
    assert builder.returncode == 0


def test_empty_store_gives_empty_tables_and_views(grid: ToyGrid) -> None:
    grid.results.unlink()
    build(grid.store, grid.results, output_kinds)
    assert everything(grid) == {name: [] for name in TABLES + VIEWS}


def test_pgr_is_the_share_of_the_gap_recovered(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    (row,) = built(grid, "SELECT * EXCLUDE (pgr_low, pgr_high) FROM pgr")
    assert row == {
        "grid": "toy", "dataset": "boolq", "weak": "small", "strong": "large", "method": "xent", "seed": 0,
        "weak_acc": 0.6, "transfer_acc": 0.7, "ceiling_acc": 0.85, "gap": pytest.approx(0.25),
        "pgr": pytest.approx(0.4), "flag": None, "near_chance": None, "supervisor_acc": 0.6, "ceiling_plain_acc": 0.85,
        "pgr_plain": pytest.approx(0.4), "label_certainty": None,
    }  # fmt: skip


@pytest.mark.parametrize("ceiling", [rights(60, 40), rights(50, 50)], ids=["equal", "below"])
def test_pgr_is_undefined_when_the_ceiling_does_not_exceed_the_floor(grid: ToyGrid, ceiling: list[bool]) -> None:
    grid.pair(rights(60, 40), rights(70, 30), ceiling)
    (row,) = built(grid, "SELECT pgr, flag FROM pgr")
    assert row == {"pgr": None, "flag": "undefined"}


def test_gap_below_two_standard_errors_is_unstable(grid: ToyGrid) -> None:
    # 10 items only for the supervisor, 14 only for the ceiling: a gap of 0.04, with a standard error of 0.049.
    grid.pair(rights(60, 40), rights(62, 38), rights(50, 10, 14, 26))
    (row,) = built(grid, "SELECT pgr, flag FROM pgr")
    assert row == {"pgr": pytest.approx(0.5), "flag": "unstable"}


def test_pair_over_seeds_has_the_ratio_of_the_means(grid: ToyGrid) -> None:
    grid.pair(rights(50, 50), rights(60, 40), rights(90, 10), seed=0)  # PGR 0.25
    grid.pair(rights(60, 40), rights(80, 20), rights(80, 20), seed=1)  # PGR 1
    (row,) = built(grid, "FROM pgr_by_pair")
    assert row["gap"] == pytest.approx(0.3)
    assert row["pgr"] == pytest.approx(0.15 / 0.3)
    # Neither seed is flagged by itself; but two that differ so much say nothing together.
    assert (row["n_seeds"], row["n_flagged"], row["flag"]) == (2, 0, "unstable")


def test_flagged_seeds_count_in_the_means(grid: ToyGrid) -> None:
    grid.pair(rights(50, 50), rights(60, 40), rights(90, 10), seed=0)
    grid.pair(rights(60, 40), rights(64, 36), rights(50, 10, 14, 26), seed=1)  # PGR 1, unstable
    (row,) = built(grid, "FROM pgr_by_pair")
    assert row["pgr"] == pytest.approx(0.07 / 0.22)
    assert (row["n_seeds"], row["n_flagged"]) == (2, 1)


def test_pair_is_flagged_by_its_means(grid: ToyGrid) -> None:
    grid.pair(rights(50, 50), rights(60, 40), rights(60, 40), seed=0)
    grid.pair(rights(60, 40), rights(60, 40), rights(40, 60), seed=1)
    (row,) = built(grid, "SELECT pgr, pgr_low, pgr_high, flag FROM pgr_by_pair")
    assert row == {"pgr": None, "pgr_low": None, "pgr_high": None, "flag": "undefined"}


def test_pair_names_the_trainings_that_stayed_near_chance(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15), seed=0)
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15), seed=1)
    labels: dict[str, JSON] = {"model": "large", "kind": "w2s", "supervisor": "small", "method": "xent", "seed": 1}
    grid.pairs[1]["transfer_score"] = grid.score(rights(50, 50), training={"near_chance": True}, **labels)
    assert built(grid, "SELECT near_chance FROM pgr ORDER BY seed") == [
        {"near_chance": None},
        {"near_chance": "transfer"},
    ]
    assert rows(grid, "SELECT near_chance FROM pgr_by_pair") == [{"near_chance": "transfer"}]


def test_unstable_pair_has_no_interval(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(62, 38), rights(50, 10, 14, 26))
    (row,) = built(grid, "SELECT pgr_low, pgr_high, flag FROM pgr_by_pair")
    assert row == {"pgr_low": None, "pgr_high": None, "flag": "unstable"}


def test_summaries_are_over_the_pairs_that_are_not_flagged(grid: ToyGrid) -> None:
    weak, ceiling = rights(50, 50), rights(90, 10)
    for index, right in enumerate([54, 58, 78]):  # PGR 0.1, 0.2, 0.7
        grid.pair(weak, rights(right, 100 - right), ceiling, names=("small", f"large-{index}"))
    grid.pair(weak, rights(90, 10), weak, names=("small", "hopeless"))
    grid.pair(weak, weak, ceiling, dataset="sciq")  # PGR 0
    by_dataset = built(grid, "FROM pgr_by_dataset ORDER BY dataset")
    (by_method,) = rows(grid, "FROM pgr_by_method")
    wanted = ("median_pgr", "mean_pgr", "n_pairs", "n_flagged")
    assert [by_dataset[0][name] for name in wanted] == [pytest.approx(0.2), pytest.approx(1 / 3), 4, 1]
    assert [by_dataset[1][name] for name in wanted] == [0, 0, 1, 0]
    assert [by_method[name] for name in wanted] == [pytest.approx(0.15), pytest.approx(0.25), 5, 1]


def test_agreement_is_counted_apart_where_the_supervisor_is_right_and_wrong(grid: ToyGrid) -> None:
    # Of 6 items that the supervisor has right the student has 5; of its 4 errors the student repeats 3.
    grid.pair(rights(6, 4), rights(5, 1, 1, 3), rights(10))
    (row,) = built(grid, "FROM agreement")
    row = {name: value for name, value in row.items() if not name.endswith(("_low", "_high"))}
    assert row == {
        "grid": "toy", "dataset": "boolq", "weak": "small", "strong": "large", "method": "xent", "seed": 0, "n": 10,
        "weak_acc": 0.6, "transfer_acc": 0.6, "agreement": 0.8, "agreement_right": pytest.approx(5 / 6),
        "agreement_wrong": 0.75,
    }  # fmt: skip


def test_agreement_and_accuracies_satisfy_their_identity(grid: ToyGrid) -> None:
    rng = random.Random(1)
    for seed in range(5):
        weak, transfer, ceiling = ([rng.random() < skill for _ in range(50)] for skill in (0.6, 0.7, 0.8))
        grid.pair(weak, transfer, ceiling, seed=seed)
    found = built(grid, "FROM agreement JOIN pgr USING (grid, dataset, weak, strong, method, seed)")
    assert len(found) == 5
    for row in found:
        right, wrong, accuracy = row["agreement_right"], row["agreement_wrong"], row["weak_acc"]
        assert row["transfer_acc"] == pytest.approx(right * accuracy + (1 - wrong) * (1 - accuracy))


def test_agreement_is_null_where_the_supervisor_makes_no_error(grid: ToyGrid) -> None:
    grid.pair(rights(4), rights(3, 1), rights(4))
    (row,) = built(grid, "SELECT agreement_right, agreement_wrong FROM agreement")
    assert row == {"agreement_right": 0.75, "agreement_wrong": None}


def test_predictions_are_joined_by_id(grid: ToyGrid) -> None:
    weak = rights(6, 4)
    grid.pair(weak, weak, rights(10))
    shuffled = grid.score(weak, reverse=True, kind="w2s", model="large", supervisor="small", method="xent")
    grid.pairs[0]["transfer_score"] = shuffled
    (row,) = built(grid, "SELECT agreement FROM agreement")
    assert row["agreement"] == 1


def test_probability_of_one_half_is_class_0(grid: ToyGrid) -> None:
    weak = rights(6, 4)
    grid.pair(weak, weak, rights(10))
    unsure = grid.score(weak, low=0.5, kind="w2s", model="large", supervisor="small", method="xent")
    grid.pairs[0]["transfer_score"] = unsure
    (row,) = built(grid, "SELECT agreement FROM agreement")
    assert row["agreement"] == 1


@pytest.mark.parametrize(("n_of_class_0", "agreement"), [(10, 1.0), (0, 0.0)])
def test_supervisor_at_one_half_says_class_0_and_does_not_tie(
    grid: ToyGrid, n_of_class_0: int, agreement: float
) -> None:
    # Truth takes turns, so that these answers are class 0 everywhere, or class 1 everywhere.
    always_0, always_1 = rights(*[1] * 10), rights(0, *[1] * 10)
    grid.pair(always_0, always_0 if n_of_class_0 else always_1, rights(10))
    undecided = grid.score(always_0, low=0.5, kind="gt", model="small", supervisor=None, method=None)
    assert rows_of_score(grid, undecided) == {0.5}
    grid.pairs[0]["weak_score"] = undecided
    (row,) = built(grid, "SELECT weak_acc, agreement FROM agreement")
    assert row == {"weak_acc": 0.5, "agreement": agreement}


@pytest.mark.parametrize(("certainty", "mark"), [(0.014, "labels"), (0.049, "labels"), (0.05, None), (0.3, None)])
def test_pair_whose_student_saw_labels_that_say_little_is_marked(
    certainty: float, mark: str | None, grid: ToyGrid
) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    said: dict[str, JSON] = {"near_chance": False, "label_certainty": certainty}
    labels: dict[str, JSON] = {"model": "large", "kind": "w2s", "supervisor": "small", "method": "soft"}
    grid.pairs[0]["transfer_score"] = grid.score(rights(50, 50), training=said, **labels)

    assert built(grid, "SELECT near_chance, label_certainty FROM pgr") == [
        {"near_chance": mark, "label_certainty": certainty}
    ]
    assert rows(grid, "SELECT near_chance FROM pgr_by_pair") == [{"near_chance": mark}]


def test_self_training_is_in_scores_and_agreement_but_has_no_pgr(grid: ToyGrid) -> None:
    grid.pair(rights(6, 4), rights(7, 3), None, names=("small", "small"))
    assert built(grid, "FROM pgr") == []
    assert len(rows(grid, "FROM scores")) == 2
    assert [row["agreement"] for row in rows(grid, "FROM agreement")] == [0.9]


def test_scores_have_the_labels_of_the_grid(grid: ToyGrid) -> None:
    grid.pair(rights(6, 4), rights(7, 3), rights(9, 1), seed=3)
    found = built(grid, "SELECT * EXCLUDE key FROM scores WHERE kind = 'w2s'")
    assert found == [
        {
            "grid": "toy", "dataset": "boolq", "kind": "w2s", "model": "large", "half": "transfer_train",
            "supervisor": "small", "method": "xent", "seed": 3, "split": "test", "n": 10, "accuracy": 0.7,
            "auroc": None, "brier": 0.1, "ece": 0.1, "near_chance": False, "label_certainty": None,
            "n_parameters": None,
        }
    ]  # fmt: skip


def test_nodes_say_what_every_artifact_is(grid: ToyGrid) -> None:
    key = grid.weak_labels(dataset="boolq", model="small", seed=0)
    (row,) = built(grid, "SELECT *, params ->> 'seed' AS param, started::VARCHAR AS at FROM nodes")
    assert (row["stage"], row["key"], row["node"]) == ("weak_labels", key, key[::-1])
    assert (row["dataset"], row["model"], row["seed"], row["method"]) == ("boolq", "small", 0, None)
    assert (row["torch"], row["transformers"], row["host"], row["seconds"]) == ("2.8.0", "5.0.0", "here", 1.5)
    assert (row["param"], row["at"], row["flow_run"]) == ("0", "2026-01-02 03:04:05", FLOW_RUN)


def test_evicted_output_takes_no_room(grid: ToyGrid) -> None:
    key = grid.weak_labels(model="small")
    (before,) = built(grid, "SELECT size_bytes, evicted FROM nodes")
    grid.nodes.clear()
    grid.store.evict("weak_labels", key, "test")
    (after,) = built(grid, "SELECT size_bytes, evicted FROM nodes")
    assert (before["evicted"], after["evicted"]) == (False, True)
    assert after["size_bytes"] == before["size_bytes"] / 2


STUDENT = {
    "dataset": "boolq", "model": "large", "half": "transfer_train", "supervisor": "small", "method": "logconf",
    "seed": 2,
}  # fmt: skip


def test_curves_have_the_labels_of_their_training(grid: ToyGrid) -> None:
    numbers = {
        "fraction": 1.0, "loss": 0.5, "lr": 0.1, "label_disagree": 0.3, "alpha": 0.25, "hardened_disagree": 0.2,
        "examples_per_s": 8.0, "tokens_per_s": 90.0, "gt_accuracy": 0.75, "label_accuracy": 0.5,
    }  # fmt: skip
    grid.training([{"step": 1, **numbers, "grad_norm": 2.0}], stage="train_w2s", **STUDENT)
    (row,) = built(grid, "SELECT * EXCLUDE key FROM curves")
    assert row == {"grid": "toy", "kind": "w2s", **STUDENT, "step": 1, **numbers}


def test_curves_may_lack_columns_and_files(grid: ToyGrid) -> None:
    grid.training([{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.6}], dataset="boolq", model="small")
    grid.training([{"step": 1, "loss": 3}], stage="pretrain", model="small")
    for name, damage in {"lost": Path.unlink, "damaged": lambda path: path.write_bytes(b"x")}.items():
        key = grid.training([{"step": 1, "loss": 0.7}], model=name)
        damage(grid.store.folder("train_gt", key) / "side" / "curve.parquet")
    grid.score(rights(6, 4), kind="gt", model="small")
    found = built(grid, "SELECT kind, dataset, model, step, loss, alpha FROM curves ORDER BY kind, step")
    names = ("kind", "dataset", "model", "step", "loss", "alpha")
    assert found == [
        dict(zip(names, row, strict=True))
        for row in (
            ("gt", "boolq", "small", 1, 0.7, None),
            ("gt", "boolq", "small", 2, 0.6, None),
            ("pretrain", None, "small", 1, 3.0, None),
        )
    ]


def test_only_the_latest_run_of_a_grid_is_in_its_scores(grid: ToyGrid) -> None:
    grid.pair(rights(6, 4), rights(7, 3), rights(9, 1))
    built(grid, "FROM pgr")
    before = list(grid.nodes.values())
    grid.nodes.clear()
    grid.pairs.clear()
    grid.pair(rights(6, 4), rights(8, 2), rights(9, 1))
    # The same nodes, whose code was edited.
    for (key, node), old in zip(list(grid.nodes.items()), before, strict=True):
        grid.nodes[key] = dataclasses.replace(node, node=old.node)
    grid.run("failed")
    build(grid.store, grid.results, output_kinds)
    assert [row["transfer_acc"] for row in rows(grid, "FROM pgr")] == [0.8]
    assert len(rows(grid, "FROM scores")) == 3
    assert rows(grid, "SELECT count(DISTINCT key) AS n FROM predictions") == [{"n": 3}]
    assert len(rows(grid, "FROM nodes")) == 4


def test_grids_that_share_scores_have_rows_of_their_own(grid: ToyGrid, tmp_path: Path) -> None:
    other = ToyGrid(tmp_path, "other")
    for one in (grid, other):
        one.pair(rights(60, 40), rights(70, 30), rights(85, 15))
        one.run()
    build(grid.store, grid.results, output_kinds)
    assert [row["grid"] for row in rows(grid, "SELECT grid FROM pgr ORDER BY grid")] == ["other", "toy"]
    assert rows(grid, "SELECT count(*) AS n FROM predictions") == [{"n": 300}]


def test_methods_that_share_a_score_are_not_counted_twice(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    shared = dict(grid.pairs[0], method="logconf")
    grid.pairs.append(shared)
    key = str(shared["transfer_score"])
    twin = dataclasses.replace(grid.nodes[key], labels={**grid.nodes[key].labels, "method": "logconf"})
    grid.nodes["twin"] = twin
    assert len(built(grid, "FROM pgr")) == 2
    assert len(rows(grid, "FROM scores")) == 4


def test_running_grid_shows_what_is_known(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15), seed=0)
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15), seed=1)
    for name in ("transfer_score", "ceiling_score"):
        unknown = str(grid.pairs[1][name])
        grid.nodes[unknown] = dataclasses.replace(grid.nodes[unknown], key=None)
        grid.pairs[1][name] = None
    run = GridRun({"name": "toy"}, {}, list(grid.nodes.values()), grid.pairs)
    Grids(grid.store).start(run)
    build(grid.store, grid.results, output_kinds)
    assert [row["seed"] for row in rows(grid, "FROM pgr")] == [0]
    assert len(rows(grid, "FROM scores")) == 4
    assert len(rows(grid, "FROM pairs")) == 2


def test_broken_score_is_left_out(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    (grid.store.output_path("score", str(grid.pairs[0]["weak_score"]), "predictions")).unlink()
    assert built(grid, "FROM pgr") == []
    assert len(rows(grid, "FROM scores")) == 2


def test_damaged_table_is_named(grid: ToyGrid) -> None:
    path = grid.store.output_path("score", grid.score(rights(6, 4), kind="gt", model="small"), "predictions")
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(CorruptArtifact, match=f"{path.parent.name}.*w2s store verify"):
        built(grid, "FROM scores")


def test_failed_build_leaves_the_old_version_and_nothing_else(grid: ToyGrid) -> None:
    assert built(grid, "FROM scores") == []
    path = grid.store.output_path("score", grid.score(rights(6, 4), kind="gt", model="small"), "predictions")
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(CorruptArtifact):
        built(grid, "FROM scores")
    assert rows(grid, "FROM scores") == []
    assert files.names(grid.results.parent) == ["results.duckdb", "store"]


def test_tables_are_copied_so_that_a_missing_file_breaks_no_query(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    key = grid.weak_labels(model="small")
    grid.run()
    build(grid.store, grid.results, output_kinds)
    files.remove(grid.store.root)
    assert len(rows(grid, "FROM agreement")) == 1
    assert rows(grid, "FROM weak_labels ORDER BY split, id") == [
        {"key": key, "split": split, "id": id, "weak_prob": prob}
        for split in ("test", "transfer_train")
        for id, prob in (("a", 0.2), ("b", 0.7))
    ]


def lose_nothing(grid: ToyGrid) -> None:
    """The file stays."""


def lose_results(grid: ToyGrid) -> None:
    grid.results.unlink()


def kill_a_builder(grid: ToyGrid) -> None:
    """What one leaves that was killed while writing."""
    grid.results.with_name("results.duckdb.new").write_bytes(b"half a file")
    grid.results.with_name("results.duckdb.new.wal").write_bytes(b"half a log")


@pytest.mark.parametrize("accident", [lose_nothing, lose_results, kill_a_builder])
def test_another_build_gives_equal_content(grid: ToyGrid, accident: Callable[[ToyGrid], None]) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    grid.pair(rights(6, 4), rights(7, 3), None, names=("small", "small"))
    grid.weak_labels(model="small")
    grid.run()
    build(grid.store, grid.results, output_kinds)
    before = everything(grid)
    accident(grid)
    build(grid.store, grid.results, output_kinds)
    assert everything(grid) == before
    assert files.names(grid.results.parent) == ["results.duckdb", "store"]


@pytest.mark.slow
def test_readers_never_fail_while_others_build(grid: ToyGrid) -> None:
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    grid.run()
    build(grid.store, grid.results, output_kinds)
    builders = [start_builder(grid, times=4) for _ in range(2)]
    for _ in range(2_000):
        assert len(rows(grid, "FROM pgr")) == 1
        if all(builder.poll() is not None for builder in builders):
            break
    for builder in builders:
        end(builder)


def test_builder_lists_the_store_when_its_turn_has_come(grid: ToyGrid) -> None:
    grid.results.unlink()
    turn = files.lock(grid.results.with_suffix(".lock"))
    assert turn is not None
    builder = start_builder(grid, times=1)
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    grid.run()
    assert not grid.results.exists()
    turn.release(remove=True)
    end(builder)
    assert len(rows(grid, "FROM pgr")) == 1


def test_unreadable_grid_file_is_named(grid: ToyGrid) -> None:
    grid.run()
    (grid.store.root / "grids" / "toy.json").write_text("{}")
    with pytest.raises(CorruptArtifact, match=r"toy\.json"):
        build(grid.store, grid.results, output_kinds)
