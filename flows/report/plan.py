"""A plan as text for people and as records for programs."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from artifacts.identity.keys import JSON
from flows.plan.compare import Plan, Planned, Status
from flows.plan.graph import FromPath
from w2s_core.data.datasets import DATASETS
from w2s_core.data.sources import mapped_labels
from w2s_core.stages import STAGES

CAUSES = {
    "new": "never built",
    "parameter": "a parameter changed",
    "input": "an input changed",
    "code": "code changed",
    "payload": "an artifact is broken",
    "evicted": "evicted, but needed",
}
MOST_REASONS = 6


def print_plan(console: Console, plan: Plan, *, grid: str, why: bool) -> None:
    """Print a summary, then with ``why`` one line per node that is not fresh."""

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    n_fresh, n_stale, n_depends = (plan.count(status) for status in (Status.FRESH, Status.STALE, Status.DEPENDS))
    saved = f" ({plan.hours_saved:.2f} h saved)" if n_fresh else ""
    say(f"{len(plan.planned)} stages: {n_fresh} fresh{saved}, {n_stale} stale, {n_depends} depend on those")
    for line in _notes(plan):
        say(f"note: {line}")
    if not plan.pending:
        return
    width = max(len(stage) for stage in STAGES)
    for stage in STAGES:
        entries = [e for e in plan.planned.values() if e.node.stage == stage]
        if any(e.status is not Status.FRESH for e in entries):
            counts = Counter(e.status.value for e in entries)
            say(f"  {stage:<{width}}  " + ", ".join(f"{counts[s]} {s}" for s in Status if counts[s]))
    n_remade = sum(entry.cause == "evicted" for entry in plan.pending)
    if n_remade:
        say(f"{n_remade} evicted weights are made again; {n_depends} stages rerun if their bytes differ")
    if why:
        for entry in plan.pending:
            say(f"{entry.node.id[:8]}  {entry.status.value:<7}  {entry.node.name}: {entry.reason}")
        return
    say("why:")
    for line in _reasons(plan.pending):
        say(f"  {line}")
    say(f"each stage: w2s plan {grid} --why; run them: w2s run {grid}")


def _notes(plan: Plan) -> list[str]:
    """Lines on what is to be reused, and on folders whose classes are mapped when they are read."""
    lines = list(plan.other_versions)
    for node in plan.graph.nodes.values():
        if node.stage == "prepare" and node.params["source"]["kind"] == "folder":
            name = str(node.labels["dataset"])
            files = {input: source.path for input, source in node.inputs.items() if isinstance(source, FromPath)}
            lines += [f"{name}: {note}" for note in mapped_labels(node.params, files, DATASETS.get(name).columns)]
    return lines


def _reasons(pending: list[Planned]) -> list[str]:
    reasons: Counter[str] = Counter()
    for entry in pending:
        if entry.status is Status.STALE:
            shared = entry.cause in ("code", "parameter", "payload")
            reasons[entry.reason if shared else CAUSES[entry.cause]] += 1
    lines = [f"{count:>5}  {reason}" for reason, count in reasons.most_common(MOST_REASONS)]
    if len(reasons) > MOST_REASONS:
        lines.append(f"       and {len(reasons) - MOST_REASONS} other reasons")
    return lines


def as_records(plan: Plan) -> dict[str, JSON]:
    """The whole plan as JSON: counts, and one record per node."""
    return {
        "counts": {status.value: plan.count(status) for status in Status},
        "hours_saved": round(plan.hours_saved, 4),
        "notes": _notes(plan),
        "nodes": [
            {
                "node": entry.node.id,
                "name": entry.node.name,
                "stage": entry.node.stage,
                "labels": dict(entry.node.labels),
                "params": dict(entry.node.params),
                "parents": [parent.id for parent in entry.node.parents],
                "status": entry.status.value,
                "cause": entry.cause,
                "reason": entry.reason,
                "key": entry.key,
                "code": entry.code.digest,
            }
            for entry in plan.planned.values()
        ],
    }
