"""What is deployed, here and in ``prefect.yaml``: tables from which ``w2s up`` and ``w2s deploy`` make it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from prefect import Flow
from prefect.types.entrypoint import EntrypointType

from flows.run.by_dataset import run_by_dataset, run_dataset
from flows.run.upkeep import maintain_store, report

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


class Deployment(NamedTuple):
    """A flow with a name and parameters; schedules are put on it in the UI or in ``prefect.yaml``."""

    flow: Flow[Any, Any]
    parameters: Mapping[str, Any]
    description: str
    tags: tuple[str, ...]
    queue: str = "grids"
    """On a work pool: whose workers run it."""


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
    "report": Deployment(
        report, {}, "Tables and figures of performance gap recovered, from `results.duckdb`.", ("results",)
    ),
    "store-maintenance": Deployment(
        maintain_store, {}, "Check every artifact of the store; say what no grid needs, or remove it.", ("store",)
    ),
}


POOLED: dict[str, Deployment] = {
    **DEPLOYMENTS,
    "dataset": Deployment(run_dataset, {}, "One dataset of a grid, for the flow run of that grid.", (), "datasets"),
}
"""On a work pool. A grid waits for its datasets, so they have workers of their own: it never holds one's only slot."""


KEPT = ("parameters", "schedules", "paused", "concurrency_limit", "concurrency_options")
"""What the UI lets users change of a deployment; once it is there, serving it again leaves these as they are."""


def entrypoint(deployment: Deployment) -> str:
    """Where the flow is found, as a module of the installed package."""
    return f"{deployment.flow.__module__}.{deployment.flow.__name__}"


def served() -> list[RunnerDeployment]:
    """All of them, for one process that serves them."""
    # Said outright, None ends what `w2s deploy` or `prefect deploy` may have put them on.
    return [_made(name, deployment, None, None) for name, deployment in DEPLOYMENTS.items()]


def pooled(pool: str, datasets: str | None = None) -> list[RunnerDeployment]:
    """All of them, for the workers of a work pool; datasets may have another."""
    pools = {"datasets": datasets or pool}
    return [_made(name, made, pools.get(made.queue, pool), made.queue) for name, made in POOLED.items()]


def _made(name: str, deployment: Deployment, pool: str | None, queue: str | None) -> RunnerDeployment:
    made = deployment.flow.to_deployment(
        name=name,
        parameters=dict(deployment.parameters),
        description=deployment.description,
        tags=list(deployment.tags),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    made.work_pool_name, made.work_queue_name = pool, queue
    made.model_fields_set.difference_update(KEPT)
    return made
