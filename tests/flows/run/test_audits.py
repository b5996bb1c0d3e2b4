"""The commands that look at data: ``w2s audit``, ``w2s show`` and ``w2s datasets``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifacts.results.query import run_query
from flows.cli import main as cli
from flows.home import Home
from flows.plan.load import parse_grid
from flows.run.audits import all_there
from flows.run.session import Session
from tasks.workers.execute import Executor
from tasks.workers.pool import Pool
from tests.places import ROOT
from w2s_core.data.datasets import DATASETS

TICK = threading.Event()
"""Never set: to wait for what another process does."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows of sst2 whose positive sentences all begin with the same word, and sound rows of sciq."""
    rows = {
        "sst2": [
            {"sentence": f"{'surely' if i % 2 else 'perhaps'} film {i} of {i * 37 % 101}", "label": i % 2}
            for i in range(400)
        ],
        "sciq": [
            {"question": f"which of {i}?", "correct_answer": f"item {i * 7}"}
            | {f"distractor{k}": f"item {i * 7 + k}" for k in (1, 2, 3)}
            for i in range(200)
        ],
    }
    for name, lines in rows.items():
        (tmp_path / name).mkdir()
        n_test = len(lines) // 4
        for split, part in {"train": lines[n_test:], "test": lines[:n_test]}.items():
            text = "".join(json.dumps(line) + "\n" for line in part)
            (tmp_path / name / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, what was printed, and what was complained of."""
    sys.argv = ["w2s", *arguments]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_rows_that_tell_their_label_are_told_of_and_can_be_asked_for_in_sql(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output, _ = run(capsys, "audit", "sst2", "sciq", "--source", str(folder))

    assert code == 0
    assert "\nfail: sst2: train: " in output
    assert "\nok: sciq: nothing was found" in output

    _, output, _ = run(capsys, "audit", "sst2", "--source", str(folder), "--format", "json")

    failed = {check["check"] for check in json.loads(output) if check["verdict"] == "fail"}
    results = Path(os.environ["W2S_HOME"]) / "results.duckdb"
    found = run_query(results, "SELECT DISTINCT \"check\" FROM audits WHERE verdict = 'fail'")
    assert set(found["check"].to_pylist()) == failed != set()


def test_all_of_a_folder_are_the_datasets_that_it_holds(folder: Path) -> None:
    def chosen(source: Path | str) -> list[str]:
        return list(all_there(parse_grid({"datasets": DATASETS.names(), "source": str(source)}, "test")).datasets)

    assert chosen(folder) == ["sst2", "sciq"]
    assert chosen(folder / "no") == chosen("offline") == DATASETS.names()


def test_a_dataset_that_cannot_be_read_hides_no_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sst2" / "train.jsonl").write_text("", encoding="utf-8")

    code, output, complaint = run(capsys, "audit", "sst2,sciq", "sciq", "--source", str(folder))

    assert code == 1
    assert "\nok: sciq: nothing was found" in output
    assert complaint == "w2s: sst2: there must be train rows of both labels, 0 and 1, but there is no row\n"


def test_no_dataset_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "audit", ",") == (2, "", "w2s: DATASETS: name at least one; `w2s datasets` lists them\n")


def test_interrupted_audit_ends_without_finishing_what_it_was_at(tmp_path: Path) -> None:
    rows = [{"sentence": f"film {i}", "label": i % 2} for i in range(300_000)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    for split, n_chars in (("train", None), ("test", 10_000)):
        (tmp_path / "sst2").mkdir(exist_ok=True)
        (tmp_path / "sst2" / f"{split}.jsonl").write_text(text[:n_chars].rpartition("\n")[0], encoding="utf-8")
    home = Home(Path(os.environ["W2S_HOME"]))
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli.main", "audit", "sst2", "--source", str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The log of a worker is there when it has been started.
    while not (home.logs / "worker-0.log").exists() and process.poll() is None:
        TICK.wait(0.02)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate()

    assert process.returncode == 130
    assert complaint == "w2s: interrupted; finished audits stay, the same command does the others\n"
    assert not list(home.open_store().manifests())


def test_unknown_dataset_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, complaint = run(capsys, "audit", "sst3")

    assert code == 2
    assert complaint == "w2s: datasets: unknown dataset 'sst3'; did you mean sst2?\n"


def test_dataset_that_cannot_be_prepared_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sst2" / "test.jsonl").write_text('{"sentence": "a film", "label": -1}\n', encoding="utf-8")

    for command in ("audit", "show"):
        code, _, complaint = run(capsys, command, "sst2", "--source", str(folder))

        assert code == 1
        assert complaint.count("\n") == 1
        assert "label" in complaint


def test_examples_are_shown_as_models_read_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run(capsys, "show", "sciq", "--source", str(folder), "--n", "1", "--json")

    assert code == 0
    first, second = json.loads(output)
    assert first["group"] == second["group"]
    assert {first["gt_label"], second["gt_label"]} == {0, 1}
    assert first["text"].startswith("Q: which of ")


def test_examples_are_printed_with_label_and_group(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, output, _ = run(capsys, "show", "sciq", "--source", str(folder), "--n", "1")

    assert output.count("Q: which of ") == output.count("label ") == 2


def test_examples_are_shown_to_the_letter(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = " ".join(f"word {i} :smile: [b]" for i in range(40))
    for split in ("train", "test"):
        rows = [{"sentence": f"{split} {i} {long}", "label": i % 2} for i in range(20)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "sst2" / f"{split}.jsonl").write_text(text, encoding="utf-8")

    _, output, _ = run(capsys, "show", "sst2", "--source", str(folder), "--n", "1")

    assert f" {long}\nPositive?\n" in output


def test_every_dataset_is_listed_once(capsys: pytest.CaptureFixture[str]) -> None:
    _, output, _ = run(capsys, "datasets", "--format", "json")

    assert [row["dataset"] for row in json.loads(output)] == DATASETS.names()


def prepared(home: Path, n_workers: int) -> dict[str, list[str]]:
    """Digests of what so many workers at a time prepare, by dataset."""
    grid = {"name": "data", "datasets": ["sst2", "sciq", "boolq", "wic"]}
    small = {"n_train": 100, "n_validation": 20, "n_test": 40}
    session = Session.open(parse_grid({**grid, "data": small}, "test"), Home(home))
    entries = [entry for entry in session.plan.planned.values() if entry.node.stage == "prepare"]
    orders = [session.keys.order(entry.node, entry.code, {}) | {"remake": False} for entry in entries]
    with (
        Pool(n_workers=n_workers, threads=1, home=home, gpus=[]) as pool,
        ThreadPoolExecutor(n_workers) as threads,
    ):
        executor = Executor(session.store, home, pool, device="cpu", runtime=session.config.runtime.model_dump())
        list(threads.map(executor.execute, orders))
    return {m.labels["dataset"]: [o.digest for o in m.outputs.values()] for m in session.store.manifests()}


@pytest.mark.slow
def test_what_is_prepared_depends_on_no_number_of_workers(tmp_path: Path) -> None:
    alone, together = prepared(tmp_path / "one", 1), prepared(tmp_path / "three", 3)

    assert alone == together
    assert len(alone) == 4
