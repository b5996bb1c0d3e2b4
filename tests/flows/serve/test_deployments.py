"""The deployments: the same in ``prefect.yaml`` as here, and with parameters that their forms take."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import yaml
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate

from flows.serve.deployments import DEPLOYMENTS, POOLED, entrypoint, pooled, served
from tests.places import ROOT

FILE: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))


def test_prefect_yaml_has_the_deployments_of_a_work_pool() -> None:
    in_file = {
        entry["name"]: (
            entry["entrypoint"],
            entry["parameters"],
            entry["description"],
            tuple(entry["tags"]),
            entry["work_pool"]["work_queue_name"],
        )
        for entry in FILE["deployments"]
    }

    assert in_file == {
        name: (
            entrypoint(deployment),
            deployment.parameters,
            deployment.description,
            deployment.tags,
            deployment.queue,
        )
        for name, deployment in POOLED.items()
    }


@pytest.mark.parametrize("name", POOLED)
def test_entrypoint_leads_to_the_flow(name: str) -> None:
    module, _, function = entrypoint(POOLED[name]).rpartition(".")

    assert getattr(import_module(module), function) is POOLED[name].flow


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_form_takes_the_parameters(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    schema = parameter_schema(deployment.flow.fn).model_dump()

    assert validate(dict(deployment.parameters), schema, raise_on_error=False) == []


def test_deploying_sets_nothing_that_users_set_in_the_ui() -> None:
    for deployment in [*served(), *pooled("pool")]:
        assert not {"schedules", "parameters", "paused", "concurrency_limit"} & deployment.model_fields_set


def test_served_deployments_are_on_no_work_pool() -> None:
    for deployment in served():
        assert {"work_pool_name", "work_queue_name"} <= deployment.model_fields_set
        assert deployment.work_pool_name is None


def test_flow_run_that_waits_for_others_takes_no_slot_that_they_need() -> None:
    queues = {deployment.name: deployment.work_queue_name for deployment in pooled("pool")}

    assert {name for name, queue in queues.items() if queue == queues["dataset"]} == {"dataset"}
