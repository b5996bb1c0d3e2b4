"""Whole runs from the command line, with a real server: killed, interrupted, failing, and two at once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import N_NODES
from tests.homes import DEADLINE_S, LONG, ROOT, Runs, names

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_run_killed_in_the_middle_of_a_training_goes_on_without_repeating_or_unlocking(runs: Runs) -> None:
    grid = runs.grid(training=LONG)
    process = runs.command("run", grid)
    runs.wait_for_training(process)
    os.kill(process.pid, signal.SIGKILL)
    finished = names(process.communicate()[0], "ran")

    code, output = runs.run("run", grid)

    assert code == 0
    assert "sst2 prepare" in finished
    assert not set(finished) & set(names(output, "ran"))
    made = runs.executed()
    assert set(made.values()) == {1}
    assert len(made) == sum(N_NODES.values())
    assert not runs.pids("tasks.workers.worker")


def test_worker_killed_fails_its_node_alone_and_the_next_run_makes_it(runs: Runs) -> None:
    grid = runs.grid(training=LONG)
    process = runs.command("run", grid, "--workers", "1")
    runs.wait_for_training(process)
    [worker] = runs.pids("tasks.workers.worker")
    os.kill(worker, signal.SIGKILL)
    output, _ = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 1
    assert len(names(output, "failed")) == 1
    assert "was killed by SIGKILL" in output
    assert runs.run("run", grid)[0] == 0


def test_interrupted_run_says_how_to_go_on_and_keeps_what_is_finished(runs: Runs) -> None:
    grid = runs.grid(training=LONG)
    process = runs.command("run", grid)
    runs.wait_for_training(process)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 130
    assert f"go on with: w2s run {grid}" in output
    assert "Traceback" not in output
    assert not runs.pids("tasks.workers.worker")
    code, output = runs.run("run", grid)
    assert code == 0
    assert "sst2 prepare" not in names(output, "ran")


def test_two_runs_of_one_grid_at_once_make_each_node_once(runs: Runs) -> None:
    grid = runs.grid()
    both = [runs.command("run", grid) for _ in range(2)]
    outputs = [process.communicate(timeout=DEADLINE_S)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], outputs
    made = runs.executed()
    assert set(made.values()) == {1}
    assert len(made) == sum(N_NODES.values())


def test_two_overlapping_grids_with_one_training_slot_make_each_node_once_and_both_end(runs: Runs) -> None:
    one, other = runs.grid("one", seeds=[0, 1]), runs.grid("other", seeds=[1, 2])
    both = [runs.command("run", grid, "--workers", "1") for grid in (one, other)]
    outputs = [process.communicate(timeout=DEADLINE_S)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], outputs
    assert set(runs.executed().values()) == {1}


def test_failing_dataset_leaves_the_others_finished(runs: Runs) -> None:
    for dataset, label in {"sst2": 0, "boolq": None}.items():
        for split, n_rows in {"train": 60, "test": 20}.items():
            rows = [
                {"sentence": f"row {i}", "label": label}
                if dataset == "sst2"
                else {"passage": f"text {i}", "question": f"is it {i}", "answer": i % 2 == 0}
                for i in range(n_rows)
            ]
            path = runs.folder / "data" / dataset / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    grid = runs.grid(datasets=["sst2", "boolq"], source=str(runs.folder / "data"))

    code, output = runs.run("run", grid)

    assert code == 1
    assert "failed: sst2 prepare: sst2: usable test rows must have both labels, 0 and 1" in output
    assert len(names(output, "blocked")) == sum(N_NODES.values()) - N_NODES["prepare"] - N_NODES["pretrain"]
    assert re.search(r"boolq +s +m +xent", output)


def test_prefect_shows_the_nodes_that_ran_and_a_plan_with_those_reused(runs: Runs) -> None:
    runs.run("run", runs.grid())
    runs.run("run", runs.grid(seeds=[0, 1]))

    code = """
import json, sys, os
from pathlib import Path
from flows.serve.server import local_server
with local_server(Path(os.environ["W2S_HOME"]), lambda line: None):
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        flow_runs = sorted(client.read_flow_runs(), key=lambda run: run.start_time)
        task_runs = [r for r in client.read_task_runs() if r.flow_run_id == flow_runs[-1].id]
        shown = [a for a in client.read_artifacts() if a.flow_run_id == flow_runs[-1].id]
        [artifact] = [a for a in shown if a.key.endswith("-plan")]
        print(json.dumps([
            [run.state.name for run in flow_runs],
            sorted(run.name for run in task_runs),
            [row["status"] for row in json.loads(artifact.data)].count("fresh"),
        ]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "W2S_HOME": str(runs.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    states, task_names, n_reused = json.loads(done.stdout.splitlines()[-1])
    assert states == ["Completed", "Completed"]
    assert task_names == [
        "sst2 score m transfer_train seed 1",
        "sst2 score s weak_train seed 1",
        "sst2 score s->m xent seed 1",
        "sst2 train_gt m transfer_train seed 1",
        "sst2 train_gt s weak_train seed 1",
        "sst2 train_w2s s->m xent seed 1",
        "sst2 weak_labels s seed 1",
    ]
    assert n_reused == sum(N_NODES.values())


def test_run_with_nothing_to_do_starts_no_server(runs: Runs) -> None:
    runs.run("run", runs.grid())
    log = runs.home / "logs" / "server.log"
    before = log.stat().st_size

    code, output = runs.run("run", runs.grid())

    assert code == 0
    assert output.startswith("nothing to do: all")
    assert log.stat().st_size == before
