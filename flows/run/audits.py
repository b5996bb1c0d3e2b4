"""Audits of datasets from the command line: run those that are not done, and show what they found.

What is checked is in ``w2s_core.entries.audit``. No Prefect here: an audit takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from artifacts.errors import W2sError
from artifacts.identity.digests import ExternalDigests
from artifacts.identity.fingerprint import Sources
from artifacts.identity.keys import JSON
from artifacts.results.build import build
from artifacts.store.contract import Store
from artifacts.store.manifest import Manifest
from flows.home import Home, output_kinds
from flows.plan.compare import Keys, make_plan
from flows.plan.grid import GridConfig
from flows.plan.resolve import resolve_audits
from flows.report.tables import show
from flows.run.drain import Drain, Ended, Order
from tasks import PACKAGE
from tasks.devices import this_machine
from tasks.workers.execute import Executor
from tasks.workers.pool import JobFailed, Pool
from w2s_core.data.layouts import dataset_folder

if TYPE_CHECKING:
    import pyarrow as pa


NOT_FOLDERS = ("offline", "hub")
"""Sources that have every dataset."""


class Audited(NamedTuple):
    """What became of the audits of some datasets."""

    done: list[Manifest]
    """In the order of the grid."""
    failures: list[str]
    """One line for each dataset that cannot be read."""


def all_there(config: GridConfig) -> GridConfig:
    """``config`` with those of its datasets that its source has; with all of them if it has none."""
    folder = Path(config.source).expanduser()
    there = () if config.source in NOT_FOLDERS else tuple(n for n in config.datasets if dataset_folder(folder, n))
    return config.model_copy(update={"datasets": there or config.datasets})


def run_audits(config: GridConfig, home: Home, *, with_models: bool) -> Audited:
    """Audit the datasets of a grid; what is missing is run first, and lands in the results.

    Raises:
        W2sError: the grid is wrong.
    """
    store = home.open_store()
    keys = Keys(Sources.on_disk(PACKAGE), ExternalDigests(home.digests))
    plan = make_plan(resolve_audits(config, {}, with_models=with_models), store, keys)
    machine = this_machine(config.runtime)
    # The workers end before the threads that wait for them: Ctrl-C is heard at once.
    with (
        ThreadPoolExecutor(machine.n_workers) as threads,
        Pool(n_workers=machine.n_workers, threads=machine.threads, home=home.root, gpus=[]) as pool,
    ):
        executor = Executor(store, home.root, pool, device="cpu", runtime=config.runtime.model_dump())

        def submit(order: Order, ended: Callable[[Ended], None]) -> None:
            threads.submit(lambda: ended(_execute(executor, order)))

        drain = Drain(plan, keys, store, submit, lambda *report: None, machine.n_workers)
        try:
            outcome = drain.run()
        finally:
            executor.stop.set()
    if outcome.ran or not home.results.exists():
        build(store, home.results, output_kinds)
    found = (store.get(drain.made[id].stage, drain.made[id].key) for id in plan.planned if id in drain.made)
    done = [manifest for manifest in found if manifest is not None]
    return Audited(done, [failure.message for failure in outcome.failed])


def _execute(executor: Executor, order: Order) -> Ended:
    try:
        return Ended(order, executor.execute(order))
    except (JobFailed, W2sError, OSError) as error:
        return Ended(order, "failed", str(error))


def checks_table(store: Store, audits: Iterable[Manifest]) -> pa.Table:
    """All checks, one row each, with the name of their dataset in front."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for manifest in audits:
        checks = pq.read_table(store.output_path(manifest.stage, manifest.key, "checks"))
        names = pa.array([manifest.labels["dataset"]] * len(checks))
        tables.append(checks.add_column(0, "dataset", names))
    return pa.concat_tables(tables)


def print_audits(console: Console, store: Store, audits: list[Manifest]) -> None:
    """Print one row per dataset, or of a single one every number, then what was found."""
    import pyarrow as pa

    if len(audits) == 1:
        show(_facts(checks_table(store, audits)), title=str(audits[0].labels["dataset"]))
    else:
        show(pa.Table.from_pylist([{"dataset": a.labels["dataset"], **_short(a.metrics)} for a in audits]))
    console.print()
    for audit in audits:
        verdict, name = audit.metrics["verdict"], audit.labels["dataset"]
        line = f"{verdict}: {name}: {audit.metrics['reasons'] or 'nothing was found'}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _short(metrics: Mapping[str, JSON]) -> dict[str, JSON]:
    return {name: value for name, value in metrics.items() if name != "reasons"}


def _facts(checks: pa.Table) -> pa.Table:
    """One row per check, with a column per split."""
    import pyarrow as pa

    splits = dict.fromkeys(checks["split"].to_pylist())
    cells: dict[str, dict[str, float]] = {}
    for row in checks.to_pylist():
        cells.setdefault(row["check"], {})[row["split"]] = row["value"]
    return pa.Table.from_pylist(
        [{"check": check, **{split: values.get(split) for split in splits}} for check, values in cells.items()]
    )
