"""``w2s up`` with a real server: deployments run, share work, and leave no process behind."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifacts.store.grids import Grids
from artifacts.store.local import LocalStore
from artifacts.waiting import STOPPED
from tests.artifacts.identity.test_matrix import ALONE
from tests.harness import N_NODES, Project
from tests.up import DEADLINE_S, ENDED, TICK, Up

pytestmark = pytest.mark.slow

DATASETS = ["sst2", "boolq"]
ERROR = 40
"""The level, as Prefect has it."""

SHOWN = ("plan", "progress", "curves", "pgr", "costs", "figures", "audit", "report")
"""What a run of a grid leaves in the UI; here curves are of the pretrainings, which no dataset's run has."""

N_SHARED = N_NODES["pretrain"]
N_SUBMITS = 100
N_PER_DATASET = sum(N_NODES.values()) - N_SHARED


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that runs for all tests that leave it running."""
    yield from running(Up(tmp_path_factory.mktemp("up")))


@pytest.fixture
def own_up(tmp_path: Path) -> Iterator[Up]:
    """One of a test's own, to be stopped by it."""
    yield from running(Up(tmp_path))


def running(up: Up) -> Iterator[Up]:
    try:
        up.start()
        yield up
    finally:
        if up.process is not None:
            with contextlib.suppress(ProcessLookupError):
                up.stop(signal.SIGTERM)
    up.wait_until_gone()


def test_grid_runs_in_one_flow_run_per_dataset_and_then_has_nothing_to_do(up: Up) -> None:
    grid = {"preset": "quick", "file": up.grid("first", datasets=DATASETS, audit=True)}
    id = up.submit("grid/quick-grid", grid=grid)
    run = up.wait_for(id)

    n_nodes = N_SHARED + 2 * (N_PER_DATASET + 1)
    assert run["state"]["message"] == f"{n_nodes} stages ran, 0 reused", up.log()
    assert run["name"] == "first · sst2, boolq · xent"
    children = up.children(id)
    assert [child["name"] for child in children] == ["first boolq", "first sst2"]
    assert [child["tags"] for child in children] == [["boolq"], ["sst2"]]
    assert {child["state"]["message"] for child in children} == {f"{N_PER_DATASET + 1} stages ran, 2 reused"}
    artifacts = up.artifacts(id)
    assert set(artifacts) == {f"first-{what}" for what in SHOWN}
    assert len(json.loads(artifacts["first-plan"])) == n_nodes
    assert [row["dataset"] for row in json.loads(artifacts["first-pgr"])] == DATASETS
    assert artifacts["first-progress"] == 100

    id = up.submit("grid/quick-grid", grid=grid)
    run = up.wait_for(id)
    assert run["state"]["type"] == "COMPLETED"
    assert run["state"]["message"] == f"nothing to do: all {n_nodes} stages are fresh"
    again = up.artifacts(id)
    assert set(again) == {"first-pgr", "first-costs", "first-figures", "first-report"}
    assert "](/report/first)" in again["first-report"]
    assert up.children(id) == []
    assert Grids(LocalStore(up.home / "store")).names() == ["first"]


