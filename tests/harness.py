"""A project in a folder of its own, and a copy of the code where tests edit it; then each run is a fresh process.

Runs execute their stages in one process, without Prefect, and report which nodes they executed. It is that of the test
where the code is ours, else one forked from a process that has the big libraries loaded.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from tests.empty_results import place
from tests.places import ROOT

PACKAGES = ("w2s_core", "artifacts", "tasks", "flows")
PRELOADED = [
    "accelerate",
    "duckdb",
    "numpy",
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pydantic.main",
    "rich.console",
    "tokenizers",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.gpt2.modeling_gpt2",
]
"""Modules, not packages: transformers loads most of itself only when a name is asked for, which every run would pay."""

TINY = {
    "name": "tiny",
    "datasets": ["sst2"],
    "models": [
        {
            "name": name,
            "pretrain": {
                "size": {"n_layers": 1, "width": width, "n_heads": 1},
                "n_tokens": 1000,
                "sequence_length": 16,
            },
        }
        for name, width in {"s": 4, "m": 8}.items()
    ],
    "methods": ["xent"],
    "audit": False,
    "data": {"n_train": 24, "n_validation": 8, "n_test": 12},
    "training": {"epochs": 1, "batch_size": 8},
}
"""A grid whose stages take a hundredth of a second each: 2 models, 1 pair, 1 method, 11 nodes."""

N_NODES = {"pretrain": 2, "prepare": 1, "train_gt": 2, "weak_labels": 1, "train_w2s": 1, "score": 3}
"""Its nodes by stage."""


@cache
def context() -> ForkServerContext:
    os.environ["OMP_NUM_THREADS"] = "1"
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(PRELOADED)
    return forkserver


def sent(target: Callable[..., None], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    """What ``target`` sends from each of several processes at once; its last argument is the connection for that."""
    started = []
    for arguments in calls:
        receiver, sender = context().Pipe(duplex=False)
        process = context().Process(target=target, args=(*arguments, sender))
        process.start()
        sender.close()
        started.append((process, receiver))
    results = [receiver.recv() for _, receiver in started]
    for process, _ in started:
        process.join()
    return results


@dataclass
class Ran:
    """What one run did."""

    executed: list[tuple[str, str]]
    """(stage, name) of every node that was executed, in order."""
    plan: dict[str, Any]
    """The plan as it was before, as `w2s plan --json` gives it."""
    failed: list[str] = field(default_factory=list)

    @property
    def stages(self) -> Counter[str]:
        return Counter(stage for stage, _ in self.executed)


class Project:
    """Code, home and data of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = ROOT
        self.home = folder / "home"
        place(self.home / "results.duckdb")

    def copy_code(self) -> None:
        """From now on the code is a copy, with what was compiled of it."""
        self.code = self.folder / "code"
        for package in PACKAGES:
            # But for what another process is about to write.
            shutil.copytree(ROOT / package, self.code / package, ignore=shutil.ignore_patterns("*.pyc.*"))

    def artifacts(self, stage: str) -> list[Path]:
        """The folders of all artifacts of a stage."""
        folder = self.home / "store" / stage
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))

    def manifests(self) -> list[dict[str, Any]]:
        """Every manifest in the store."""
        files = (self.home / "store").glob("*/*/manifest.json")
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def count_pgr(self) -> int:
        """Rows of the view ``pgr``."""
        from artifacts.results.query import run_query

        return run_query(self.home / "results.duckdb", "SELECT count(*) AS n FROM pgr")["n"][0].as_py()

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace one piece of text that stands exactly once in a file of the code, which is a copy."""
        assert self.code != ROOT
        path = self.code / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} has {text.count(old)} times {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def run(self, config: dict[str, Any], *, while_running: tuple[str, str, str] | None = None) -> Ran:
        """Run a grid.

        Args:
            config: fields of a GridConfig.
            while_running: an ``edit`` of the code to make when the first node has ended.
        """
        return self._call(config, execute=True, while_running=while_running)

    def plan(self, config: dict[str, Any]) -> dict[str, Any]:
        """Plan a grid."""
        return self._call(config, execute=False, while_running=None).plan

    def _call(self, config: dict[str, Any], *, execute: bool, while_running: tuple[str, str, str] | None) -> Ran:
        if self.code == ROOT:
            text = json.dumps(run_grid(ROOT, self.home, config, execute, while_running))
        else:
            [text] = sent(child_main, [(str(self.code), str(self.home), config, execute, while_running)])
        answer = json.loads(text)
        if "error" in answer:
            raise AssertionError(answer["error"])
        executed = [tuple(item) for item in answer["executed"]]
        return Ran(executed, answer["plan"], answer["failed"])


def child_main(
    code: str,
    home: str,
    config: dict[str, Any],
    execute: bool,
    while_running: tuple[str, str, str] | None,
    sender: Any,
) -> None:
    """In the forked process: forget our modules, import them from ``code``, plan and run."""
    import traceback

    gc.freeze()
    gc.set_threshold(100_000)  # as in conftest
    for name in list(sys.modules):
        if name.split(".")[0] in PACKAGES:
            del sys.modules[name]
    sys.path.insert(0, code)
    try:
        sender.send(json.dumps(run_grid(Path(code), Path(home), config, execute, while_running)))
    except BaseException:
        sender.send(json.dumps({"error": traceback.format_exc()}))


def run_grid(
    code: Path,
    home: Path,
    config: dict[str, Any],
    execute: bool,
    while_running: tuple[str, str, str] | None,
) -> dict[str, Any]:
    """Plan, and execute every order in this process."""
    from artifacts.identity.loaded import record

    record("w2s_core")
    from flows.home import Home
    from flows.plan.load import parse_grid
    from flows.report.plan import as_records
    from flows.run.drain import Ended
    from flows.run.session import Session
    from tasks.runtime import RuntimeConfig
    from tasks.workers.run_stage import run_order

    session = Session.open(parse_grid(config, "test"), Home(home))
    plan = as_records(session.plan)
    executed: list[tuple[str, str]] = []
    failed: list[str] = []

    def submit(order: Any, ended: Any) -> None:
        if session.store.get(order["stage"], order["key"]) is not None and not order["remake"]:
            ended(Ended(order, "reused"))
            return
        job = {
            "order": order,
            "store": session.store.url,
            "home": str(home),
            "device": "cpu",
            "runtime": RuntimeConfig(micro_tokens=4096).model_dump(mode="json"),
        }
        try:
            run_order(job)
        except Exception as error:
            failed.append(f"{type(error).__name__}: {error}")
            ended(Ended(order, "failed", str(error)))
            return
        executed.append((order["stage"], order["name"]))
        ended(Ended(order, "ran"))
        if while_running is not None and len(executed) == 1:
            file, old, new = while_running
            path = code / file
            path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    if execute and session.plan.pending:
        session.run(submit, n_at_once=1)
    return {"executed": executed, "plan": plan, "failed": failed}
