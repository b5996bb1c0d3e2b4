"""The commands that read: what they print, and their exit codes."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from pathlib import Path

import pytest

from flows.cli import main as cli
from flows.run.session import Session
from tasks.workers.checkpoints import checkpoint_folder
from tests.mutations import command
from tests.toy_runs import drain, finished, open_session


@pytest.fixture
def done() -> Session:
    """A session whose grid is done, in the home that the commands use."""
    home = Path(os.environ["W2S_HOME"])
    finished(home)
    return open_session(home)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code, and what was printed to both streams."""
    sys.argv = ["w2s", *arguments]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


def test_gc_removes_checkpoints_of_nodes_that_no_grid_has(done: Session, capsys: pytest.CaptureFixture[str]) -> None:
    needed = next(iter(done.plan.planned))
    for key, node in {"one": needed, "two": "unknown"}.items():
        folder = checkpoint_folder(done.home.root, key) / "7"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps({"node": node}))
    code, printed = run(capsys, "store", "gc")
    assert code == 0
    assert "checkpoints/two" in printed
    assert [path.name for path in (done.home.root / "checkpoints").iterdir()] == ["one"]


def key_of(session: Session, name: str) -> str:
    [entry] = [e for e in session.plan.planned.values() if e.node.name == name]
    assert entry.key
    return entry.key


def test_explain_tells_what_a_node_reads_makes_and_who_reads_it(
    done: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    key = key_of(done, "sst2 train_gt offline-xs weak_train seed 0")

    code, output = run(capsys, "explain", key[:10])

    assert code == 0
    assert f"key      {key}" in output
    assert "reads    train: prepare" in output
    assert "makes    model: 3 bytes" in output
    assert "read by  weak_labels" in output
    assert "used by  grid toy" in output
    assert 'param    loss: {"loss": "xent", "smoothing": 0.0, "balance_batch": false}' in output


def test_explain_as_json_is_the_manifest(done: Session, capsys: pytest.CaptureFixture[str]) -> None:
    key = key_of(done, "sst2 prepare")

    assert json.loads(run(capsys, "explain", key, "--json")[1])["key"] == key


def test_explain_of_an_unknown_node_says_where_ids_come_from(done: Session, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = run(capsys, "explain", "zzz")

    assert code == 2
    assert output == "w2s: no node or key starts with 'zzz'; `w2s plan GRID --why` lists node ids\n"


def test_explain_of_an_ambiguous_start_asks_for_more(done: Session, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = run(capsys, "explain", "")

    assert code == 2
    assert "give more digits" in output


def test_status_shows_what_is_being_made(done: Session, capsys: pytest.CaptureFixture[str]) -> None:
    with done.store.claim("score", "f" * 64, label="a score"):
        code, output = run(capsys, "status")

    assert code == 0
    assert output.startswith("1 stages running\n  a score: starting or waiting, since ")
    assert "toy: complete" in output


def test_nothing_to_do_is_said_and_recorded(done: Session, capsys: pytest.CaptureFixture[str]) -> None:
    grid = Path(os.environ["W2S_HOME"]).parent / "toy.toml"
    grid.write_text(
        'datasets = ["sst2"]\nmodels = ["offline-xs", "offline-s", "offline-m"]\nmethods = ["xent"]\nname = "again"\n'
        "audit = false\n"
    )

    code, output = run(capsys, "run", str(grid))

    assert code == 0
    assert output.startswith("nothing to do: all ")
    assert "again: complete" in run(capsys, "status")[1]


def test_plan_names_the_grid_that_options_make_and_repeats_them_in_its_advice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, output = run(capsys, "plan", "quick", "--seeds", "0,1", "--set", "training.epochs=4")

    assert code == 0
    assert output.startswith("grid quick-training.epochs-4-seeds-0-1\n") or output.startswith("grid quick-seeds-0-1-tr")
    assert "run them: w2s run quick --seeds 0,1 --set training.epochs=4\n" in output
    assert run(capsys, "plan", "quick", "--seeds", "0,1", "--name", "mine")[1].startswith("grid mine\n")


def test_changed_file_is_said_by_plan_and_its_version_listed(
    done: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "toy.toml"
    text = 'datasets = ["sst2"]\nmodels = ["offline-xs", "offline-s", "offline-m"]\nmethods = ["xent"]\naudit = false\n'
    grid.write_text(text + "seeds = [1]\n")
    said = "toy has changed since its last run (seeds [0] → [1]); what it was stays as toy@1\n"

    assert said in run(capsys, "plan", str(grid))[1]

    drain(open_session(done.home.root, seeds=[1]))
    assert run(capsys, "run", str(grid))[1].startswith(said)
    assert "toy@1: complete, " in run(capsys, "grids")[1]
    run(capsys, "grids", "--drop", "toy@1")
    assert "toy@1" not in run(capsys, "grids")[1]


def test_dropped_grid_frees_its_artifacts_and_has_no_page(done: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert "freed 0 bytes" in run(capsys, "store", "gc")[1]
    run(capsys, "report", "toy")
    assert done.home.report("toy").exists()
    run(capsys, "grids", "--drop", "toy")
    assert not done.home.report("toy").exists()

    _, output = run(capsys, "store", "gc")

    assert "freed 0 bytes" not in output
    assert not list(done.store.manifests())


def test_damaged_artifact_is_found_by_verify(done: Session, capsys: pytest.CaptureFixture[str]) -> None:
    [file] = done.store.root.glob("prepare/*/test.parquet")
    file.unlink()

    code, output = run(capsys, "store", "verify")

    assert code == 1
    assert "test.parquet: missing" in output


def test_foreign_store_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    store = Path(os.environ["W2S_HOME"]) / "store"
    store.mkdir(parents=True)
    (store / "photo.jpg").touch()

    code, output = run(capsys, "plan", "demo")

    assert code == 1
    assert output.count("\n") == 1
    assert "photo.jpg" in output


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "nan", "inf"])
def test_grace_that_is_no_time_is_one_line(
    seconds: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("W2S_GRACE_S", seconds)

    code, output = run(capsys, "models")

    assert code == 2
    assert output.count("\n") == 1
    assert f"W2S_GRACE_S: '{seconds}' is no number of seconds above 0" in output


def test_written_grid_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "grid.toml"
    path.write_text("mine")

    code, _ = run(capsys, "init", str(path))

    assert code == 2
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "plan",
        "run",
        "status",
        "doctor",
        "explain",
        "pgr",
        "compare",
        "figures",
        "report",
        "sql",
        "grids",
        "datasets",
        "models",
        "methods",
    ],
)
def test_every_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = run(capsys, command, "--help")

    assert code == 0
    assert f"Example: w2s {command}" in output


def test_version_is_that_of_the_package() -> None:
    ended = command("--version")
    assert (ended.code, ended.printed) == (0, f"w2s {importlib.metadata.version('w2s')}\n")


def test_results_are_rebuilt_and_counted(done: Session, capsys: pytest.CaptureFixture[str]) -> None:
    before = done.home.results.stat().st_ino
    code, output = run(capsys, "results", "rebuild")
    assert code == 0
    assert "1 grids, " in output
    assert done.home.results.stat().st_ino != before