def test_code_changed_between_two_runs_of_a_deployment_reruns_the_stages_that_reach_it(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.copy_code()
    for up in running(Up(tmp_path, code=project.code)):
        grid = {"preset": "quick", "file": up.grid("edited")}
        assert (
            up.wait_for(up.submit("grid/quick-grid", grid=grid))["state"]["message"]
            == f"{sum(N_NODES.values())} stages ran, 0 reused"
        )
        project.edit(*ALONE["score"][0])

        run = up.wait_for(up.submit("grid/quick-grid", grid=grid))

        n_scores = N_NODES["score"]
        assert run["state"]["message"] == f"{n_scores} stages ran, {sum(N_NODES.values()) - n_scores} reused"
        assert Counter(stage for stage, _ in up.executed()) == N_NODES | {"score": 2 * n_scores}


def test_error_of_the_user_fails_at_the_start_with_the_line_of_the_command_line_and_no_more(up: Up) -> None:
    wrong = [
        up.grid("wrong", pairs=[["m", "s"]]),
        up.grid("unreadable", source={"kind": "folder", "path": str(up.folder / "nowhere")}),
        str(up.folder / "no.toml"),
    ]
    ids = [up.submit("grid/quick-grid", f"try {path}", grid={"file": path}) for path in wrong]

    runs = [up.wait_for(id) for id in ids]

    assert [run["name"] for run in runs] == [f"try {path}" for path in wrong]
    for path, id, run in zip(wrong, ids, runs, strict=True):
        code, output = up.run("plan", path)
        assert (code, run["state"]["type"]) == (2, "FAILED")
        assert output.strip() == f"w2s: {run['state']['message']}"
        assert up.artifacts(id) == {}
        logs = up.logs(id)
        assert [log["message"] for log in logs if log["level"] >= ERROR] == [run["state"]["message"]]
        assert not [log for log in logs if "Traceback" in log["message"]]


def test_cancelled_run_and_what_it_has_started_are_cancelled(up: Up) -> None:
    id = up.submit("grid/quick-grid", grid={"file": long(up, "cancelled", 11)})
    up.wait_for_training()

    up.cancel(id)

    assert up.wait_for(id)["state"]["type"] == "CANCELLED"
    children = up.children(id)
    assert {child["state"]["type"] for child in children} == {"CANCELLED"}
    assert {child["state"]["message"] for child in children} == {STOPPED}
    assert up.unfinished(id) == []
    for run in (id, *(child["id"] for child in children)):
        assert ended(up, run) <= {"COMPLETED", "CANCELLED"}
    assert ended(up, children[0]["id"]) == {"COMPLETED", "CANCELLED"}
    logs = up.logs(id, *(child["id"] for child in children))
    # Prefect says so at ERROR of every task run that is not completed.
    errors = {log["message"] for log in logs if log["level"] >= ERROR}
    assert errors <= {f"Finished in state Cancelled('{STOPPED}')"}


def test_interrupted_run_of_a_terminal_is_cancelled(up: Up) -> None:
    process = up.command("run", long(up, "interrupted", 12))
    up.wait_for_training()

    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 130, output
    [run] = up.api("/flow_runs/filter", {"flow_runs": {"name": {"any_": ["interrupted · sst2 · xent"]}}})
    assert (run["state"]["type"], run["state"]["message"]) == ("CANCELLED", STOPPED)
    assert ended(up, run["id"]) == {"COMPLETED", "CANCELLED"}


def long(up: Up, name: str, data_seed: int) -> str:
    """A grid whose trainings take longer than a test; nothing else is training."""
    for left in (up.home / "cache" / "progress").glob("*.json"):
        left.unlink()
    return up.grid(name, data_seed=data_seed, training={"epochs": 4000, "batch_size": 8})


def ended(up: Up, run: str) -> set[str]:
    """How the task runs of a flow run have ended, when the server knows of all of them."""
    up.wait_until(lambda: all(task["state"]["type"] in ENDED for task in up.task_runs(run)), "known how all ended")
    return {task["state"]["type"] for task in up.task_runs(run)}


def test_overlapping_runs_of_a_grid_share_its_work(up: Up) -> None:
    before = up.executed()
    path = up.grid("shared", datasets=DATASETS, data_seed=7)
    ids = [up.submit("grid/quick-grid", grid={"file": path}) for _ in range(2)]

    states = [up.wait_for(id)["state"] for id in ids]

    assert {state["type"] for state in states} == {"COMPLETED"}, states
    assert [up.artifacts(id)["shared-progress"] for id in ids] == [100, 100]
    made = up.executed() - before
    assert set(made.values()) == {1}
    assert len(made) == 2 * N_PER_DATASET


def test_no_submit_beside_a_running_grid_is_lost(up: Up) -> None:
    path = up.grid("busy", datasets=[*DATASETS, "sciq", "cola"], methods=["xent", "logconf"], seeds=[0, 1, 2])
    grid = up.submit("grid/quick-grid", grid={"file": path})
    up.wait_until(lambda: up.children(grid), "running")
    id = up.deployment("report/report")["id"]
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}

    submitted = {up.api(f"/deployments/{id}/create_flow_run", {"state": later})["id"] for _ in range(N_SUBMITS)}

    assert up.api(f"/flow_runs/{grid}")["state"]["type"] == "RUNNING"
    assert up.api("/flow_runs/count", {"flow_runs": {"id": {"any_": list(submitted)}}}) == N_SUBMITS
    assert up.wait_for(grid)["state"]["type"] == "COMPLETED"


