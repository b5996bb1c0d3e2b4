"""A grid whose scores are made up: every answer of every model is chosen by the test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.identity.keys import JSON
from artifacts.results.build import Kinds, build
from artifacts.results.curves import CURVE
from artifacts.results.query import run_query
from artifacts.store.grid_runs import GridNode, GridRun, State
from artifacts.store.grids import Grids
from artifacts.store.local import LocalStore
from artifacts.store.manifest import Manifest, Output
from flows.home import output_kinds
from tests.empty_results import place

FLOW_RUN = "01234567-89ab-cdef-0123-456789abcdef"
"""In which all of it is made."""


def rights(*counts: int) -> list[bool]:
    """Answers, by runs: ``rights(2, 1)`` is right, right, wrong."""
    return [index % 2 == 0 for index, count in enumerate(counts) for _ in range(count)]


class ToyGrid:
    """A store with one grid, and the results of before; nothing is a result before ``run``."""

    def __init__(self, root: Path, name: str = "toy") -> None:
        self.store = LocalStore(root / "store")
        self.results = root / "results.duckdb"
        place(self.results)
        self.name = name
        self.nodes: dict[str, GridNode] = {}
        self.pairs: list[dict[str, JSON]] = []

    def score(
        self,
        right: Sequence[bool],
        *,
        low: float = 0.1,
        reverse: bool = False,
        group_size: int | None = None,
        training: dict[str, JSON] | None = None,
        stage: str = "score",
        made_from: tuple[str, str] | None = None,
        told: dict[str, JSON] | None = None,
        **labels: JSON,
    ) -> str:
        """Publish the score of a model with these answers, item 0 first, and return its key.

        Args:
            right: whether each answer is right.
            low: ``prob`` where the answer is class 0.
            reverse: write the rows last item first.
            group_size: rows of each group; None for a score of before there were groups in it.
            training: what the training of its model said of itself; None of one without.
            stage: that made it.
            made_from: stage and key of another of its inputs.
            told: other metrics.
            labels: of its node.
        """
        truth = [index % 2 for index in range(len(right))]
        rows = [
            {"id": f"item-{index}", "prob": 0.9 if label == is_right else low, "gt_label": label}
            for index, (label, is_right) in enumerate(zip(truth, right, strict=True))
        ]
        schema = pa.schema([("id", pa.string()), ("prob", pa.float64()), ("gt_label", pa.int8())])
        if group_size is not None:
            rows = [{**row, "group": f"group-{index // group_size}"} for index, row in enumerate(rows)]
            schema = schema.append(pa.field("group", pa.string()))
        table = pa.Table.from_pylist(rows[::-1] if reverse else rows, schema)
        metrics = {"n": len(right), "accuracy": sum(right) / len(right), "auroc": None, "brier": 0.1, "ece": 0.1}
        metrics |= told or {}
        labels = {"dataset": "boolq", "half": "weak_train", "seed": 0, "split": "test", **labels}
        inputs: dict[str, dict[str, JSON]] = {}
        if training is not None:
            weights = {"model": pa.table({"weight": [str(sorted(labels.items()))]})}
            key = self.publish("train_gt", weights, labels, training)
            inputs["model"] = {"stage": "train_gt", "key": key, "output": "model", "digest": "0" * 64}
        if made_from is not None:
            inputs["other"] = {"stage": made_from[0], "key": made_from[1], "output": "texts", "digest": "0" * 64}
        return self.publish(stage, {"predictions": table}, labels, metrics, inputs=inputs)

    def answers(self, given: str, truth: str, *, metrics: dict[str, JSON] | None = None, **labels: JSON) -> str:
        """Publish the score of a model that gives these answers, one letter each, where ``truth`` is right."""
        right = [answer == wanted for answer, wanted in zip(given, truth, strict=True)]
        ids = [f"item-{index}" for index in range(len(right))]
        table = pa.table({"id": ids, "group": ids, "answer": list(given), "right": right})
        return self.publish("score", {"predictions": table}, labels, metrics or {"accuracy": sum(right) / len(right)})

    def weak_labels(self, stage: str = "weak_labels", metrics: dict[str, JSON] | None = None, **labels: JSON) -> str:
        """Publish the weak labels of a supervisor, two rows per split, and return their key."""
        table = pa.table({"id": ["a", "b"], "weak_prob": [0.2, 0.7]})
        return self.publish(stage, {"transfer_train": table, "test": table}, labels, metrics or {})

    def transcripts(self, said: Sequence[str], *, n_tokens: int = 10, **labels: JSON) -> str:
        """Publish transcripts of one turn each, which argue for class 1, and return their key."""
        turns = [
            {
                "id": f"item-{index}", "seed": 0, "turn": 0, "role": "A", "side": 1, "text": text, "is_cut": False,
                "n_tokens": n_tokens, "n_read": 2,
            }
            for index, text in enumerate(said)
        ]  # fmt: skip
        n = len(said)
        metrics: dict[str, JSON] = {
            "n": n, "n_turns": 1, "n_tokens": n * n_tokens, "n_read": 2 * n, "n_cut": 0, "n_empty": 1,
        }  # fmt: skip
        return self.publish("transcripts", {"texts": pa.Table.from_pylist(turns)}, labels, metrics)

    def audit(
        self, verdict: str, *, started: str = "2026-01-02T03:04:05+00:00", code: str = "0" * 64, stage: str = "audit"
    ) -> str:
        """Publish the audit of a dataset with one check; what differs in ``code`` only is the same node."""
        checks = pa.table(
            {
                "split": ["train"], "check": ["leak.length"], "value": [0.9], "threshold": [0.8],
                "verdict": [verdict], "detail": ["told by its length"],
            }
        )  # fmt: skip
        labels: dict[str, JSON] = {"dataset": "boolq"}
        return self.publish(stage, {"checks": checks}, labels, {}, node="a" * 64, started=started, code=code)

    def training(self, curve: list[dict[str, JSON]], *, stage: str = "train_gt", **labels: JSON) -> str:
        """Publish a training with this curve, and return its key."""
        weights = pa.table({"weight": [str(sorted(labels.items()))]})
        return self.publish(stage, {"model": weights}, labels, {}, curve=curve)

    def pair(
        self,
        weak: Sequence[bool],
        transfer: Sequence[bool],
        ceiling: Sequence[bool] | None,
        *,
        names: tuple[str, str] = ("small", "large"),
        dataset: str = "boolq",
        method: str = "xent",
        seed: int = 0,
        group_size: int | None = None,
    ) -> None:
        """Publish the scores of a pair; one without a ceiling is self-training."""
        supervisor, student = names
        gt: dict[str, JSON] = {"dataset": dataset, "kind": "gt", "supervisor": None, "method": None, "seed": seed}
        taught = {"dataset": dataset, "kind": "w2s", "supervisor": supervisor, "method": method, "seed": seed}
        self.pairs.append(
            {
                "dataset": dataset, "weak": supervisor, "strong": student, "method": method, "seed": seed,
                "weak_score": self.score(weak, model=supervisor, group_size=group_size, **gt),
                "transfer_score": self.score(transfer, model=student, half="transfer_train", **taught),
                "ceiling_score": ceiling and self.score(ceiling, model=student, half="transfer_train", **gt),
            }
        )  # fmt: skip

    def run(self, state: State = "complete") -> None:
        """Write the grid file: a run with all nodes and pairs so far."""
        run = GridRun({"name": self.name}, {}, list(self.nodes.values()), self.pairs)
        Grids(self.store).start(run).finish(run, state)

    def publish(
        self,
        stage: str,
        tables: dict[str, pa.Table],
        labels: dict[str, JSON],
        metrics: dict[str, JSON],
        *,
        inputs: dict[str, dict[str, JSON]] | None = None,
        curve: list[dict[str, JSON]] | None = None,
        node: str | None = None,
        started: str = "2026-01-02T03:04:05+00:00",
        code: str = "0" * 64,
        seconds: float = 1.5,
    ) -> str:
        """Publish an artifact of the grid, and return its key."""
        content = repr(
            (code, stage, sorted(labels.items()), {name: table.to_pylist() for name, table in tables.items()})
        )
        key = hashlib.sha256(content.encode()).hexdigest()
        with self.store.draft(stage, key) as draft:
            outputs = {}
            for name, table in tables.items():
                pq.write_table(table, draft / f"{name}.parquet")
                outputs[name] = Output("0" * 64, {f"{name}.parquet": (draft / f"{name}.parquet").stat().st_size})
            side = {}
            if curve is not None:
                (draft / CURVE).parent.mkdir()
                pq.write_table(pa.Table.from_pylist(curve), draft / CURVE)
                side = {CURVE: (draft / CURVE).stat().st_size}
            self.store.publish(
                draft,
                Manifest(
                    key=key, node=node or key[::-1], stage=stage, schema=1, labels=labels,
                    params={"seed": 0, "source": {"kind": "folder"}}, inputs=inputs or {},
                    code={"digest": code, "parts": {}}, outputs=outputs, side=side, metrics=metrics,
                    timings={"started": started, "seconds": seconds},
                    environment={"torch": "2.8.0", "transformers": "5.0.0", "host": "here", "flow_run": FLOW_RUN},
                ),
            )  # fmt: skip
        self.nodes[key] = GridNode(key[::-1], stage, labels, key)
        return key


def rows(grid: ToyGrid, sql: str) -> list[dict[str, JSON]]:
    """What the results of ``grid`` answer."""
    found: list[dict[str, JSON]] = run_query(grid.results, sql).to_pylist()
    return found


def built(grid: ToyGrid, sql: str, kinds: Kinds | None = None) -> list[dict[str, JSON]]:
    """What they answer once they are built, of all that ``grid`` has so far; ``kinds`` are those of the stages."""
    grid.run()
    build(grid.store, grid.results, output_kinds if kinds is None else kinds)
    return rows(grid, sql)
