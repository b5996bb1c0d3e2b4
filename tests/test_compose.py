"""The services of ``docker-compose.yml``: what the file says, and what they do when they run, without Docker."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator

import pytest

from tests import compose
from tests.compose import FILE, LOOPBACK, SERVICES, Compose
from tests.crash.test_deployed import FLOW
from tests.harness import N_NODES
from tests.homes import LONG
from tests.up import ROOT, TICK

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
OURS = [name for name, service in SERVICES.items() if "build" in service]

DATASETS = ["sst2", "boolq", "sciq", "cola", "cosmos_qa"]
N_PER_DATASET = sum(N_NODES.values()) - N_NODES["pretrain"]

WITHOUT_MAJOR_TAGS = {"versity/versitygw"}
RUNS_ONCE = {"deploy"}
HAS_NO_PORT = {"services"}


def test_compose_has_no_default_for_any_variable() -> None:
    assert re.findall(r"\$\{?\w+", TEXT.replace("$$", "")) == re.findall(r"\$\{\w+(?=:\?)", TEXT)


@pytest.mark.parametrize("name", SERVICES)
def test_compose_takes_every_secret_from_a_variable(name: str) -> None:
    for field, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|SECRET|AUTH|CONNECTION_URL|REDIS.*URL|DOCKET_URL", field):
            assert ":?" in value, field


def test_compose_publishes_ports_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not any("network_mode" in service for service in SERVICES.values())


def test_compose_takes_images_by_their_major_version() -> None:
    for name, service in SERVICES.items():
        image, _, tag = service["image"].partition(":")
        if name in OURS:
            assert (image, service["build"]) == ("w2s", ".")
        else:
            assert re.fullmatch(r"v?\d+(\.\d+)+" if image in WITHOUT_MAJOR_TAGS else r"\d+", tag), service["image"]


@pytest.mark.parametrize("name", SERVICES)
def test_compose_restarts_what_ends_and_checks_what_runs(name: str) -> None:
    service = SERVICES[name]

    assert service["restart"] == ("on-failure" if name in RUNS_ONCE else "unless-stopped")
    assert ("healthcheck" in service) == (name not in RUNS_ONCE | HAS_NO_PORT)


def test_compose_keeps_data_in_named_volumes() -> None:
    mounted = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}

    assert mounted == set(FILE["volumes"])


def test_compose_gives_the_workers_of_datasets_one_slot_each_and_those_of_grids_no_limit() -> None:
    assert "--limit" in SERVICES["worker"]["command"]
    assert "--limit" not in SERVICES["grids"]["command"]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """All of them, running."""
    reason = compose.missing()
    if reason is not None:
        pytest.skip(reason)
    yield from compose.running(tmp_path_factory.mktemp("compose"))


@pytest.mark.slow
def test_compose_splits_a_grid_over_its_workers_and_each_node_runs_once(services: Compose) -> None:
    grid = {"file": services.grid("split", datasets=DATASETS)}
    id = services.submit("grid/quick-grid", grid=grid)
    run = services.wait_for(id)

    n_nodes = N_NODES["pretrain"] + len(DATASETS) * N_PER_DATASET
    assert run["state"]["message"] == f"{n_nodes} stages ran, 0 reused", services.log()
    children = services.children(id)
    assert [child["name"] for child in children] == sorted(f"split {dataset}" for dataset in DATASETS)
    assert {child["state"]["message"] for child in children} == {f"{N_PER_DATASET} stages ran, 2 reused"}
    artifacts = services.artifacts(id)
    assert sorted(row["dataset"] for row in json.loads(artifacts["split-pgr"])) == sorted(DATASETS)
    assert artifacts["split-progress"] == 100

    by_workers = [services.executed_by(worker) for worker in services.instances("worker")]
    made = sum(by_workers, services.executed_by("grids"))
    assert len(by_workers) == 2
    assert all(len(by_worker) >= N_PER_DATASET for by_worker in by_workers)
    assert set(made.values()) == {1}
    assert Counter(stage for stage, _ in made) == Counter(
        {stage: n if stage == "pretrain" else n * len(DATASETS) for stage, n in N_NODES.items()}
    )

    again = services.wait_for(services.submit("grid/quick-grid", grid=grid))
    assert again["state"]["message"] == f"nothing to do: all {n_nodes} stages are fresh"


@pytest.mark.slow
def test_compose_server_answers_401_to_whoever_has_no_password(services: Compose) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for headers in ({}, {"Authorization": "Basic dzJzOndyb25n"}):
        for path in ("flow_runs/filter", "deployments/filter", "work_pools/filter", "variables/filter"):
            request = urllib.request.Request(f"{services.url}/api/{path}", data=b"{}", headers=headers, method="POST")
            with pytest.raises(urllib.error.HTTPError) as refused:
                direct.open(request)
            refused.value.close()
            assert refused.value.code == 401, path


@pytest.mark.slow
def test_compose_services_listen_on_loopback_only(services: Compose) -> None:
    listening = services.listening()

    assert set(listening) <= set(LOOPBACK)
    assert {services.ports[port] for port in ("5432", "6379", "4200", "8080")} <= set().union(*listening.values())


@pytest.mark.slow
def test_compose_worker_passes_its_health_check(services: Compose) -> None:
    services.wait_healthy("worker")


@pytest.mark.slow
def test_compose_server_crashes_flow_runs_without_heartbeats(services: Compose) -> None:
    [automation] = services.api("/automations/filter", {})

    assert automation["trigger"]["within"] == 3 * 30


@pytest.mark.slow
def test_compose_crash_of_the_database_for_a_minute_stops_no_grid(services: Compose) -> None:
    workers = services.instances("worker")
    before = sum(map(services.executed_by, workers), Counter())
    id = services.submit(
        "grid/quick-grid", grid={"file": services.grid("outage", datasets=DATASETS[:2], data_seed=1, training=LONG)}
    )
    services.wait_until(lambda: sum(map(services.executed_by, workers), Counter()) != before, "executing")
    with services.without_database():
        TICK.wait(60)

    run = services.wait_for(id)
    if run["state"]["type"] != "COMPLETED":
        services.retry(id)
        run = services.wait_for(id)
    assert run["state"]["type"] == "COMPLETED", (run["state"]["message"], services.log())
    made = sum(map(services.executed_by, workers), services.executed_by("grids"))
    assert set(made.values()) == {1}
    services.wait_until(lambda: not services.unfinished(id), f"finished: {services.unfinished(id)}")


@pytest.mark.slow
def test_compose_crash_of_a_grid_leaves_its_datasets_to_their_workers(services: Compose) -> None:
    grid = {"file": services.grid("left", datasets=DATASETS[:2], data_seed=2, training=LONG)}
    id = services.submit("grid/quick-grid", grid=grid)
    services.wait_until(lambda: len(services.children(id)) == 2, "split")
    services.wait_until(lambda: "RUNNING" in {child["state"]["type"] for child in services.children(id)}, "running")
    services.kill(FLOW, services.folder / "grids")

    assert services.wait_for(id)["state"]["type"] == "CRASHED"
    again = services.submit("grid/quick-grid", grid=grid)
    assert services.wait_for(again)["state"]["type"] == "COMPLETED", services.log()
    assert [services.wait_for(child["id"])["state"]["type"] for child in services.children(id)] == ["COMPLETED"] * 2
    made = sum(map(services.executed_by, services.instances("worker")), services.executed_by("grids"))
    assert set(made.values()) == {1}
    services.wait_until(lambda: not services.unfinished(id), f"finished: {services.unfinished(id)}")