def test_run_from_a_terminal_joins_and_does_not_stop_the_server(up: Up) -> None:
    code, output = up.run("run", up.grid("typed", data_seed=9))

    assert code == 0
    assert "starting a Prefect server" not in output
    runs = up.api("/flow_runs/filter", {"flows": {"name": {"any_": ["w2s-grid"]}}})
    assert "typed · sst2 · xent" in [run["name"] for run in runs]


def test_doctor_finds_the_server_of_the_home_and_its_database(up: Up) -> None:
    _, output = up.run("doctor")

    assert f"http://127.0.0.1:{up.port}/api answers, Prefect " in output
    assert re.search(r"prefect\.db: [\d,]+ flow runs", output)


def test_started_twice_is_one_line(up: Up) -> None:
    assert up.process is not None

    code, output = up.run("up")

    assert code == 2
    assert output == f"w2s: w2s up runs already for {up.home} (process {up.process.pid})\n"


def test_port_in_use_is_one_line(up: Up, tmp_path: Path) -> None:
    other = Up(tmp_path)

    code, output = other.run("up", "--port", str(up.port))

    assert code == 2
    assert output == f"w2s: port {up.port} cannot be used (Address already in use); name another with --port\n"
    assert other.processes() == []


def test_report_and_maintenance_of_the_store_complete(up: Up) -> None:
    up.run("run", up.grid("reported"))

    report = up.submit("report/report", grid="reported")
    maintenance = up.submit("store-maintenance/store-maintenance")

    assert up.wait_for(report)["state"]["message"] == "rows: 1 by pair, 1 by dataset, 1 by method"
    artifacts = up.artifacts(report)
    assert set(artifacts) == {
        *(f"reported-pgr-by-{level}" for level in ("pair", "dataset", "method")),
        "reported-figures",
    }
    assert artifacts["reported-figures"].count("](data:image/png;base64,") == 2
    state = up.wait_for(maintenance)["state"]
    assert state["message"].startswith("0 broken artifacts; would free ")


def test_flow_runs_without_heartbeats_will_crash(up: Up) -> None:
    [automation] = up.api("/automations/filter", {})

    assert automation["trigger"]["expect"][0].startswith("prefect.flow-run.")
    assert automation["actions"][0] == automation["actions"][0] | {"type": "change-flow-run-state", "state": "CRASHED"}


def test_ctrl_c_in_the_middle_of_a_run_leaves_no_process(own_up: Up) -> None:
    path = own_up.grid("long", training={"epochs": 4000, "batch_size": 8})
    own_up.submit("grid/quick-grid", grid={"file": path})
    for _ in range(DEADLINE_S * 10):
        if any("train_gt" in file.read_text() for file in (own_up.home / "cache").glob("progress/*.json")):
            break
        TICK.wait(0.1)

    code, output = own_up.stop()

    assert (code, output) == (0, "stopped; finished stages stay\n"), own_up.log()
    own_up.wait_until_gone()
    code, output = own_up.run("plan", path)
    assert "1 pretrain" not in output


def test_what_serves_ends_with_a_killed_parent(own_up: Up) -> None:
    assert own_up.process is not None
    own_up.process.kill()
    own_up.process.communicate()
    own_up.process = None
    for _ in range(DEADLINE_S * 10):
        if not any("flows.serve.serving" in command for command in own_up.processes()):
            break
        TICK.wait(0.1)

    # The server is joined by whoever comes next, and stopped with it.
    own_up.start()
    assert own_up.stop()[0] == 0


def test_login_is_asked_for_and_the_address_said(tmp_path: Path) -> None:
    up = Up(tmp_path)
    said = up.start()
    try:
        assert f"Prefect UI: {up.url}" in said
        assert f"log in with what is in {up.home}/prefect/auth" in said
        assert oct((up.home / "prefect" / "auth").stat().st_mode)[-3:] == "600"
    finally:
        up.stop()
