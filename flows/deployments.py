"""What is deployed, here and in ``prefect.yaml``: one table, from which ``w2s up`` serves and tests compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from prefect import Flow
from prefect.types.entrypoint import EntrypointType

from flows.by_dataset import run_by_dataset
from flows.upkeep import maintain_store, report

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


class Deployment(NamedTuple):
    """A flow with a name and parameters; schedules are put on it in the UI or in ``prefect.yaml``."""

    flow: Flow[Any, Any]
    parameters: Mapping[str, Any]
    description: str
    tags: tuple[str, ...]


DEPLOYMENTS: dict[str, Deployment] = {
    "nlp-grid": Deployment(
        run_by_dataset,
        {"grid": {"preset": "nlp"}},
        "The NLP grid: 22 datasets, all pairs of a ladder. Generated data unless `source` says otherwise.",
        ("grid",),
    ),
    "quick-grid": Deployment(
        run_by_dataset,
        {"grid": {"preset": "quick"}},
        "A grid to try things with: two generated datasets, one pair of small models; about two minutes.",
        ("grid",),
    ),
    "report": Deployment(report, {}, "Tables of performance gap recovered, from `results.duckdb`.", ("results",)),
    "store-maintenance": Deployment(
        maintain_store, {}, "Check every artifact of the store; say what no grid needs, or remove it.", ("store",)
    ),
}


KEPT = ("parameters", "schedules", "paused", "concurrency_limit", "concurrency_options")
"""What the UI lets users change of a deployment; once it is there, serving it again leaves these as they are."""


def entrypoint(deployment: Deployment) -> str:
    """Where the flow is found, as a module of the installed package."""
    return f"{deployment.flow.__module__}.{deployment.flow.__name__}"


def served() -> list[RunnerDeployment]:
    """All of them, for one process that serves them."""
    made = []
    for name, deployment in DEPLOYMENTS.items():
        served = deployment.flow.to_deployment(
            name=name,
            parameters=dict(deployment.parameters),
            description=deployment.description,
            tags=list(deployment.tags),
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        # Said outright, these end what `prefect deploy` may have put it on.
        served.work_pool_name = served.work_queue_name = None
        served.model_fields_set.difference_update(KEPT)
        made.append(served)
    return made
